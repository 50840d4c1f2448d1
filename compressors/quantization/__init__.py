"""Quantization: numerics, modules that train with it, and where a network gets them."""
