"""How large the report of a long run is and how long it takes to write.

python studies/benchmarks/report_size.py --trials 100 1000 --json report.json

The run folder is synthetic: candidates are drawn from the 32px space by the real search, rows, tables, front and
artifact folders are written by the real code; latency and accuracy are invented (see synthetic.py) and no network is
built. What is timed is what `nas report` does: parameter importance, report.html and front.png.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from synthetic import evaluate, synthetic_study

from nas.files import write_atomically
from nas.records import Evaluation
from nas.report.html import write_html
from nas.report.importance import importances
from nas.report.picture import write_picture
from nas.report.tables import read_trials
from nas.run_folder.columns import trial_columns
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.run_folder.tables import write_rows
from nas.runtimes.runtime import runtime_of
from nas.search.finalists import Finalists
from nas.search.repeats import Repeats
from nas.search.search import Search
from nas.search.upkeep import write_front
from nas.study import Study
from nas.study.file import dump_study
from nas.tasks import Task

GOAL_S, GOAL_BYTES = 5.0, 8_000_000
CLASSES = 10


@dataclass
class Size:
    """One report: seconds of its parts and its bytes."""

    trials: int
    front: int
    importance_s: float
    html_s: float
    picture_s: float
    html_bytes: int


def make_run(folder: Path, trials: int) -> Study:
    """A finished run of `trials` trials and its finalists."""
    study = synthetic_study(folder, [f"search.trials={trials}", "search.finalists=40", "search.population=50"])
    run = RunFolder(folder / f"run-{trials}")
    run.path.mkdir()
    write_atomically(run.study, dump_study(study))
    search = Search(study, run)
    finish_all(search)
    write_rows(run.trials, trial_columns(study), search.rows())
    finalists = Finalists(study, run)
    finalists.choose(search)
    finish_all(finalists)
    write_front(search, Repeats(search), finalists)
    return study


def finish_all(driver: Search | Finalists) -> None:
    while isinstance(task := driver.propose(), Task):
        evaluation = evaluate(task, driver.study)
        write_evaluation(task.folder, evaluation)
        if task.phase == "final":
            confuse(task, evaluation)
        (task.folder / runtime_of(driver.study.target).file_name).touch()
        driver.finish(task, evaluation)


def confuse(task: Task, evaluation: Evaluation) -> None:
    """Give the record an invented confusion of ten classes that has the right number of hits."""
    record = json.loads((task.folder / "evaluation.json").read_text(encoding="utf-8"))
    rng = random.Random(evaluation.candidate_id)
    for split in ("validation", "test"):
        images = record[split]["images"]
        matrix = [[0] * CLASSES for _ in range(CLASSES)]
        for image in range(images):
            right = image < record[split]["accuracy"] * images
            matrix[image % CLASSES][image % CLASSES if right else rng.randrange(CLASSES)] += 1
        record[split]["confusion"] = matrix
    write_atomically(task.folder / "evaluation.json", json.dumps(record))


def write(folder: Path, study: Study, trials: int) -> Size:
    began = time.perf_counter()
    found = importances(read_trials(folder), study.objectives)
    explained = time.perf_counter()
    page = write_html(folder, importance=found)
    written = time.perf_counter()
    write_picture(folder)
    drawn = time.perf_counter()
    front = len((folder / "front.csv").read_text(encoding="utf-8").splitlines()) - 1
    seconds = (explained - began, written - explained, drawn - written)
    return Size(trials, front, *seconds, page.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path, help="keep the run folders here")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = Table(title="Report of a synthetic run")
    for column in ("trials", "front", "importance s", "html s", "picture s", "html MB"):
        table.add_column(column, justify="right")
    rows: list[Size] = []
    with tempfile.TemporaryDirectory(prefix="report-size-") as temporary:
        place = arguments.out or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        for trials in arguments.trials:
            study = make_run(place, trials)
            rows.append(row := write(place / f"run-{trials}", study, trials))
            seconds = (f"{value:.2f}" for value in (row.importance_s, row.html_s, row.picture_s))
            table.add_row(str(trials), str(row.front), *seconds, f"{row.html_bytes / 1e6:.2f}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    within = [row for row in rows if row.trials == 1000]
    return int(any(r.importance_s + r.html_s > GOAL_S or r.html_bytes > GOAL_BYTES for r in within))


if __name__ == "__main__":
    raise SystemExit(main())
