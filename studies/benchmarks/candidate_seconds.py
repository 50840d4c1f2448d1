"""Where one candidate's seconds go, stage by stage, over the evaluations of a run.

    nas run studies/digits.yaml search.workers=1 --out runs/digits-alone
    python studies/benchmarks/candidate_seconds.py runs/digits-alone --json seconds.json

Wall time: with several workers it holds their waiting for each other's measurements too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from nas.records import Evaluation, State

STAGES = ("build", "prune", "emit", "teach", "train", "verify", "measure", "score")


def stages_of(folder: Path) -> dict[str, list[float]]:
    """Seconds of every complete evaluation, by stage."""
    files = sorted(folder.glob("artifacts/*/*/evaluation.json"))
    evaluations = [Evaluation.model_validate_json(file.read_bytes()) for file in files]
    complete = [e for e in evaluations if e.state is State.COMPLETE]
    return {stage: [e.seconds.get(stage, 0.0) for e in complete] for stage in STAGES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    stages = stages_of(arguments.folder)
    count = len(stages["train"])
    total = sum(map(sum, stages.values()))
    table = Table(title=f"{arguments.folder.name}: {count} complete evaluations")
    for column in ("stage", "median s", "longest s", "share"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = {}
    for stage, seconds in stages.items():
        rows[stage] = {"median_s": median(seconds), "longest_s": max(seconds), "share": sum(seconds) / total}
        table.add_row(stage, f"{median(seconds):.3f}", f"{max(seconds):.3f}", f"{sum(seconds) / total:.1%}")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
