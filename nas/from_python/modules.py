"""A torch module of the caller's as the network of a study: read once, in this process, and known by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from nas.errors import InputError
from search_spaces.existing.space import ExistingSpace
from search_spaces.spaces import AnySpace

if TYPE_CHECKING:
    from torch import nn

    from search_spaces.existing.reading import Read

DIGITS = 8  # of a digest, in a network's name
FIRST_STATISTICS = {"running_mean": 0.0, "running_var": 1.0}  # of a batch norm before its first image


@dataclass(frozen=True)
class GivenModule:
    """A module that was read. `name` has its class, and a digest of its operations and weights."""

    name: str
    read: Read

    def space(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """The section `space`; it begins with its own weights if these were ever trained, unless keys say else."""
        return {"weights": "none" if self.is_new else "own", **keys, "base": self.name}

    @property
    def is_new(self) -> bool:
        """Whether its batch norms have seen no image yet; without any that cannot be told."""
        norms = [(name, value) for name, value in self.read.state.items() if name.endswith(tuple(FIRST_STATISTICS))]
        return bool(norms) and all((value == FIRST_STATISTICS[name.rpartition(".")[2]]).all() for name, value in norms)

    def remember(self, space: AnySpace, channels: int) -> None:
        """Make it known as what a space asks for, on images of so many channels.

        Raises InputError where it cannot be as that says.
        """
        from search_spaces.existing.reading import remember_read

        assert isinstance(space, ExistingSpace)
        try:
            remember_read(self.read, space.asked(channels))
        except ValueError as error:
            raise InputError(str(error)) from None


def given_module(module: nn.Module, argument: str = "space") -> GivenModule:
    """Read a module as it is now: what becomes of it later is not seen.

    Raises InputError, which begins with the argument, where it cannot be read.
    """
    from search_spaces.existing.reading import read_network
    from search_spaces.existing.weights import digest_of

    try:
        read = read_network(module)
    except ValueError as error:
        raise InputError(f"{argument}: {error}") from None
    read = replace(read, state={name: value.clone() for name, value in read.state.items()})
    digest = f"{read.blueprint.digest[: DIGITS // 2]}{digest_of(read.state)[: DIGITS // 2]}"
    return GivenModule(f"{type(module).__name__}-{digest}", read)


def is_module(given: object) -> TypeGuard[nn.Module]:
    """Whether something is a torch module, without importing torch for what is none."""
    return hasattr(given, "named_modules") and hasattr(given, "state_dict") and not isinstance(given, type)
