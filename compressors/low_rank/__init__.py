"""Low rank: a layer as a chain of smaller ones. What needs no torch is in `factors` and `factoring`."""
