"""What the front is compared with: the baseline's rows, and whether the search has beaten it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.candidates.baseline import GIVEN, PLAIN, baseline_words
from nas.objectives import Points, excesses, minimised
from nas.pareto import non_dominated
from nas.records import State
from nas.report.figures import accuracy_text, figure, present
from nas.report.tables import read_finalists, read_references, records, stands
from nas.study import Study
from nas.study.file import load_study

Row = dict[str, Any]
SHOWN_TRIALS = 5


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference beside a front.

    `broken` are the limits of the study that it breaks. `beaten_by` and `beats` are the places in the front, from 0, of
    networks that are at least as good in every objective and better in one, and for which the opposite holds; both are
    empty where it is not compared (`is_compared`): it failed, breaks a limit, or was not trained as the front was.
    `what` says in words which network it is.
    """

    row: Row
    broken: tuple[str, ...] = ()
    is_compared: bool = False
    beaten_by: tuple[int, ...] = ()
    beats: tuple[int, ...] = ()
    what: str = PLAIN

    @property
    def name(self) -> str:
        return str(self.row["reference"])

    @property
    def form(self) -> str:
        """Which of the references it is, without the word they share."""
        return self.name.partition(" ")[2] or self.name

    @property
    def is_complete(self) -> bool:
        return bool(self.row["state"] == State.COMPLETE)

    @property
    def is_on_front(self) -> bool:
        """Whether no network of the front beats it."""
        return self.is_compared and not self.beaten_by

    @property
    def flags(self) -> str:
        """What a table says of it beside its figures."""
        limits = f"breaks the limit of {', '.join(self.broken)}" if self.broken else ""
        return " ".join(filter(None, [self.row["flags"], limits]))


def references_of(folder: Path, front: Sequence[Row], objectives: Sequence[str]) -> list[Reference]:
    """The references of a run beside its front, which is given by its rows; none where the study asks for none."""
    study = load_study(folder / "study.yaml")
    if not study.baseline:
        return []
    # It is trained as finalists are, or as trials where the study asks for no finalists.
    is_fair = bool(study.search.finalists) == bool(stands(read_finalists(folder)).any())
    return compared(records(read_references(folder)), front if is_fair else (), objectives, study)


def compared(rows: Sequence[Row], front: Sequence[Row], objectives: Sequence[str], study: Study) -> list[Reference]:
    """References beside the rows of a front; nothing is compared where that is empty."""
    found, what = [], baseline_words(study)
    for row in rows:
        broken = tuple(_broken(row, study))
        able = row["state"] == State.COMPLETE and not broken and all(present(row.get(name)) for name in objectives)
        if not able or not front:
            found.append(Reference(row, broken, what=what))
            continue
        own, *others = minimised([[one[name] for name in objectives] for one in (row, *front)], objectives)
        winners = tuple(place for place, point in enumerate(others) if dominates(point, own))
        losers = tuple(place for place, point in enumerate(others) if dominates(own, point))
        found.append(Reference(row, broken, True, winners, losers, what))
    return found


def _broken(row: Mapping[str, Any], study: Study) -> list[str]:
    limits = {name: limit for name, limit in study.limits.items() if present(row.get(name))}
    return list(excesses({name: row[name] for name in limits}, limits))


def dominates(one: Points, other: Points) -> bool:
    """Whether a point is nowhere worse than the other and somewhere better."""
    return bool(np.all(one <= other) and np.any(one < other))


def verdict(references: Sequence[Reference], front: Sequence[Row], objectives: Sequence[str]) -> str:
    """A sentence where the baseline is on the front itself; empty where the search has beaten it, or cannot be told."""
    leading = _leading(references, objectives)
    if not leading:
        return ""
    which = " and ".join(f"{one.form} ({_figures(one, objectives)})" for one in leading)
    beaten = sorted({place for reference in leading for place in reference.beats})
    if len(beaten) == len(front):
        return (
            f"The search has lost to {leading[0].what}: the baseline, as {which}, beats every network of the "
            "front, as good or better in every objective."
        )
    if leading[0].what == GIVEN and not beaten:  # the network itself is the most accurate, as a rule
        return f"The network as it was given stands on the front, as {which}: nothing that was found beats it."
    also = f" It beats {_trials(beaten, front)}, as good or better in every objective." if beaten else ""
    return f"The search has not beaten {leading[0].what}: the baseline stands on the front, as {which}.{also}"


def verdict_and_fates(references: Sequence[Reference], front: Sequence[Row], objectives: Sequence[str]) -> list[str]:
    """Every sentence there is on the references."""
    return [*filter(None, [verdict(references, front, objectives)]), *words(references, front)]


def words(references: Sequence[Reference], front: Sequence[Row]) -> list[str]:
    """What became of the references that are not on the front, those of one fate in one sentence."""
    fates: dict[str, list[str]] = {}
    for reference in references:
        if fate := _fate(reference, front):
            fates.setdefault(fate, []).append(reference.form)
    return [f"The baseline in {' and '.join(names)} {fate}." for fate, names in fates.items()]


def _fate(reference: Reference, front: Sequence[Row]) -> str:
    if not reference.is_complete:
        return f"{str(reference.row['state']).lower()}: {reference.row['reason'].rstrip('.')}"
    if reference.broken:
        return f"breaks the limit of {', '.join(reference.broken)}, so it is no alternative"
    if reference.beaten_by:
        return f"is beaten by {_trials(reference.beaten_by, front)}, as good or better in every objective"
    return ""


def _trials(places: Sequence[int], front: Sequence[Row]) -> str:
    """The trials at these places of the front, each once: of one there may be finalists by several recipes."""
    numbers = list(dict.fromkeys(front[place]["trial"] for place in places))
    shown = [str(number) for number in numbers[:SHOWN_TRIALS]]
    if len(numbers) > SHOWN_TRIALS:
        return f"trials {', '.join(shown)} and {len(numbers) - SHOWN_TRIALS} more"
    return f"trial {shown[0]}" if len(shown) == 1 else f"trials {', '.join(shown[:-1])} and {shown[-1]}"


def _leading(references: Sequence[Reference], objectives: Sequence[str]) -> list[Reference]:
    """Those on the front that no other of them dominates: the int8 file often leaves the float32 one nothing."""
    able = [reference for reference in references if reference.is_on_front]
    if not able:
        return []
    kept = non_dominated(minimised([[one.row[name] for name in objectives] for one in able], objectives))
    return [reference for reference, stays in zip(able, kept, strict=True) if stays]


def _figures(reference: Reference, objectives: Sequence[str]) -> str:
    row = reference.row
    told = [
        f"{accuracy_text(row[name], row['accuracy_se'])} %" if name == "accuracy" else _figure(row, name)
        for name in objectives
    ]
    return ", ".join(told)


def _figure(row: Row, name: str) -> str:
    known = figure(name)
    value = known.text(row[name], unit=True)
    return value if known.unit and known.is_cost else f"{value} {known.label}"
