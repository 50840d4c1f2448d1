"""Space coverage: which choices of each kind of gene have been drawn, how often, and how often on the front."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nas.candidates.counting import candidates_of
from nas.report.figures import count
from nas.run_folder.rows import PARAMS
from nas.study import Study


@dataclass(frozen=True, slots=True)
class ChoiceUse:
    """One choice: its share of the answers of all trials and of the front's members, None where there are none."""

    choice: str
    all_trials: float | None
    front: float | None


@dataclass(frozen=True, slots=True)
class KindCoverage:
    """The genes of one kind: of all their (gene, choice) pairs, how many were drawn at least once."""

    kind: str
    genes: int
    pairs: int
    seen: int
    choices: tuple[ChoiceUse, ...]

    @property
    def share(self) -> float:
        return self.seen / self.pairs


def coverage(trials: pd.DataFrame, front: Collection[int], choices: Mapping[str, Sequence[Any]]) -> list[KindCoverage]:
    """Per kind, the last word of a gene's name. `choices` are those of every gene of the space."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for gene, options in choices.items():
        kinds.setdefault(gene.rpartition(".")[2], {})[gene] = [str(option) for option in options]
    on_front = trials["number"].isin(list(front))
    return [_kind(kind, genes, trials, on_front) for kind, genes in kinds.items()]


def _kind(
    kind: str, genes: Mapping[str, Sequence[str]], trials: pd.DataFrame, on_front: pd.Series[bool]
) -> KindCoverage:
    drawn: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    seen = 0
    for gene, options in genes.items():
        answers = trials[PARAMS + gene] if PARAMS + gene in trials else pd.Series("", index=trials.index)
        counts = Counter(answers)
        drawn.update({option: counts[option] for option in options})
        kept.update({option: number for option, number in Counter(answers[on_front]).items() if option in options})
        seen += sum(counts[option] > 0 for option in options)
    longest_first = sorted(genes.values(), key=len, reverse=True)  # has the study's order, others a part of it
    options = list(dict.fromkeys(option for some in longest_first for option in some))
    if all(map(_is_number, options)):
        options.sort(key=float)
    uses = tuple(ChoiceUse(option, _share(drawn, option), _share(kept, option)) for option in options)
    return KindCoverage(kind, len(genes), sum(map(len, genes.values())), seen, uses)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _share(counts: Counter[str], choice: str) -> float | None:
    total = counts.total()
    return counts[choice] / total if total else None


def coverage_words(trials: pd.DataFrame, study: Study) -> str:
    """How many different candidates were drawn, of how many there are."""
    candidates, size = trials["id"].nunique(), candidates_of(study)
    drawn = f"{count(len(trials))} trials drew {count(candidates)} different candidates"
    return f"{drawn} of {_size_words(size)}."


def _size_words(size: int) -> str:
    if size < 1_000_000:
        return f"{count(size)} ways to answer the space's questions"
    return f"about 10^{math.log10(size):.1f} ways to answer the space's questions"
