"""Cheap looks before dear trainings: what is spent, and what counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Import = Callable[[str], ModuleType]
TABLE = Path(os.environ.get("COMPACT_NAS_DATA", "")) / "nasbench201_acc_latency.csv.gz"


@pytest.mark.skipif(not TABLE.exists(), reason="COMPACT_NAS_DATA has no nasbench201_acc_latency.csv.gz")
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_looks_and_trainings_are_paid_for(module: Import) -> None:
    fidelity, cells = module("fidelity"), module("cells")
    problem = cells.Cells(cells.read_table(TABLE), "pi5")
    trained = fidelity.with_looks(problem, 0, epochs=700, kept=0.5)
    spent = [one.epochs for one in trained]
    steps = [after - before for before, after in zip([0, *spent], spent, strict=False)]
    assert all((step - 200) % 12 == 0 and step >= 200 for step in steps)
    assert spent[-1] <= 700
    assert len({tuple(one.params.items()) for one in trained}) == len(trained)
    assert problem.early_values(trained[0].params)[0] > problem.values(trained[0].params, None)[0]
    found = fidelity.regrets(problem, trained, 1000)
    assert list(found) == [1000]
    assert found[1000] == pytest.approx(1 - problem.shares([one.params for one in trained])["clean"])
