"""What a run folder says of itself, read by other means than the package's: files, inodes and the journal's lines.

The journal is Optuna's: a line of JSON per operation. Operation 0 creates a study, 4 a trial, 6 sets its state (1, 2
and 3 are ends), 8 an attribute of it.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDS = (1, 2, 3)
MEASURED = ("latency_ms", "expected_gain", "latency_se")  # columns that differ between two runs of the same candidates
Finished = Mapping[str, tuple[int, str]]


def finished(folder: Path) -> dict[str, tuple[int, str]]:
    """Every finished evaluation, by its folder's name, with what identifies its writing: inode and content."""
    found: dict[str, tuple[int, str]] = {}
    for file in sorted(folder.glob("artifacts/*/*/evaluation.json")):
        found[file.parent.relative_to(folder).as_posix()] = file.stat().st_ino, file.read_text(encoding="utf-8")
    return found


def lost(before: Finished, now: Finished) -> list[str]:
    """What was finished, and is no longer."""
    return sorted(before.keys() - now.keys())


def changed(before: Finished, now: Finished) -> list[str]:
    """What was finished, and has been written again."""
    return sorted(name for name in before.keys() & now.keys() if before[name] != now[name])


def signs_of_life(folder: Path) -> set[tuple[str, int]]:
    """Every checkpoint and evaluation with the time it was written: this grows by every epoch that is kept."""
    found = set()
    for name in ("checkpoint.pt", "evaluation.json"):
        for file in folder.glob(f"artifacts/*/*/{name}"):
            try:
                found.add((str(file), file.stat().st_mtime_ns))
            except FileNotFoundError:  # an evaluation has just superseded its checkpoint
                continue
    return found


@dataclass
class Trial:
    """A trial of the journal: its study, how often its end was recorded, and its attributes."""

    study: str
    ends: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.attributes.get("row")
        return found


def records(journal: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of the journal; a torn last one is left out."""
    for line in journal.read_bytes().split(b"\n")[:-1]:
        if line.strip():
            yield json.loads(line)


def trials(folder: Path) -> list[Trial]:
    """Every trial of every study of the journal."""
    journal, studies, found = folder / "study.log", list[str](), list[Trial]()
    for record in records(journal) if journal.exists() else ():
        match record["op_code"]:
            case 0 if record["study_name"] not in studies:  # every start of a driver asks for it again
                studies.append(record["study_name"])
            case 4:
                ends, attributes = record.get("state", 0) in ENDS, dict(record.get("user_attrs") or {})
                found.append(Trial(studies[record["study_id"]], int(ends), attributes))
            case 6:
                found[record["trial_id"]].ends += record["state"] in ENDS
            case 8:
                found[record["trial_id"]].attributes |= record["user_attr"]
    return found


def unfinished(folder: Path) -> list[Trial]:
    return [trial for trial in trials(folder) if not trial.ends]


def table(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; none where there is no file."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def mistakes(folder: Path, *, goal: int) -> list[str]:
    """What is wrong with a run that is over: told twice, done twice, or less than `goal` complete trials."""
    found = trials(folder)
    rows = [trial.row for trial in found if trial.row is not None and trial.row["state"] != "DUPLICATE"]
    places = Counter(row["artifact"] for row in rows)
    csv_rows = table(folder / "trials.csv")
    numbers = Counter(row["number"] for row in csv_rows)
    complete = sum(row["state"] == "COMPLETE" for row in csv_rows)
    checks = {
        f"{sum(trial.ends > 1 for trial in found)} trials told twice": any(trial.ends > 1 for trial in found),
        f"{sum(not trial.ends for trial in found)} trials left unfinished": any(not trial.ends for trial in found),
        f"{sum(n - 1 for n in places.values())} evaluations done twice": any(n > 1 for n in places.values()),
        f"{sum(n - 1 for n in numbers.values())} rows twice in trials.csv": any(n > 1 for n in numbers.values()),
        f"{complete} of {goal} trials complete": complete < goal,
        "no report": not (folder / "report.html").exists(),
        "no front": not table(folder / "front.csv"),
        "a file that was not finished": any(folder.rglob("*.tmp")),
        "a checkpoint of something finished": any(
            (file.parent / "evaluation.json").exists() for file in folder.glob("artifacts/*/*/checkpoint.pt")
        ),
    }
    return [words for words, is_wrong in checks.items() if is_wrong]


def failures(folder: Path) -> Counter[str]:
    """Reasons of failed trials, with how often each came."""
    return Counter(row["reason"] for row in table(folder / "trials.csv") if row["state"] == "FAILED")


def attempts(folder: Path) -> dict[str, int]:
    """How many attempts each finished evaluation says it took."""
    return {name: json.loads(text)["attempts"] for name, (_, text) in finished(folder).items()}


def what_was_found(folder: Path, name: str = "front.csv") -> list[dict[str, str]]:
    """A table without what is measured in time: the same in every run of the same candidates."""
    return [{key: value for key, value in row.items() if not key.startswith(MEASURED)} for row in table(folder / name)]


def epochs_again(log: Path) -> int:
    """How many epochs the audited workers trained more than once."""
    if not log.exists():
        return 0
    seen = Counter(line for line in log.read_text(encoding="utf-8").splitlines() if line)
    return sum(times - 1 for times in seen.values())
