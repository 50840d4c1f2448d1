"""A first study for data that nobody has described yet: what it is, what suits it, and how much fits into the time."""
