"""Where a process of Ray runs, in words that users and records have for it."""

from __future__ import annotations

import socket


def whereabouts() -> dict[str, str]:
    """The node (host and the begin of Ray's id) and the actor that this process is."""
    import ray

    context = ray.get_runtime_context()
    node = context.get_node_id()
    return {"node": f"{socket.gethostname()}/{node[:8]}", "node_id": node, "actor": context.get_actor_id() or ""}
