"""How a network is made smaller: pruning, quantization and the per-layer plan that says where."""
