"""Unstructured pruning: single weights become zero, and stay so through all training that follows."""
