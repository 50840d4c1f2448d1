"""A sampler for small spaces: every candidate once, in an order that the seed fixes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.errors import InputError
from nas.samplers.gene_by_gene import Proposing
from nas.samplers.spaces.recording import Params, Real, cells_of, key_of

Choice = TypeVar("Choice")

LARGEST = 100_000  # leaves that are enumerated


class SpaceTooLarge(InputError):
    """A space that a grid cannot hold: a range without steps, or too many leaves."""


class GridSampler(Proposing):
    """Proposes the leaves of a define-by-run space, conditional genes included, none of them twice.

    The order is a shuffle by the seed. A leaf that any trial has, running or failed ones too, is passed over, so that a
    restart goes on; where all are taken it begins again. Leaves that `space` decodes to the same record are one.

    Raises SpaceTooLarge, at the first ask, where a gene is a range without steps, or where there are more than
    `largest` leaves.
    """

    def __init__(self, space: Callable[[Any], Any], *, seed: int, largest: int = LARGEST) -> None:
        super().__init__()
        self._space, self._seed, self._largest = space, seed, largest
        self._leaves: list[tuple[Hashable, Params]] | None = None

    def _choice(self, study: optuna.Study, trial: FrozenTrial) -> Params:
        """The first leaf that no other trial has."""
        leaves = self._shuffled()
        taken = {
            key_of(other.params)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and other.state is not TrialState.WAITING
        }
        taken |= {key_of(params) for number, params in self._chosen.items() if number != trial.number}
        records = {record for record, params in leaves if key_of(params) in taken}
        left = (params for record, params in leaves if record not in records)
        return next(left, leaves[trial.number % len(leaves)][1])

    def _unchosen(self, trial: FrozenTrial, gene: str, distribution: BaseDistribution) -> Any:
        raise ValueError(f"gene {gene}: expected one of the grid's space, got {distribution}")

    def _shuffled(self) -> list[tuple[Hashable, Params]]:
        if self._leaves is None:
            found = list(leaves(self._space, largest=self._largest))
            order = np.random.default_rng(self._seed).permutation(len(found))
            self._leaves = [found[place] for place in order]
        return self._leaves


def leaves(space: Callable[[Any], Any], *, largest: int = LARGEST) -> Iterator[tuple[Hashable, Params]]:
    """Every way to draw from a space, depth first: its record, or its parameters where it has none, and parameters."""
    path: list[int] = []
    for _ in range(largest):
        trial = PathTrial(path)
        record = space(trial)
        yield (key_of(trial.params) if record is None else record), trial.params
        path = trial.next_path()
        if not path:
            return
    raise SpaceTooLarge(f"grid: expected a space of at most {largest:,} candidates, got a larger one")


class PathTrial:
    """Answers the questions of a draw by their place: the i-th by the choice `path[i]`, later ones by their first."""

    def __init__(self, path: Sequence[int]) -> None:
        self.params: dict[str, Any] = {}
        self._path = path
        self._taken: list[tuple[int, int]] = []  # of each question: the choice, and how many there are

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        if name not in self.params:
            place = self._path[len(self._taken)] if len(self._taken) < len(self._path) else 0
            self._taken.append((place, len(choices)))
            self.params[name] = choices[place]
        answer: Choice = self.params[name]
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self.suggest_categorical(name, range(low, high + 1, step))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step is None:
            raise SpaceTooLarge(f"grid: gene {name}: expected choices or a range with a step, got {low} to {high}")
        cells = cells_of(Real(low, high, step, log=False))
        return self.suggest_categorical(name, [min(low + step * place, high) for place in range(cells)])

    def next_path(self) -> list[int]:
        """The next leaf's path; empty behind the last."""
        path = self._taken[:]
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        return [*(place for place, _ in path[:-1]), path[-1][0] + 1] if path else []
