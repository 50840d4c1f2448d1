from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_hand import make_study, row

from nas.process import Process
from nas.records import State
from nas.report.progress import progress
from nas.report.rate import Rate
from nas.report.status import Further, Status, read_columns, status_of
from nas.report.tables import read_trials
from nas.run_folder.columns import finalist_columns, reference_columns, trial_columns
from nas.run_folder.heartbeat import Heartbeat, Life, Sign
from nas.run_folder.log import Level, LogLine
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import TrialRow
from nas.run_folder.tables import write_rows

STUDY = make_study(trials=10, finalists=2)
NOBODY = Sign(Life.UNKNOWN, None)
BEAT = Heartbeat(Process("far", "b", "n", 7, 1), 3, "2030-01-01T00:00:00+00:00", 50.0, 3600.0, "2029-12-31")


def random_rows(count: int, seed: int = 0) -> list[TrialRow]:
    rng = np.random.default_rng(seed)
    return [
        row(n, float(a), int(p), int(s), flags=("parity",) if n % 5 == 4 else ())
        for n, (a, p, s) in enumerate(
            zip(rng.uniform(0.5, 1, count), rng.integers(10, 1000, count), rng.integers(10, 1000, count), strict=True)
        )
    ]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def write(folder: RunFolder, rows: Sequence[TrialRow]) -> None:
    write_rows(folder.trials, trial_columns(STUDY), rows)


def status(folder: RunFolder, *, sign: Sign = NOBODY, log: Sequence[LogLine] = ()) -> Status:
    return status_of(folder, STUDY, sign, log)


def test_a_run_that_has_only_just_begun(folder: RunFolder) -> None:
    found = status(folder)
    assert (found.complete, found.wanted, found.front, found.hypervolume, found.best) == (0, 10, 0, None, {})
    assert found.further == {"finalists": Further(0, 0, 2)}
    assert found.rate is None
    assert found.left_seconds is None


def test_states_are_counted_and_the_last_failures_told(folder: RunFolder) -> None:
    failed = [row(n, None, 1, 1, state="FAILED", reason=f"reason {n}") for n in range(5)]
    write(folder, [*failed, row(5, 0.9, 10, 10), row(6, None, 1, 1, state="INFEASIBLE", reason="size")])
    found = status(folder)
    assert found.states == {State.FAILED: 5, State.COMPLETE: 1, State.INFEASIBLE: 1}
    assert [(one.whose, one.reason) for one in found.failures] == [
        ("trial 2", "reason 2"), ("trial 3", "reason 3"), ("trial 4", "reason 4"),
    ]  # fmt: skip


def test_the_front_and_the_best_are_those_of_brute_force(folder: RunFolder) -> None:
    rows = random_rows(60)
    write(folder, rows)
    able = [r for r in rows if not r.flags]

    def dominates(a: TrialRow, b: TrialRow) -> bool:
        pairs = [(-a.value("accuracy"), -b.value("accuracy"))]
        pairs += [(a.value(name), b.value(name)) for name in ("parameters", "size_bytes")]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    members = [r for r in able if not any(dominates(other, r) for other in able)]
    found = status(folder)
    assert (found.front, found.of) == (len(members), "search trials")
    top = max(members, key=lambda r: r.value("accuracy"))
    small = min(members, key=lambda r: r.value("size_bytes"))
    assert (found.best["accuracy"].trial, found.best["accuracy"].id) == (str(top.number), top.id)
    assert found.best["size_bytes"].value == small.value("size_bytes")


@pytest.mark.parametrize("point", [{}, {"accuracy": 0.4, "parameters": 2000.0, "size_bytes": 2000.0}])
def test_the_hypervolume_is_what_the_report_s_curve_ends_with(folder: RunFolder, point: dict[str, float]) -> None:
    write(folder, random_rows(40))
    study = STUDY.model_copy(update={"report": STUDY.report.model_copy(update={"hypervolume_reference": point})})
    curve = progress(read_trials(folder.path), study.objectives, point)
    assert status_of(folder, study, NOBODY, ()).hypervolume == pytest.approx(curve.values[-1], rel=1e-9)


def test_finalists_that_stand_make_the_front(folder: RunFolder) -> None:
    write(folder, random_rows(30))
    final = [
        row(0, None, 10, 10, trial=3, state="FAILED", reason="diverged"),
        row(1, 0.75, 20, 20, trial=8),
    ]
    write_rows(folder.finalists, finalist_columns(STUDY), final)
    write_rows(folder.references, reference_columns(STUDY), [row(0, 0.7, 20, 20, reference="baseline")])
    found = status(folder)
    assert (found.front, found.of) == (1, "finalists")
    assert found.best["accuracy"].trial == "8"
    assert found.further == {"finalists": Further(1, 1, 2), "references": Further(1, 0, 1)}
    assert [one.whose for one in found.failures] == ["finalist 3"]


def test_a_row_that_is_being_written_is_left_out(folder: RunFolder) -> None:
    write(folder, random_rows(3))
    whole = folder.trials.read_text()
    folder.trials.write_text(whole[:-9])
    assert len(read_columns(folder.trials)["state"]) == 2
    folder.trials.write_text(whole.split("\n")[0] + "\n")
    assert read_columns(folder.trials)["state"] == ()
    folder.trials.write_text("")
    assert read_columns(folder.trials) == {}


def line(seconds: float, event: str = "over", **more: Any) -> LogLine:
    return LogLine("2030", seconds, Level.INFO, event, "words", {"phase": "search", **more})


def overs(*seconds: float, state: str = "COMPLETE") -> list[LogLine]:
    return [line(one, state=state) for one in seconds]


def test_only_what_the_last_driver_logged_counts(folder: RunFolder) -> None:
    """Seconds begin anew with each."""
    began = LogLine("2030", 0.0, Level.INFO, "began", "")
    died = LogLine("2030", 5.0, Level.WARNING, "died", "trial 1 lost its worker")
    log = [began, died, died, *overs(3000), began, line(0, "started"), died, *overs(1800)]
    found = status(folder, log=log)
    assert found.rate == Rate(pytest.approx(2), pytest.approx(2))  # type: ignore[arg-type]
    assert (found.deaths, found.last_death) == (1, "trial 1 lost its worker")


def test_the_driver_s_own_forecast_is_preferred_and_ages(folder: RunFolder) -> None:
    write(folder, random_rows(4))
    log = [line(0, "started"), *overs(450, 900, 1350, 1800)]
    running = Sign(Life.RUNNING, replace(BEAT, left_seconds=100.0), 30.0)
    assert (status(folder, sign=running).left_seconds, status(folder, sign=running).is_by_rate) == (70.0, False)
    lost = Sign(Life.LOST, replace(BEAT, left_seconds=100.0), 9999.0)
    assert status(folder, sign=lost).left_seconds == 100.0
    found = status(folder, sign=Sign(Life.RUNNING, replace(BEAT, seconds=1800.0)), log=log)
    assert found.is_by_rate
    assert found.left_seconds == pytest.approx(6 / 8 * 3600)  # six of ten are left, eight an hour
    assert status(folder, sign=Sign(Life.OVER, BEAT), log=log).left_seconds is None
