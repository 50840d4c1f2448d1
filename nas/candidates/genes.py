"""The names and choices of all genes that a study's trials may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

from nas.candidates.hyperparameters import number_genes
from nas.candidates.sampling import sample_of
from nas.study import Study
from search_spaces.protocols import SpaceLike
from search_spaces.trials import Pick, first, last


def all_genes(study: Study) -> list[str]:
    """Every gene a trial may have, in the order they are asked for."""
    return [*gene_choices(study), *number_genes(study.training)]


def gene_choices(study: Study) -> dict[str, tuple[Any, ...]]:
    """Every gene of the candidate with its choices; where stages choose among kinds of blocks, those of every kind."""
    recorder, space = _Recorder(), study.space
    # A block between different widths has all the layers it may ever have. A width without a choice is not asked for:
    # only where all that may lie before it are taken in turn, one of them differs from it.
    numbered = (partial(_numbered, number) for number in range(space.most_width_choices))
    ways = (partial(_changed, last), partial(_changed, first), *numbered)
    for kind, way in product((space, *space.of_one_kind()), ways):
        recorder.width = way
        sample_of(recorder, study, kind)
    return recorder.genes


def may_depend_on_weights(study: Study) -> bool:
    """Whether a candidate of the study may depend on weights: every choice of every gene is looked at once in each kind
    of block. Nothing is removed from it, or a choice might meet no layer.
    """
    whole = study.compression.model_copy(update={"remove_blocks": (False,), "remove_activations": (False,)})
    kept = study.model_copy(update={"compression": whole})
    most = max(map(len, gene_choices(study).values()), default=1)
    ways = (Pick(partial(_nth, number)) for number in range(most))
    kinds: Sequence[SpaceLike] = study.space.of_one_kind()
    drawn = (sample_of(way, kept, kind) for way, kind in product(ways, kinds))
    return any(candidate.depends_on_weights for candidate in drawn)


def _nth(number: int, choices: Sequence[Any]) -> Any:
    """The choice of this number, or the last."""
    return choices[min(number, len(choices) - 1)]


class _Recorder(Pick):
    """A trial that remembers what it was asked.

    It takes the last choice everywhere; but of widths what `width` says of the choices and the width before.
    """

    def __init__(self) -> None:
        super().__init__(last)
        self.genes: dict[str, tuple[Any, ...]] = {}
        self.width: Callable[[Sequence[int], int], int] = partial(_changed, last)
        self._before = 0

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.genes.setdefault(name, tuple(choices))
        if not name.endswith(".width") or name == "head.width":
            return super().suggest_categorical(name, choices)
        self._before = self.width(choices, self._before)
        return self._before


def _changed(pick: Callable[[Sequence[int]], int], choices: Sequence[int], before: int) -> int:
    """Another width than the one before, unless there is no other."""
    return pick([choice for choice in choices if choice != before] or choices)


def _numbered(number: int, choices: Sequence[int], before: int) -> int:
    return int(_nth(number, choices))
