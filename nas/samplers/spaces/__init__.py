"""Candidates of a define-by-run space: drawn, bred and decoded outside any study."""
