"""The search inside other people's loops: each module joins one library to the passive driver."""
