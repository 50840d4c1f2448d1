"""What a study has told, and what Gaussian processes make of it."""
