"""Pruning: what ranks channels, and how they are removed."""
