"""A space that nobody has written down: the genes of a study's trials, and which values of others they came with.

Genes that always came together are one group, as in Optuna's group-decomposed space. A group that some trials lack is
asked for where an earlier gene has a value that it always came with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from nas.samplers.spaces.recording import Choices, Question, UnitTrial, Whole, ask, question_of


@dataclass(frozen=True)
class Condition:
    """Asked for where the gene `parent` has one of these values."""

    parent: str
    values: tuple[Any, ...]

    def holds(self, params: Mapping[str, Any]) -> bool:
        return self.parent in params and params[self.parent] in self.values


@dataclass(frozen=True)
class InferredSpace:
    """Asks a trial for the genes of a history, in its order. Equal where it would ask the same."""

    questions: tuple[tuple[str, Question], ...]
    conditions: tuple[tuple[str, Condition], ...]

    def __call__(self, trial: UnitTrial) -> None:
        conditions = dict(self.conditions)
        for name, question in self.questions:
            if name not in conditions or conditions[name].holds(trial.params):
                ask(trial, name, question)


def infer_space(trials: Sequence[FrozenTrial]) -> InferredSpace | None:
    """The space of these trials; None where they have no genes.

    A gene keeps the last distribution that it was asked with. One whose absence no single gene explains is always
    asked for: what a trial does not ask, it does not take.
    """
    questions: dict[str, Question] = {}
    for trial in trials:
        questions.update((name, question_of(distribution)) for name, distribution in trial.distributions.items())
    if not questions:
        return None
    recorded = [trial.params for trial in trials if trial.params]
    names = _in_order(recorded)
    conditions: dict[str, Condition] = {}
    by_group: dict[tuple[bool, ...], Condition | None] = {}
    for place, name in enumerate(names):
        presence = tuple(name in params for params in recorded)
        if all(presence):
            continue
        if presence not in by_group:
            parents = [p for p in names[:place] if isinstance(questions[p], Choices | Whole)]
            by_group[presence] = _condition(parents, recorded, presence)
        found = by_group[presence]
        if found is not None:
            conditions[name] = found
    return InferredSpace(tuple((name, questions[name]) for name in names), tuple(conditions.items()))


def _in_order(recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Genes in the order of the trials; those of longer ones where they stand there."""
    names: list[str] = []
    for params in recorded:
        at = 0
        for name in params:
            if name in names:
                at = max(at, names.index(name) + 1)
            else:
                names.insert(at, name)
                at += 1
    return names


def _condition(
    parents: Sequence[str], recorded: Sequence[Mapping[str, Any]], presence: Sequence[bool]
) -> Condition | None:
    """The first parent whose values tell where a gene is present."""
    for parent in parents:
        told: dict[Any, bool] = {}
        for params, present in zip(recorded, presence, strict=True):
            if parent not in params:
                if present:
                    break
            elif told.setdefault(params[parent], present) != present:
                break
        else:
            return Condition(parent, tuple(value for value, present in told.items() if present))
    return None
