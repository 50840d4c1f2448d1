"""Networks that a program has as modules: known in this process by a name, as functions elsewhere are by theirs."""

from __future__ import annotations

from search_spaces.existing.reading.network import Read

_given: dict[str, Read] = {}


def give(name: str, read: Read) -> None:
    """Have `name`, as the `base` of a space, mean this network from now on."""
    _given[name] = read


def given_as(name: str) -> Read | None:
    """The network that was given by this name."""
    return _given.get(name)
