"""A worker whose trials only sleep: it reads tasks and answers as a worker does, and imports neither torch nor nas.

Started by `scale.py` in place of `nas.executors.worker`. Accuracy and costs are invented from the candidate's id.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

FINGERPRINT = {
    "device": "invented", "instruction_sets": [], "runtime": "none", "provider": "none", "threads": 1, "batch": 1
}  # fmt: skip
TIMES = "times.jsonl"  # beside the run folder: when each trial of each worker began and ended


def evaluation(task: dict[str, Any]) -> dict[str, Any]:
    """An evaluation of a task as it stands on a worker's line."""
    name = Path(task["folder"]).parent.name
    number = int(name, 16)
    parameters = 5_000 + number % 500_000
    accuracy = 0.5 + 0.4 * parameters / 505_000 + number % 97 / 1_000
    latency = {
        "latency_ms": parameters / 1e6 + number % 89 / 1e4, "stable": True, "protocol": "invented", "control_ms": 0.02,
        "fingerprint": FINGERPRINT, "passes_us": [[10.0]],
    }  # fmt: skip
    return {
        "candidate_id": name, "structure_id": name, "phase": task["phase"], "seed": task["seed"], "state": "COMPLETE",
        "epochs": task["epochs"], "budget": task["epochs"], "accuracy_source": "trained", "target": "cpu",
        "measurement": {
            "origin": "shipped file", "parameters": parameters, "macs": 30 * parameters,
            "size_bytes": parameters + number % 7_919, "peak_memory_bytes": 65_536, "latency": {"cpu": latency},
        },
        "validation": {"accuracy": accuracy, "se": 0.005, "images": 5000}, "attempts": task["attempt"],
        "seconds": {"train": 1.0}, "started_at": "2030-01-01T00:00:00+00:00",
    }  # fmt: skip


def write(task: dict[str, Any]) -> None:
    """The evaluation of a task, whole or not at all."""
    folder = Path(task["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".tmp").write_text(json.dumps(evaluation(task)), encoding="utf-8")
    (folder / ".tmp").rename(folder / "evaluation.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--driver", type=int, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--answers", type=int, required=True)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(arguments.answers, "w", buffering=1, encoding="utf-8")
    answers.write(json.dumps({"ready": os.getpid()}) + "\n")
    with (arguments.folder.parent / TIMES).open("a", buffering=1, encoding="utf-8") as times:
        for line in sys.stdin:
            began = time.monotonic()
            task = json.loads(line)
            time.sleep(arguments.seconds)
            write(task)
            times.write(json.dumps([os.getpid(), began, time.monotonic()]) + "\n")
            answers.write(json.dumps({"done": task["number"]}) + "\n")


if __name__ == "__main__":
    main()
