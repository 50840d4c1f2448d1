"""Kill the driver of a study with SIGKILL at random moments, continue each time, and check that nothing was lost.

    python studies/benchmarks/kill_and_continue.py studies/digits.yaml --kills 10 --json kills.json

After every kill: no worker process is left, and every finished evaluation is still there, untouched. At the end:
no evaluation was done twice, and the run has all its trials and its report.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nas.run_folder.columns import trial_columns
from nas.run_folder.tables import count_rows
from nas.study.file import load_study


@dataclass
class Kill:
    """What one kill left behind."""

    after_s: float
    finished: int
    lost: int
    changed: int
    left_behind: int


def workers_of(folder: Path) -> list[int]:
    """Worker processes that serve this run folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"nas.executors.worker" in command and str(folder).encode() in command:
            found.append(int(entry.name))
    return found


def finished(folder: Path) -> dict[str, tuple[int, str]]:
    """Every finished evaluation with what identifies its writing: inode and content."""
    files = sorted(folder.glob("artifacts/*/*/evaluation.json"))
    return {str(f.relative_to(folder)): (f.stat().st_ino, f.read_text(encoding="utf-8")) for f in files}


def start(study: Path, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "nas.cli", "run", str(study), "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_once(study: Path, folder: Path, after_s: float) -> Kill | None:
    """Run for a while, kill, look; None where the run ended by itself before."""
    before = finished(folder)
    driver = start(study, folder)
    try:
        driver.wait(after_s)
        return None
    except subprocess.TimeoutExpired:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    time.sleep(1.0)
    left = len(workers_of(folder.resolve()))
    now = finished(folder)
    return Kill(
        after_s=round(after_s, 2),
        finished=len(now),
        lost=len(before.keys() - now.keys()),
        changed=sum(before[name] != now[name] for name in before.keys() & now.keys()),
        left_behind=left,
    )


def journal_is_consistent(folder: Path) -> dict[str, int]:
    """At the end: rows, evaluations per row, and attempts beyond the first."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.log")))
    names = optuna.get_all_study_names(storage)
    trials = [t for name in names for t in optuna.load_study(study_name=name, storage=storage).trials]
    rows = [t.user_attrs["row"] for t in trials if "row" in t.user_attrs]
    evaluated = [row["artifact"] for row in rows if row["state"] != "DUPLICATE"]
    return {
        "trials": len(trials),
        "unfinished": sum(not t.state.is_finished() for t in trials),
        "complete": sum(row["state"] == "COMPLETE" for row in rows),
        "failed": sum(row["state"] == "FAILED" for row in rows),
        "evaluated_twice": len(evaluated) - len(set(evaluated)),
        "continued": sum(t.user_attrs.get("attempts", 1) > 1 for t in trials),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--longest", type=float, default=25.0, help="longest time before a kill, seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="kill-and-continue-")) / "run"
    kills: list[Kill] = []
    while len(kills) < arguments.kills:
        kill = kill_once(arguments.study, folder, rng.uniform(1.0, arguments.longest))
        if kill is None:
            break
        kills.append(kill)
        print(kill, flush=True)
    before = finished(folder)
    code = start(arguments.study, folder).wait()
    after = finished(folder)
    end = journal_is_consistent(folder)
    study = load_study(folder / "study.yaml")
    columns = trial_columns(study)
    end |= {
        "exit_code": code,
        "rows_in_csv": count_rows(folder / "trials.csv", columns),
        "changed": sum(before[name] != after.get(name) for name in before),
        "left_behind": len(workers_of(folder.resolve())),
        "report": int((folder / "report.html").exists()),
    }
    show(kills, end)
    if arguments.json:
        arguments.json.write_text(json.dumps({"kills": [asdict(kill) for kill in kills], "end": end}, indent=1))
    shutil.rmtree(folder.parent)
    bad = sum(k.lost + k.changed + k.left_behind for k in kills)
    bad += end["unfinished"] + end["evaluated_twice"] + end["changed"] + end["left_behind"] + code
    bad += (min(end["complete"], end["rows_in_csv"]) < study.search.trials) + (not end["report"])
    return int(bad > 0)


def show(kills: list[Kill], end: dict[str, int]) -> None:
    table = Table(title="SIGKILL of the driver")
    for column in ("kill", "after s", "finished", "lost", "changed", "processes left"):
        table.add_column(column, justify="right")
    for number, kill in enumerate(kills, start=1):
        table.add_row(str(number), *(str(value) for value in asdict(kill).values()))
    console = Console()
    console.print(table)
    console.print(end)


if __name__ == "__main__":
    sys.exit(main())
