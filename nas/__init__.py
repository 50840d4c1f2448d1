"""Joint search over architecture, pruning ratios and bit-widths, scored on the file that ships."""

__version__ = "0.1.0"
