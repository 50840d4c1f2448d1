"""Children take after their parents, and are the same whoever else is a parent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.samplers.spaces.pools import children, random_rows
from nas.samplers.spaces.recording import Choices, Question, Real, Whole
from nas.samplers.spaces.streams import hashed, uniform, words_of
from nas.samplers.spaces.units import Genes, scan

QUESTIONS: dict[str, Question] = {f"gene{i}": Choices(("a", "b", "c", "d")) for i in range(10)}
QUESTIONS |= {f"width{i}": Whole(1, 8, 1, False) for i in range(10)}
QUESTIONS |= {f"rate{i}": Real(0.0, 1.0, None, False) for i in range(4)}
GENES = Genes(QUESTIONS)


def all_active(count: int) -> NDArray[np.bool_]:
    return np.ones((count, len(QUESTIONS)), dtype=np.bool_)


def cell(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of genes as whole numbers, units where they have no cells."""
    return np.where(GENES.cells > 0, np.floor(rows[:, :-1] * np.maximum(GENES.cells, 1)), rows[:, :-1])


def test_streams_are_uniform_and_independent() -> None:
    words = hashed(np.arange(4000, dtype=np.float64)[:, None])
    numbers = uniform(words, 5, stream=3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.mean(axis=0) == pytest.approx(np.full(5, 0.5), abs=0.025)
    assert numbers.var(axis=0) == pytest.approx(np.full(5, 1 / 12), rel=0.06)
    others = np.column_stack([numbers, uniform(words, 5, stream=4)])
    assert np.abs(np.corrcoef(others.T) - np.eye(10)).max() < 0.08


def test_streams_count_places() -> None:
    words = hashed(np.arange(8, dtype=np.float64)[:, None])
    assert (uniform(words, 7, stream=1)[:, :3] == uniform(words, 3, stream=1)).all()
    assert (uniform(words[3:], 3, stream=1) == uniform(words, 3, stream=1)[3:]).all()
    assert words_of(1, 2) != words_of(2, 1)


def test_random_rows_reach_every_value_and_keep_their_beginning() -> None:
    rows = random_rows(GENES, 400, seed=5)
    assert rows.shape == (400, GENES.width)
    assert all(len(set(column)) == cells for column, cells in zip(cell(rows).T, GENES.cells, strict=True) if cells)
    assert (random_rows(GENES, 100, seed=5) == rows[:100]).all()
    assert (random_rows(GENES, 400, seed=6) != rows).any()


def test_children_take_genes_from_parents_except_a_few() -> None:
    parents = random_rows(GENES, 4, seed=1)
    born = children(GENES, parents, all_active(4), 400, seed=2)
    assert len(born) == 400
    known = cell(parents)
    for child, mother in zip(cell(born), np.repeat(known, 100, axis=0), strict=True):
        others = (child != mother) & ~(child == known).any(axis=0)
        assert (child != mother).any()
        assert others.sum() <= len(QUESTIONS) * 0.8
    changed = (cell(born) != np.repeat(known, 100, axis=0)).sum(axis=1)
    assert 2 < changed.mean() < 9
    assert (changed == 1).sum() > 20


def test_children_do_not_depend_on_other_parents() -> None:
    parents = random_rows(GENES, 5, seed=1)
    alone = children(GENES, parents[:1], all_active(1), 50, seed=2)
    together = children(GENES, parents, all_active(5), 250, seed=2)[:50]
    with_one_parent = (alone == together).all(axis=1)
    assert 20 < with_one_parent.sum() < 50  # the others have a second parent
    fewer = children(GENES, parents, all_active(5), 100, seed=2)
    assert (fewer[:20] == together[:20]).all()


def test_what_a_parent_lacks_is_drawn_at_random() -> None:
    parents = random_rows(GENES, 1, seed=1)
    active = all_active(1)
    active[0, 0] = False
    born = children(GENES, parents, active, 100, seed=3)
    assert len(set(cell(born)[:, 0])) == 4
    assert (cell(born)[:, 1:] != cell(parents)[:, 1:]).any(axis=1).all()


def test_a_scan_finds_conditional_genes() -> None:
    def space(trial: object) -> None:
        if trial.suggest_categorical("kind", ("a", "b", "c")) == "c":  # type: ignore[attr-defined]
            trial.suggest_int("inner", 1, 4)  # type: ignore[attr-defined]

    assert scan(space, seed=0).questions == {"kind": Choices(("a", "b", "c")), "inner": Whole(1, 4, 1, False)}


def test_rows_of_parameters() -> None:
    fill = np.full(GENES.width, 0.25)
    row = GENES.row_of({"gene0": "d", "width1": 8, "rate0": 0.75}, fill)
    assert row[0] == pytest.approx(0.875)
    assert row[11] == pytest.approx(15 / 16)
    assert row[20] == pytest.approx(0.75)
    assert (np.delete(row, [0, 11, 20]) == 0.25).all()
    assert list(GENES.units(row)) == list(QUESTIONS)
