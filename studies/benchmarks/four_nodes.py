"""A study on a Ray cluster of four nodes on this machine: one measures, one is killed while it runs, one joins late.

    python studies/benchmarks/four_nodes.py --out runs/four-nodes studies/digits.yaml [KEY=VALUE ...]

Prints who evaluated what, and writes it beside the run folder's files as four-nodes.json; exit code 1 where something
that was finished is lost or was done twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from clusters import Nodes, nodes_on_this_machine

METER = "meter"
KILL_AFTER, JOIN_AFTER = 3, 6  # finished trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with nodes_on_this_machine([{"CPU": 0}, {"CPU": 1}, {"CPU": 1}, {METER: 1}]) as nodes:
        code = run(nodes, arguments.study, arguments.changes, arguments.out)
    found = summary(arguments.out)
    (arguments.out / "four-nodes.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found, indent=1))
    sys.exit(code or bool(found["done twice"]) or len(found["measured as"]) != 1)


def run(nodes: Nodes, study: Path, changes: list[str], out: Path) -> int:
    """`nas run` beside a node that is killed and one that joins; returns its exit code."""
    own = [f"search.ray.address={nodes.address}", f"targets=[{{name: {METER}, device: {METER}}}]"]
    own += ["search.engine=ray", "search.workers=auto", "search.ray.checkpoint_seconds=2"]
    command = [str(Path(sys.executable).with_name("nas")), "run", str(study), *own, *changes, "--out", str(out)]
    with subprocess.Popen(command) as process:
        wait_for(process, out, KILL_AFTER)
        nodes.kill(nodes.nodes[1])
        print("A node was killed.", flush=True)
        wait_for(process, out, JOIN_AFTER)
        nodes.add({"CPU": 1})
        print("A node has joined.", flush=True)
        return process.wait()


def wait_for(process: subprocess.Popen[bytes], out: Path, trials: int) -> None:
    """Until so many trials are finished, or the run is over."""
    while len(rows(out)) < trials and process.poll() is None:
        time.sleep(0.2)


def rows(out: Path) -> list[dict[str, str]]:
    try:
        with (out / "trials.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def summary(out: Path) -> dict[str, Any]:
    """How the trials ended, where they ran and were measured, and what was done twice."""
    records = [json.loads(file.read_bytes()) for file in out.glob("artifacts/*/*/evaluation.json")]
    keys = Counter((row["id"], row["state"]) for row in rows(out) if row["state"] == "COMPLETE")
    measured = {
        json.dumps(latency["fingerprint"], sort_keys=True)
        for record in records
        if record.get("measurement")
        for latency in record["measurement"]["latency"].values()
    }
    return {
        "trials": dict(Counter(row["state"] for row in rows(out))),
        "evaluations by node": dict(Counter(record["machine"].get("node", "") for record in records)),
        "went on elsewhere": sum(record.get("attempts", 1) > 1 for record in records),
        "done twice": [identity for (identity, _), count in keys.items() if count > 1],
        "measured as": sorted(measured),
    }


if __name__ == "__main__":
    main()
