"""The engine `ray`: trials as actors of a Ray cluster, which need no shared disk, and latency on nodes of its own."""
