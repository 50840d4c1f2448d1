"""What lies on disk: paths of a run folder and rows of its tables."""
