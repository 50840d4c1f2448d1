"""What a trial takes of a node, and how many trials the nodes of a cluster have room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import floor

Resources = Mapping[str, float]
SLACK = 1e-6  # Ray counts in ten thousandths


def room_for(need: Resources, nodes: Iterable[Resources]) -> int:
    """How many trials that `need` as much each fit on the nodes; one lies on one node."""
    return sum(_fits(need, node) for node in nodes)


def _fits(need: Resources, node: Resources) -> int:
    asked = {name: amount for name, amount in need.items() if amount > 0}
    return min((floor(node.get(name, 0.0) / amount + SLACK) for name, amount in asked.items()), default=0)


def words_of(resources: Resources) -> str:
    """Resources that a user named, in words: not the ones that Ray keeps for itself."""
    own = {name: amount for name, amount in resources.items() if not name.startswith("node:") and "memory" not in name}
    return ", ".join(f"{name} {amount:g}" for name, amount in sorted(own.items())) or "none"
