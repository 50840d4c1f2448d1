"""What is taken for what: confusion matrices and per-class figures, from the scores an evaluation records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from nas.report.figures import per_cent

LARGEST_MATRIX = 20  # classes beyond which a matrix can no longer be read: the worst confusions are listed instead
SHOWN_CONFUSIONS = 12
Matrix = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: `precision` of the answers that name it, `recall` of its images; None where there are none."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """One split of one network. `matrix`: rows are true classes, columns the answers; empty where too large to show."""

    split: str
    names: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    classes: tuple[ClassFigures, ...]
    worst: tuple[tuple[str, str, int], ...]
    summary: str


def confusion(split: str, score: Mapping[str, Any] | None, names: Sequence[str]) -> Confusion | None:
    """The confusion recorded in a score of evaluation.json, None where it records none (or no square matrix)."""
    matrix = (score or {}).get("confusion")
    if not score or not _is_square(matrix):
        return None
    shown = tuple(names) if len(names) == len(matrix) else tuple(str(number) for number in range(len(matrix)))
    small = len(matrix) <= LARGEST_MATRIX
    return Confusion(
        split,
        shown,
        tuple(tuple(row) for row in matrix) if small else (),
        per_class(matrix, shown),
        worst_confusions(matrix, shown)[:SHOWN_CONFUSIONS],
        _summary(score),
    )


def _is_square(matrix: Any) -> TypeGuard[list[list[int]]]:
    """Whether this is a confusion matrix: as many counts in every row as there are rows."""
    if not isinstance(matrix, list) or not matrix or not all(isinstance(row, list) for row in matrix):
        return False
    return all(len(row) == len(matrix) and all(isinstance(number, int) for number in row) for row in matrix)


def per_class(matrix: Matrix, names: Sequence[str]) -> tuple[ClassFigures, ...]:
    """Precision, recall and F1 (harmonic mean of both: 2 hits / (support + answers)) of every class."""
    answers = [sum(row[column] for row in matrix) for column in range(len(matrix))]
    return tuple(
        ClassFigures(
            name,
            _ratio(row[i], answers[i]),
            _ratio(row[i], sum(row)),
            _ratio(2 * row[i], sum(row) + answers[i]),
            sum(row),
        )
        for i, (name, row) in enumerate(zip(names, matrix, strict=True))
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def worst_confusions(matrix: Matrix, names: Sequence[str]) -> tuple[tuple[str, str, int], ...]:
    """(true class, answer, images) of the mistakes, the most frequent first."""
    found = [
        (names[i], names[j], number)
        for i, row in enumerate(matrix)
        for j, number in enumerate(row)
        if i != j and number
    ]
    return tuple(sorted(found, key=lambda mistake: -mistake[2]))


def _summary(score: Mapping[str, Any]) -> str:
    known = (("balanced accuracy", "balanced_accuracy"), ("macro F1", "macro_f1"))
    return ", ".join(f"{label} {per_cent(100 * score[key])} %" for label, key in known if score.get(key) is not None)
