"""Runtimes: how a network becomes a file, and how that file is loaded, run, inspected and timed."""
