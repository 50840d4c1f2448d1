"""What an existing network's errors are called. No torch."""

from __future__ import annotations


class Unreadable(ValueError):
    """A network, or the weights for one, that cannot be taken; the message names the layer, what it is and what is
    supported.
    """


def shown(names: list[str], limit: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
