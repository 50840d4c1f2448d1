"""Lossless coding of a file: every stored tensor as symbols, each part by the coder that makes it smallest."""
