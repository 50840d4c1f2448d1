"""How decisions of further compression steps are drawn: a gene for each scope, whose names share it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from compressors.plan import NETWORK
from nas.study import Compression
from search_spaces.parts import Part
from search_spaces.protocols import ArchitectureLike
from search_spaces.trials import Trial, ask

NO_CHOICE = "none"  # how a gene spells that nothing is done
Scalar = str | int | float


@runtime_checkable
class Choice(Protocol):
    """A choice that is no plain number or word: what a gene calls it, and what a plan says of it."""

    def __str__(self) -> str: ...

    def decision(self) -> Any:
        """JSON for a plan."""
        ...


def draw_each(
    trial: Trial,
    architecture: ArchitectureLike,
    compression: Compression,
    *,
    key: str,
    choices: Sequence[Any],
    names: Callable[[Part], Sequence[str]],
) -> dict[str, Any]:
    """A decision for each of the `names` that a part offers, but for those that get none.

    `choices` are plain numbers, words, None, or of the Protocol Choice; the study's `granularity` says which names
    share one. A gene has the name of the study's `key`.
    """
    by_label = {label_of(choice): choice for choice in choices}
    decided: dict[str, Any] = {}
    for part in architecture.parts(1):
        offered = names(part)
        for shared in ([name] for name in offered) if compression.granularity == "layer" else [offered]:
            if shared:
                gene = f"{scope_of(shared[0], part.name, compression)}.{key}"
                decision = decision_of(by_label[ask(trial, gene, tuple(by_label))])
                decided |= {} if decision is None else dict.fromkeys(shared, decision)
    return decided


def draw_one(trial: Trial, *, key: str, choices: Sequence[Any]) -> dict[str, Any]:
    """The decision for the whole network, by the name `network`; nothing where there is none."""
    by_label = {label_of(choice): choice for choice in choices}
    decision = decision_of(by_label[ask(trial, f"network.{key}", tuple(by_label))])
    return {} if decision is None else {NETWORK: decision}


def scope_of(name: str, block: str, compression: Compression) -> str:
    """The prefix of a compression gene: what shares one decision."""
    stage = block.partition(".")[0]
    return {"network": "network", "stage": stage, "block": block, "layer": name}[compression.granularity]


def label_of(choice: Any) -> Scalar:
    """What a gene calls a choice."""
    return NO_CHOICE if choice is None else str(choice) if isinstance(choice, Choice) else choice


def decision_of(choice: Any) -> Any:
    """What a plan says of a choice; None where nothing is to be done."""
    if isinstance(choice, Mapping):
        raise TypeError(f"a choice: expected a number, a word or an object with a decision, got {choice!r}")
    if isinstance(choice, str | int | float):
        return None if choice in (NO_CHOICE, 0) else choice
    return None if choice is None else choice.decision()
