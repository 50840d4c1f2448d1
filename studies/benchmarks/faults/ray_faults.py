"""What happens to a run on Ray: its driver, an actor, a node or the head is lost; a node joins late."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from driver_kill import kill_until_the_end
from ledger import finished, signs_of_life
from one_run import Moment, Run, compare, ended, moments, nothing_failed, over, strike_until_enough
from outcome import Ground, Outcome
from process_table import kill, send, wait_for
from ray_ground import HEAD, TRIALS, actors, cluster, on_ray, ray_run

START_SECONDS = 25.0  # of a run on Ray, on a busy machine
SHORTEST_SECONDS, LONGEST_SECONDS = 4.0, 12.0


def ray_driver(ground: Ground) -> Outcome:
    """A Ray of its own dies with its driver: no raylet, no gcs_server, no actor is left."""
    outcome = Outcome()
    after_s = moments(ground.seed, 1.0, START_SECONDS)
    for number in ground.runs(outcome):
        study = on_ray(workers=2, seed=ground.seed + number)
        run = Run(ground.scratch / str(number), study, audited=False)
        kill_until_the_end(run, outcome, after_s, ground)
    return outcome


def ray_worker(ground: Ground) -> Outcome:
    """The process of an actor, at random."""
    outcome, rng = Outcome(), random.Random(ground.seed)

    def strike(_: Run) -> bool:
        found = actors("TrialActor")
        return bool(found) and send(rng.choice(found), signal.SIGKILL)

    with cluster([{"CPU": 2}]) as nodes:

        def make(number: int) -> Run:
            return ray_run(ground.scratch / str(number), nodes, seed=ground.seed + number)

        strike_until_enough(
            ground, outcome, make, strike, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS), "(death 3)"
        )
    return outcome


def ray_node(ground: Ground) -> Outcome:
    """One of two nodes at random, with all that runs there; a new one takes its place. No candidate is blamed."""
    outcome, rng = Outcome(), random.Random(ground.seed)
    with cluster([HEAD, TRIALS, TRIALS]) as nodes:

        def strike(run: Run) -> bool:
            if not signs_of_life(run.folder) or not actors("TrialActor"):
                return False
            nodes.kill(rng.choice(nodes.nodes[1:]))
            nodes.add(TRIALS)
            return True

        def make(number: int) -> Run:
            return ray_run(ground.scratch / str(number), nodes, seed=ground.seed + number)

        strike_until_enough(ground, outcome, make, strike, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS))
    return outcome


def ray_head(ground: Ground) -> Outcome:
    """The run ends with exit code 1 and a sentence; on another cluster the same command continues."""
    outcome = Outcome(times=1)
    with cluster([{"CPU": 2}]) as nodes:
        run = ray_run(ground.scratch, nodes, seed=ground.seed)
        driver = run.start()
        outcome.expect(wait_for(lambda: len(finished(run.folder)) > 1), "no trial was finished")
        before, began = finished(run.folder), time.monotonic()
        nodes.kill(nodes.nodes[0])
        code = ended(driver)
        outcome.notes.append(f"ended after {time.monotonic() - began:.1f} s: {run.last_line()}")
        outcome.expect(code == 1, f"exit code {code}")
        outcome.expect(run.printed("does not answer any more; nothing finished is lost"), run.last_line())
        outcome.orphans += run.orphans()
        before = compare(outcome, before, run.folder)
    with cluster([{"CPU": 2}]) as nodes:
        moment = Moment.of(run)
        driver = run.start(f"search.ray.address={nodes.address}")
        moment.note_recovery(outcome, driver)
        code = ended(driver)
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        nothing_failed(outcome, run)
    return outcome


def ray_late(ground: Ground) -> Outcome:
    """A run that follows its cluster uses a node that joins while it goes on."""
    outcome = Outcome(times=1)
    with cluster([HEAD, TRIALS]) as nodes:
        run = ray_run(ground.scratch, nodes, seed=ground.seed, trials=12)
        driver = run.start()
        came = wait_for(lambda: bool(finished(run.folder)) or driver.poll() is not None)
        outcome.expect(came and driver.poll() is None, f"no trial was finished: {run.last_line()}")
        began, before = time.monotonic(), finished(run.folder)
        nodes.add(TRIALS)
        if wait_for(lambda: len(nodes_of(run.folder)) > 1 or driver.poll() is not None):
            outcome.recovery_s.append(time.monotonic() - began)
        else:
            kill(driver)
        code = ended(driver)
        outcome.expect(len(nodes_of(run.folder)) == 2, f"trials ran on {sorted(nodes_of(run.folder))}")
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        nothing_failed(outcome, run)
    return outcome


def nodes_of(folder: Path) -> set[str]:
    """On which nodes evaluations were done."""
    return set(_nodes_of(folder))


def _nodes_of(folder: Path) -> Iterator[str]:
    for _, text in finished(folder).values():
        machine = json.loads(text)["machine"]
        if machine is not None and machine.get("node"):
            yield machine["node"]
