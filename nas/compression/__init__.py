"""One network, one plan, one file: what `nas compress` and `nas.api.compress` are made of. See `wishes`."""
