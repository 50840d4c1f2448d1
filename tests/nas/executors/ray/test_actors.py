"""Actors of a real Ray: light ones in which nothing is trained, and those that measure."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from by_hand import different, make_study

from nas.errors import InputError
from nas.executors.pool import Died, Event, ExecutorSetup, Finished, Reported, TookTooLong
from nas.executors.ray.assignments import Assignments
from nas.executors.ray.cluster import Cluster
from nas.executors.ray.connecting import connected
from nas.executors.ray.datasets import DriverData
from nas.executors.ray.mailbox import Mailbox, Message
from nas.executors.ray.measured_places import open_places
from nas.executors.ray.measuring import NodePlace
from nas.executors.ray.serving import Assignment, NodeSetup
from nas.executors.ray.whereabouts import whereabouts
from nas.executors.ray.workers import RayWorkers
from nas.files import write_atomically
from nas.measuring.places import PlaceLost
from nas.records import Fingerprint
from nas.run_folder.paths import RunFolder
from nas.runtimes.runtime import RuntimeRefused, fingerprint, runtime_of
from nas.study import Target
from nas.tasks import Rung, Task, Verdict

pytestmark = [pytest.mark.xdist_group("ray")]
PATIENCE = 90.0
DIES, HANGS, ASKS = 1, 2, 3  # numbers of tasks


class Light:
    """Talks as a TrialActor does; what it does with a task is in the task's number."""

    def __init__(self, setup: NodeSetup, scratch: str) -> None:
        self._box = Mailbox()
        self._box.put(ready={**whereabouts(), "scratch": scratch})

    def listen(self, after: int, seconds: float) -> list[Message]:
        return self._box.after(after, seconds)

    def begin(self, assignment: Assignment) -> None:
        number = Task.from_line(assignment.line).number
        if number == DIES:
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        elif number == ASKS:
            self._box.put(rung=vars(Rung(1.0, 2)), parcel={})
        elif number != HANGS:
            self._box.put(done=bytes(2_000_000))

    def answer(self, verdict: str) -> None:
        self._box.put(done=verdict.encode())

    def close(self) -> None:
        pass


class Broken:
    def __init__(self, *_: Any) -> None:
        raise ImportError("libtorch is not what it was")

    def listen(self, after: int, seconds: float) -> list[Message]:
        return []


@pytest.fixture
def cluster(ray_cluster: str) -> Iterator[Cluster]:
    """Classes of this file travel by value: workers cannot import it."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with connected(None, {}) as found:
        assert not found.is_own  # the one that is there
        yield found


@contextmanager
def opened(
    cluster: Cluster,
    path: Path,
    *,
    worker: type = Light,
    limit_minutes: Callable[[Task], float | None] = lambda _: None,
) -> Iterator[RayWorkers]:
    study, folder = make_study(), RunFolder(path)
    workers = RayWorkers(
        setup=ExecutorSetup(study, folder, 1, 1, limit_minutes),
        cluster=cluster,
        node_setup=cast("NodeSetup", None),
        assignments=Assignments(study, folder, DriverData(study, cluster.put), cluster.put),
        options={"num_cpus": 1, "max_concurrency": 4, "max_restarts": 0},
        need={"CPU": 1.0},
        worker=worker,
    )
    with workers as found:
        yield found


def next_event(workers: RayWorkers) -> Event:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if events := workers.wait(0.2):
            return events[0]
    pytest.fail("nothing happened")


def make_task(path: Path, number: int) -> Task:
    candidate = different(1)[0]
    return Task(number, candidate, "search", number, 1, RunFolder(path).artifact(candidate.id, "search", number))


def test_an_actor_is_reused_and_replaced_when_it_is_killed_or_late(cluster: Cluster, tmp_path: Path) -> None:
    first, dying, hanging, asking, last = (make_task(tmp_path, number) for number in (0, DIES, HANGS, ASKS, 4))
    with opened(cluster, tmp_path, limit_minutes=lambda task: 0.5 / 60 if task == hanging else None) as workers:
        workers.submit(first)
        assert next_event(workers) == Finished(first, bytes(2_000_000))
        workers.submit(asking)
        assert next_event(workers) == Reported(asking, Rung(1.0, 2))
        workers.answer(asking, Verdict.STOP)
        assert next_event(workers) == Finished(asking, b"stop")
        workers.submit(dying)
        died = next_event(workers)
        assert isinstance(died, Died)
        assert (died.task, died.started, died.blamed) == (dying, True, True)
        assert died.reason.endswith("ended without a word: it was killed, or a library crashed")
        workers.submit(hanging)
        assert next_event(workers) == TookTooLong(hanging)
        workers.submit(last)
        assert next_event(workers) == Finished(last, bytes(2_000_000))


def test_an_actor_that_does_not_start_is_told_apart(cluster: Cluster, tmp_path: Path) -> None:
    with opened(cluster, tmp_path, worker=Broken) as workers:
        event = next_event(workers)
    assert isinstance(event, Died)
    assert (event.task, event.started, event.blamed) == (None, False, True)
    assert event.reason == "worker died: ImportError: libtorch is not what it was"


@pytest.fixture
def target() -> Target:
    return Target(name="cpu")


@contextmanager
def place_of(cluster: Cluster, target: Target) -> Iterator[NodePlace]:
    with open_places([target], cluster, {}) as places:
        yield places[target.name]


def test_a_measuring_actor_measures_and_comes_back(cluster: Cluster, target: Target, tmp_path: Path) -> None:
    """After it was killed it measures the same file, and a waiting trial notices nothing but time."""
    import ray

    file, waits = tmp_path / "model.onnx", list[bool]()
    write_atomically(file, runtime_of(target).control())
    with place_of(cluster, target) as place:
        place.waiting = waits.append
        latency = place.measure(file, target)
        assert latency.fingerprint == place.fingerprint(target) == fingerprint(target)
        assert latency.latency_ms > 0
        assert waits == [True, False]
        write_atomically(file, b"no network")
        with pytest.raises(RuntimeRefused):
            place.measure(file, target)
        write_atomically(file, runtime_of(target).control())
        ray.kill(place.actor, no_restart=False)
        again = place.measure(file, target)
        assert len(again.passes_us) >= 2
        torn = ray.get(place.actor.measure.remote(b"x", "0" * 64))
        assert torn["lost"].startswith("expected a file of sha256 000")


def test_another_device_and_nobody_at_all_are_lost_places(cluster: Cluster, target: Target, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    write_atomically(file, runtime_of(target).control())
    with place_of(cluster, target) as place:
        here = place.expected
        place.expected = Fingerprint.model_validate({**here.model_dump(), "device": "another board"})
        with pytest.raises(PlaceLost, match="target cpu: measured on another device now: device: another board -> "):
            place.measure(file, target)
        place.expected, place.lost_seconds = here, 0.01
        with pytest.raises(PlaceLost, match="did not answer within"):
            place.measure(file, target)
        place.lost_seconds = 60.0
        ray_kill(place.actor)
        with pytest.raises(PlaceLost, match="the node that measures it is gone"):
            place.measure(file, target)


def ray_kill(actor: Any) -> None:
    import ray

    ray.kill(actor, no_restart=True)


def test_a_device_that_no_node_offers(cluster: Cluster) -> None:
    target = Target(name="board", device="pi5")
    with (
        pytest.raises(InputError, match=r"targets\[0\].device: expected .*, got 'pi5'; nodes have CPU 8"),
        place_of(cluster, target),
    ):
        pass


def test_a_node_that_is_not_there_any_more_has_not_died_of_its_task(cluster: Cluster) -> None:
    own = cluster.nodes()
    assert list(own) == [cluster.node_id]
    assert cluster.room({"CPU": 3.0}) == 2
    assert cluster.answers()
    assert not cluster.head_is_gone()
    elsewhere: Mapping[str, Any] = {"address": "127.0.0.1:1", "node_id": "", "is_own": False, "runtime_env": {}}
    assert not Cluster(**elsewhere).answers()
