"""Executors: callers of the passive driver that run its tasks somewhere."""
