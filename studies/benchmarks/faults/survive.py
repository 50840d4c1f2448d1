"""Faults that a run survives, done to real runs: what was lost, repeated and left behind, and how soon it went on.

    python studies/benchmarks/faults/survive.py --json faults.json
    python studies/benchmarks/faults/survive.py driver worker --times 3

Every fault is a row of FAULTS. Without names all are tried; what this machine lacks is skipped, and the reason said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from agent_faults import agent_kill
from candidates_that_misbehave import hang, hog
from clock import clock, no_faketime
from disk import full_disk, no_mounts
from driver_kill import driver_kill, driver_kill_alone
from notice import notice
from outcome import Fault, Ground, Outcome, show
from postgres_faults import no_postgres, postgres_restart
from process_table import adopt
from ray_faults import ray_driver, ray_head, ray_late, ray_node, ray_worker
from ray_ground import no_ray
from ray_measuring import no_other_cpu, ray_cpu, ray_measuring
from rich.console import Console
from torn_journal import torn_journal
from two_drivers import two_drivers
from worker_kill import worker_kill

FAULTS: Mapping[str, Fault] = {
    "driver": Fault("kill -9 of the driver, two workers", driver_kill, times=30),
    "driver-alone": Fault("kill -9 of the driver, one worker", driver_kill_alone, times=6),
    "worker": Fault("kill -9 of a worker", worker_kill, times=10),
    "notice": Fault("SIGTERM, 30 seconds' notice", notice, times=6),
    "disk": Fault("full disk", full_disk, times=4, needs=no_mounts),
    "hog": Fault("a candidate that allocates without bound", hog),
    "hang": Fault("a candidate that hangs", hang),
    "clock": Fault("clock set back and forward", clock, times=3, needs=no_faketime),
    "ray-driver": Fault("Ray: kill -9 of the driver, its own Ray", ray_driver, times=10, needs=no_ray),
    "ray-worker": Fault("Ray: kill -9 of a trial's actor", ray_worker, times=5, needs=no_ray),
    "ray-node": Fault("Ray: a node is lost, another joins", ray_node, times=4, needs=no_ray),
    "ray-measuring": Fault("Ray: the measuring node is lost, and comes back", ray_measuring, times=2, needs=no_ray),
    "ray-head": Fault("Ray: the head is lost", ray_head, needs=no_ray),
    "ray-late": Fault("Ray: a node joins late", ray_late, needs=no_ray),
    "ray-cpu": Fault("Ray: the measuring node comes back with another CPU", ray_cpu, needs=no_other_cpu),
    "agent": Fault("kill -9 of the agent in mid-measurement", agent_kill, times=3),
    "postgres": Fault("PostgreSQL restarted", postgres_restart, times=3, needs=no_postgres),
    "two-drivers": Fault("two drivers on one study", two_drivers, times=5),
    "torn-journal": Fault("a torn journal", torn_journal, times=6),
}


def tried(name: str, ground: Ground) -> Outcome:
    """One row, or why there is none."""
    fault = FAULTS[name]
    if missing := fault.needs():
        return Outcome(skipped=f"skipped: {missing}")
    return fault.strike(ground)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; all by default")
    parser.add_argument("--times", type=int, help="how often each is done, where it can be done more than once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which are else removed")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.faults if name not in FAULTS]:
        parser.error(f"FAULT: expected {', '.join(FAULTS)}, got {', '.join(unknown)}")
    adopt()
    scratch = arguments.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    found: dict[str, Outcome] = {}
    console = Console()
    for name in arguments.faults or FAULTS:
        began = time.monotonic()
        times = arguments.times or FAULTS[name].times
        ground = Ground(scratch.resolve() / name, times, arguments.seed, say=lambda words: console.print(f"  {words}"))
        console.print(f"{name}: {FAULTS[name].words}")
        found[name] = tried(name, ground)
        console.print(f"  {'good' if found[name].is_good else found[name].problems or found[name].skipped}")
        console.print(f"  {time.monotonic() - began:.0f} s", highlight=False)
        if arguments.json:  # after each: a long run that is ended has something to show
            rows = {key: {"fault": FAULTS[key].words, **outcome.to_json()} for key, outcome in found.items()}
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(found, FAULTS, console)
    if not arguments.keep:
        shutil.rmtree(scratch, ignore_errors=True)
    return int(not all(outcome.is_good or outcome.skipped for outcome in found.values()))


if __name__ == "__main__":
    sys.exit(main())
