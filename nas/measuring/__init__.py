"""Figures read off a file: latency, parity, accuracy, costs."""
