"""The node that measures is lost in the middle of a measurement; it comes back as it was, or as another machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger import finished, signs_of_life
from one_run import Run, compare, ended, moments, nothing_failed, over, strike_until_enough
from outcome import Ground, Outcome
from process_table import wait_for
from ray_ground import HEAD, METER, TRIALS, actors, cluster, no_ray, ray_run

MEASURING = {"CPU": 0, METER: 1}
SHORTEST_SECONDS, LONGEST_SECONDS = 4.0, 10.0
OTHER_CPU = "Some Other CPU @ 1.00GHz"


def no_other_cpu() -> str:
    """What another CPU stands for: /proc/cpuinfo in a mount namespace."""
    if missing := no_ray():
        return missing
    able = os.geteuid() == 0 and shutil.which("unshare") and shutil.which("mount")
    return "" if able else "only root can show a node another /proc/cpuinfo"


def ray_measuring(ground: Ground) -> Outcome:
    """Trials wait until a node offers the device again; what was measured is measured again, and nobody is blamed."""
    outcome = Outcome()
    with cluster([HEAD, MEASURING, TRIALS, TRIALS]) as nodes:
        meter = nodes.nodes[1]

        def strike(run: Run) -> bool:
            nonlocal meter
            if not signs_of_life(run.folder) or not is_measuring():
                return False
            nodes.kill(meter)
            time.sleep(2.0)
            meter = nodes.add(MEASURING)
            return True

        def make(number: int) -> Run:
            return ray_run(ground.scratch / str(number), nodes, device=METER, seed=ground.seed + number)

        strike_until_enough(ground, outcome, make, strike, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS))
    return outcome


def is_measuring() -> bool:
    """Waits for the moment in which the measuring actor is at work."""
    return wait_for(lambda: bool(actors("MeasuringActor.measure")), 30.0)


def ray_cpu(ground: Ground) -> Outcome:
    """Latencies of two machines are never mixed: the run ends with exit code 1 and says what differs."""
    outcome = Outcome(times=1)
    with cluster([HEAD, MEASURING, TRIALS]) as nodes:
        run = ray_run(ground.scratch, nodes, device=METER, seed=ground.seed)
        driver = run.start()
        outcome.expect(wait_for(lambda: bool(finished(run.folder))), "no trial was finished")
        before = finished(run.folder)
        nodes.kill(nodes.nodes[1])
        with node_of_another_cpu(nodes.address, ground.scratch):
            code = ended(driver)
            outcome.expect(code == 1, f"exit code {code}")
            outcome.expect(run.printed("on another device now: "), run.last_line())
        outcome.notes.append(run.last_line())
        before = compare(outcome, before, run.folder)
        outcome.expect(OTHER_CPU not in cpus_of(run.folder), f"latencies of {sorted(cpus_of(run.folder))}")
        nodes.add(MEASURING)
        driver = run.start()
        code = ended(driver)
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        nothing_failed(outcome, run)
        outcome.expect(len(cpus_of(run.folder)) == 1, f"latencies of {sorted(cpus_of(run.folder))}")
    return outcome


def cpus_of(folder: Path) -> set[str]:
    """The CPUs that latencies were measured on."""
    found = set()
    for _, text in finished(folder).values():
        for latency in ((json.loads(text).get("measurement") or {}).get("latency") or {}).values():
            found.add(str(latency["fingerprint"]))
    return found


@contextmanager
def node_of_another_cpu(address: str, scratch: Path) -> Iterator[None]:
    """A node with the device, to whose processes /proc/cpuinfo names another CPU."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    fake = scratch / "cpuinfo"
    lines = [f"model name\t: {OTHER_CPU}" if line.startswith("model name") else line for line in told]
    fake.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ray = Path(sys.executable).with_name("ray")
    start = f"""mount --bind {fake} /proc/cpuinfo && exec {ray} start --address={address} --num-cpus=0 \
        --resources='{{"{METER}": 1}}' --object-store-memory=100000000 --block"""
    with (scratch / "node.txt").open("wb") as printed:
        node = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", start], stdout=printed, stderr=printed, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()
