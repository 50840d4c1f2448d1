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
    """A module that was read. `name`, by which it is known here, has its class, and a digest of what it is."""

    name: str
    module: nn.Module
    read: Read

    def space(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """The section `space`; it begins with its own weights if these were ever trained, unless keys say else."""
        return {"weights": "none" if self.is_new else "own", **keys, "base": self.name}

    @property
    def is_new(self) -> bool:
        """Whether its batch norms have seen no image yet; without any that cannot be told."""
        norms = [(name, value) for name, value in self.read.state.items() if name.endswith(tuple(FIRST_STATISTICS))]
        return bool(norms) and all((value == FIRST_STATISTICS[name.rpartition(".")[2]]).all() for name, value in norms)

    def confirm(self, space: AnySpace, channels: int) -> None:
        """Raise InputError where it cannot be what a space asks for, or computes something else than it was read as."""
        from search_spaces.existing.reading.confirming import refuse_other_outputs

        assert isinstance(space, ExistingSpace)
        try:
            space.known(channels)
            refuse_other_outputs(self.module, self.read, max(space.input_sizes))
        except ValueError as error:
            raise InputError(str(error)) from None


def given_module(module: nn.Module, argument: str = "space") -> GivenModule:
    """Read a module as it is now: what becomes of it later is not seen.

    Raises InputError, which begins with the argument, where it cannot be read.
    """
    from search_spaces.existing.reading import read_network
    from search_spaces.existing.reading.given import give
    from search_spaces.existing.weights import digest_of

    try:
        read = read_network(module)
    except ValueError as error:
        raise InputError(f"{argument}: {error}") from None
    read = replace(read, state={name: value.clone() for name, value in read.state.items()})
    digest = f"{read.blueprint.digest[: DIGITS // 2]}{digest_of(read.state)[: DIGITS // 2]}"
    give(name := f"{type(module).__name__}-{digest}", read)
    return GivenModule(name, module, read)


def is_module(given: object) -> TypeGuard[nn.Module]:
    """Whether something is a torch module, without importing torch for what is none."""
    return hasattr(given, "named_modules") and hasattr(given, "state_dict") and not isinstance(given, type)
