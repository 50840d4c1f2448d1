"""How a network is made smaller: pruning, quantization, and the plan that says where; `pipeline` applies it."""
