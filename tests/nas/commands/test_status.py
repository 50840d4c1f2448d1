from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from by_hand import make_study, row
from rich.console import Console

from nas.commands.status import Signs, show_status
from nas.commands.status_words import as_json, forecast_words, life_words, lines_of
from nas.errors import InputError
from nas.process import Process, uptime
from nas.records import State
from nas.report.status import Best, Failure, Further, Rate, Status
from nas.run_folder.columns import trial_columns
from nas.run_folder.heartbeat import PLAUSIBLE_SECONDS, Ending, Heartbeat, Life, RunningTask, Sign, write_heartbeat
from nas.run_folder.paths import RunFolder
from nas.run_folder.tables import write_rows
from nas.study.file import dump_study

TASKS = tuple(RunningTask("search", n, f"{n:012}", "train, epoch 1.0 of 8", 60.0) for n in range(20))
BEAT = Heartbeat(
    Process("far", "another start", "n", 7, 1), 3, "2030-01-01T10:00:00+00:00", 50.0, 7200.0,
    "2030-01-01T08:00:00+00:00", engine="ray", workers=20, running=TASKS,
)  # fmt: skip
STATUS = Status(
    name="digits", folder=Path("runs/digits"), sign=Sign(Life.RUNNING, BEAT, 1.0), wanted=24,
    states={State.COMPLETE: 18, State.FAILED: 1}, further={"finalists": Further(1, 1, 3)}, rate=Rate(42.0, 40.0),
    left_seconds=600.0, front=7, hypervolume=1.5, best={"accuracy": Best(0.983, "12", "ab12cd34ef56")},
    failures=[Failure("trial 3", "training diverged")], deaths=2, last_death="trial 3 lost its worker",
)  # fmt: skip


def test_every_subject_has_a_line() -> None:
    text = "\n".join(lines_of(STATUS))
    for words in (
        "on far (process 7) since 2030-01-01 08:00:00 UTC, 2.0 h; engine ray, 20 workers; last sign 1 s ago",
        "18 of 24 trials complete, 1 failed",
        "finalists   1 of 3 complete, 1 ended otherwise",
        "42.0 trials an hour, 40.0 of them complete",
        "7 networks of the search trials; hypervolume of the search 1.500",
        "validation accuracy 98.3\u00a0% (trial 12, ab12cd34ef56)",
        "trial 0, 000000000000: train, epoch 1.0 of 8, for 60 s",
        "and 4 more",
        "2 of workers since the driver began; the last: trial 3 lost its worker",
        "failed      trial 3: training diverged",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("life", "ending", "words"),
    [
        (Life.OVER, Ending.OVER, "finished at 2030-01-01 10:00:00 UTC on far (process 7), after 2.0 h"),
        (Life.STOPPED, Ending.STOPPED, "stopped at 2030-01-01 10:00:00 UTC on far"),
        (Life.FAILED, Ending.FAILED, "failed at 2030-01-01 10:00:00 UTC on far (process 7): the disk is full"),
        (Life.LOST, None, "lost on far (process 7): no sign of life since 2030-01-01 10:00:00 UTC"),
        (Life.UNKNOWN, None, "not known yet"),
    ],
)
def test_how_the_work_ended(life: Life, ending: Ending | None, words: str) -> None:
    problem = "the disk is full" if life is Life.FAILED else ""
    sign = Sign(life, replace(BEAT, ending=ending, problem=problem))
    assert words in life_words(sign)
    assert not any(line.startswith("running ") for line in lines_of(replace(STATUS, sign=sign)))


def test_the_forecast_is_a_time_only_while_somebody_works() -> None:
    now = datetime(2030, 1, 1, 10, 0, tzinfo=UTC)
    assert forecast_words(STATUS, now=now) == "all done in about 10.0 min, at 2030-01-01 10:10 UTC"
    by_rate = replace(STATUS, is_by_rate=True)
    assert forecast_words(by_rate, now=now) == "the search done in about 10.0 min, at 2030-01-01 10:10 UTC"
    lost = replace(STATUS, sign=Sign(Life.LOST, BEAT))
    assert forecast_words(lost) == "about 10.0 min of work left until all is done"
    assert forecast_words(replace(STATUS, left_seconds=None)) == ""


def test_a_program_gets_the_same_in_the_files_units() -> None:
    told = json.loads(as_json(STATUS))
    assert told["states"]["complete"] == 18
    assert told["states"]["pruned"] == 0
    assert told["best"]["accuracy"] == {"value": 0.983, "trial": "12", "id": "ab12cd34ef56"}
    assert (told["life"], told["driver"]["host"], told["driver"]["pid"]) == ("running", "far", 7)
    assert (told["trials_per_hour"], told["complete_per_hour"]) == (42.0, 40.0)
    assert (told["left_seconds"], told["left_of"]) == (600.0, "all")
    assert len(told["running"]) == 20
    nobody = json.loads(as_json(replace(STATUS, sign=Sign(Life.UNKNOWN, None), rate=None, left_seconds=None)))
    assert nobody["driver"] is None
    assert nobody["running"] == []
    assert nobody["left_of"] is None


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    study = make_study(trials=10)
    (tmp_path / "study.yaml").write_text(dump_study(study))
    write_rows(tmp_path / "trials.csv", trial_columns(study), [row(n, 0.5 + n / 10, 10 + n, 10) for n in range(3)])
    return RunFolder(tmp_path)


def printed(show: Callable[[Console], None]) -> str:
    out = io.StringIO()
    show(Console(file=out, width=20))
    return out.getvalue()


def test_nothing_in_the_folder_is_touched(folder: RunFolder) -> None:
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    text = printed(lambda console: show_status(folder.path, "text", watch=False, console=console))
    assert "3 of 10 trials complete" in text  # on one line, however narrow the pipe
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before


def test_watching_ends_when_the_run_is_over(folder: RunFolder) -> None:
    beat, waits = replace(BEAT, process=Process.here(), uptime=uptime()), list[float]()
    write_heartbeat(folder, beat)

    def later(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            write_heartbeat(folder, replace(beat, ending=Ending.OVER))

    text = printed(lambda console: show_status(folder.path, "text", watch=True, console=console, sleep=later))
    assert text.count("running on") == 2
    assert text.count("finished at") == 1
    assert text.endswith("\n")
    assert "\n\n" not in text  # a pipe is no screen


def test_no_run_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run folder, with study"):
        show_status(tmp_path, "text", watch=False, console=Console(quiet=True))


def test_while_watching_beats_tell_what_clocks_cannot(folder: RunFolder) -> None:
    """A machine elsewhere whose clock is a day off."""
    seconds = [0.0]
    beat = replace(BEAT, time=(datetime.now(UTC) - timedelta(days=1)).isoformat())
    write_heartbeat(folder, beat)
    signs = Signs(folder, clock=lambda: seconds[0])
    assert signs.next().life is Life.UNKNOWN
    seconds[0] += 2
    assert signs.next().life is Life.UNKNOWN
    write_heartbeat(folder, replace(beat, count=4))
    assert signs.next().life is Life.RUNNING
    seconds[0] += 2
    assert signs.next().life is Life.RUNNING  # the same beat, a moment later
    seconds[0] += PLAUSIBLE_SECONDS
    assert signs.next().life is Life.LOST
    write_heartbeat(folder, replace(beat, count=5))
    assert signs.next().life is Life.RUNNING
