"""How much a candidate is expected to add to a front."""
