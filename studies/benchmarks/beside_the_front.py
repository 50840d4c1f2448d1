"""What a front is worth: beside random candidates, and beside its own architectures under a uniform plan.

    nas run studies/cifar10.yaml --out runs/cifar10
    python studies/benchmarks/beside_the_front.py runs/cifar10 --json cifar10-beside.json

Hypervolumes at equal epochs, costs as log10, accuracy on validation, one reference point for both of a pair: the
search's trials against as many random ones that meet the constraints (a random candidate that the search evaluated
too, as what NSGA-II draws for its first generation, is not trained again), and the finalists against the same
architectures with every layer int8 and no channel cut, trained here as the finalists were, whatever they cost. A
killed run of this script goes on where it was; with `--pairs` it does one of the two, and the JSON file keeps what it
has of the other. With `--measure` all latencies are measured again, one after the other, so that what else the machine
did meanwhile does not tell.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from drawing import drawn
from rich.console import Console
from rich.table import Table

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate, canonical
from nas.executors.local import LocalWorkers
from nas.executors.pool import Refused, Reported
from nas.machine import threads_per_worker
from nas.measuring.latency import measure
from nas.objectives import Points, beyond_worst, minimised
from nas.pareto import hypervolume
from nas.records import QUALITIES, State
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.runtimes.runtime import runtime_of
from nas.samplers.named import seed_of
from nas.study import Study
from nas.study.file import load_recorded
from nas.tasks import Task, Verdict

Rows = list[dict[str, Any]]


def uniform(candidate: Candidate) -> Candidate:
    """The same architecture, every layer int8, nothing cut."""
    layers = candidate.architecture.layers(1)
    plan = CompressionPlan(formats={layer.name: "int8" for layer in layers})
    return canonical(Candidate(architecture=candidate.architecture, plan=plan))


def uniform_tasks(folder: RunFolder) -> list[Task]:
    """One per architecture of the finalists and recipe; seeds and epochs are the finalists'."""
    finalists = pd.read_csv(folder.finalists)
    tasks: dict[Path, Task] = {}
    for number, artifact in finalists.loc[finalists["state"] == State.COMPLETE, "artifact"].items():
        own = read_evaluation(folder.path / artifact)
        assert own is not None, f"{artifact} has no evaluation"
        text = (folder.path / artifact / "candidate.json").read_text(encoding="utf-8")
        plain = uniform(Candidate.from_json(json.loads(text)))
        place = folder.artifact(plain.id, "reference", own.seed, own.recipe)
        task = Task(int(str(number)), plain, "reference", own.seed, own.budget, place)
        tasks[place] = replace(task, recipe=own.recipe, reads_test=True, is_constrained=False)
    return list(tasks.values())


def random_tasks(folder: RunFolder, study: Study, wanted: int) -> list[Task]:
    """The first different ones that `search.sampler: random` draws."""
    seed, tasks, numbers = study.search.seed, dict[str, Task](), count()
    while len(tasks) < wanted:
        number = next(numbers)
        candidate = drawn(study, seed_of(seed, number))
        place = folder.artifact(candidate.id, "search", seed)
        if read_evaluation(place) is None:
            place = folder.artifact(candidate.id, "reference", seed)
        task = Task(number, candidate, "search", seed, study.search_epochs, place)
        own = replace(task, recipe=study.search_changes, train_size=study.search.input_size)
        tasks.setdefault(candidate.id, own)
    return list(tasks.values())


def random_rows(folder: RunFolder, study: Study) -> Rows:
    """Figures of as many complete random candidates as the search has; the infeasible cost it nothing either."""
    tasks, rows = list[Task](), Rows()
    while len(rows) < study.search.trials:
        tasks = random_tasks(folder, study, len(tasks) + study.search.trials - len(rows))
        evaluate_all(folder, study, tasks)
        rows = rows_of(tasks, study)
    return rows


def evaluate_all(folder: RunFolder, study: Study, tasks: list[Task]) -> None:
    """Through the study's own workers, dear ones first; what has an evaluation is not done again."""
    waiting = [task for task in tasks if read_evaluation(task.folder) is None]
    waiting.sort(key=lambda task: task.candidate.macs(1), reverse=True)  # no worker is left with a dear one at the end
    threads = threads_per_worker(study.search.worker_count, study.space.input_sizes[-1])
    with LocalWorkers(folder.path, study.search.worker_count, threads) as pool:
        while waiting or pool.running:
            while waiting and pool.idle:
                pool.submit(waiting.pop(0))
            for event in pool.wait(1.0):
                if isinstance(event, Refused):
                    raise SystemExit(event.reason)
                if isinstance(event, Reported):
                    pool.answer(event.task, Verdict.CONTINUE)
                    continue
                task = getattr(event, "task", None)
                print(task and task.candidate.id, type(event).__name__, flush=True)


def points_of(rows: Rows, objectives: tuple[str, ...]) -> Points:
    """Values of rows on the scale that a search compares them on, all minimised."""
    return minimised([[row[name] for name in objectives] for row in rows], objectives)


def pair(ours: Rows, theirs: Rows, objectives: tuple[str, ...]) -> tuple[float, float]:
    """Hypervolumes over one reference point, 10 % beyond the worst of both."""
    worst = {name: beyond_worst(name, (row[name] for row in ours + theirs)) for name in objectives}
    reference_point = points_of([worst], objectives)[0]
    own, other = (float(hypervolume(points_of(rows, objectives), reference_point)) for rows in (ours, theirs))
    return own, other


def complete_rows(folder: RunFolder, study: Study, table: Path) -> Rows:
    """Of trials.csv or finalists.csv, with the place of each file."""
    name = runtime_of(study.target).file_name
    frame = pd.read_csv(table)
    rows = frame[frame["state"] == State.COMPLETE].to_dict("records")
    return [{**row, "file": folder.path / row["artifact"] / name} for row in rows]  # type: ignore[dict-item]


def rows_of(tasks: list[Task], study: Study) -> Rows:
    """Figures of those that are complete."""
    evaluations = [(task.folder, read_evaluation(task.folder)) for task in tasks]
    return [
        {
            "id": e.candidate_id,
            "file": folder / runtime_of(study.target).file_name,
            **e.measurement.costs(study.target.name),
            **{name: getattr(e.validation, name) for name in QUALITIES},
            "test_accuracy": None if e.test is None else e.test.accuracy,
        }
        for folder, e in evaluations
        if e is not None and e.state is State.COMPLETE and e.measurement is not None and e.validation is not None
    ]


def beside_search(folder: RunFolder, study: Study) -> tuple[Rows, Rows]:
    """The search's trials, and random candidates."""
    return complete_rows(folder, study, folder.trials), random_rows(folder, study)


def beside_finalists(folder: RunFolder, study: Study) -> tuple[Rows, Rows]:
    """The finalists, and their architectures under the uniform plan."""
    tasks = uniform_tasks(folder)
    evaluate_all(folder, study, tasks)
    return complete_rows(folder, study, folder.finalists), rows_of(tasks, study)


def measured_again(rows: Rows, study: Study) -> Rows:
    return [{**row, "latency_ms": measure(row["file"], study.target).latency_ms} for row in rows]


def shown(rows: Rows, objectives: tuple[str, ...]) -> Rows:
    """What the JSON file holds of each."""
    keys = dict.fromkeys(("id", *objectives, "accuracy", "test_accuracy", "parameters", "size_bytes", "latency_ms"))
    return [{key: row[key] for key in keys if key in row and row[key] == row[key]} for row in rows]


PAIRS = {
    "search": ("search against random", beside_search),
    "finalists": ("finalists against uniform int8", beside_finalists),
}


def table_of(study: Study, found: dict[str, tuple[float, float]]) -> Table:
    table = Table(title=f"{study.name}: hypervolumes at equal epochs")
    for column in ("pair", "ours", "beside", "ratio"):
        table.add_column(column, justify="left" if column == "pair" else "right")
    for name, (own, other) in found.items():
        table.add_row(name, f"{own:.4f}", f"{other:.4f}", f"{own / other:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--measure", action="store_true", help="measure all latencies again")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS), help="default: both")
    parser.add_argument("--json", type=Path, help="gets the hypervolumes after each pair, and the rows they are of")
    options = parser.parse_args()
    folder = RunFolder(options.run.resolve())
    study = load_recorded(folder.study)
    if study.training.searched:
        parser.error(f"{folder.study}: training: {', '.join(study.training.searched)} searched; no twin has them")
    found, rows = dict[str, tuple[float, float]](), dict[str, list[Rows]]()
    if options.json and options.json.exists():
        earlier = json.loads(options.json.read_text(encoding="utf-8"))
        if earlier["study"] != study.name:
            parser.error(f"{options.json} is of the study {earlier['study']}, not of {study.name}")
        found, rows = earlier["hypervolumes"], earlier["rows"]
    for name, compare in (PAIRS[key] for key in options.pairs):
        ours, theirs = compare(folder, study)
        if options.measure:
            ours, theirs = measured_again(ours, study), measured_again(theirs, study)
        found[name] = pair(ours, theirs, study.objectives)
        rows[name] = [shown(part, study.objectives) for part in (ours, theirs)]
        if options.json:
            written = {"study": study.name, "hypervolumes": found, "rows": rows}
            options.json.write_text(json.dumps(written, indent=1) + "\n")
    Console().print(table_of(study, found))


if __name__ == "__main__":
    main()
