"""Lossless coding of a network's file: every stored tensor as symbols, each part by whatever coder makes it smallest."""
