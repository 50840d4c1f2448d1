"""Places of a cluster without one: what a script answers instead of Ray, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from by_hand import different, make_study

import nas.executors.ray.workers
from nas.executors.loop import WorkFailed
from nas.executors.pool import (
    Broke,
    Died,
    Event,
    ExecutorSetup,
    Finished,
    Noticed,
    Paused,
    Refused,
    Reported,
    Told,
    TookTooLong,
)
from nas.executors.ray.assignments import Assignments
from nas.executors.ray.cluster import Cluster
from nas.executors.ray.datasets import DriverData
from nas.executors.ray.deaths import Death
from nas.executors.ray.mailbox import Message
from nas.executors.ray.serving import NodeSetup
from nas.executors.ray.workers import RayWorkers
from nas.run_folder.paths import RunFolder
from nas.tasks import Progress, Rung, Task, Verdict

READY: Message = {"ready": {"node": "pc/1", "node_id": "one", "scratch": "/none"}}


@dataclass
class Call:
    """What an actor's methods are called through; what was called is kept."""

    name: str
    calls: list[tuple[Any, ...]]

    def remote(self, *arguments: Any) -> tuple[Any, ...]:
        self.calls.append((self.name, *arguments))
        return self.calls[-1]


@dataclass
class Actor:
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    answers: list[list[Message] | Death | None] = field(default_factory=list)

    def __getattr__(self, name: str) -> Call:
        return Call(name, self.calls)


@dataclass
class Scripted:
    """A cluster whose actors answer what a test says; `rooms` is what its nodes have room for."""

    rooms: int = 1
    gone: bool = False
    is_own: bool = False
    address: str = "1.2.3.4:5"
    scratch: str = ""
    actors: list[Actor] = field(default_factory=list)
    killed: list[Actor] = field(default_factory=list)
    _polls: dict[int, Actor] = field(default_factory=dict)

    def start(self, actor: type, *arguments: Any, options: Any) -> Actor:
        self.actors.append(Actor())
        return self.actors[-1]

    def poll(self, actor: Actor, heard: int) -> int:
        self._polls[len(self._polls)] = actor
        actor.calls.append(("heard", heard))
        return len(self._polls) - 1

    def ready(self, polls: Sequence[int], seconds: float) -> list[int]:
        return [poll for poll in polls if self._polls[poll].answers]

    def messages(self, poll: int, *, node: str, node_id: str) -> list[Message] | Death | None:
        return self._polls[poll].answers.pop(0)

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)

    def nodes(self) -> dict[str, dict[str, float]]:
        return {"one": {"CPU": float(self.rooms)}}

    def room(self, need: Any) -> int:
        return self.rooms

    def on_node(self, node: str, function: Any, *arguments: Any) -> None:
        self.actors[0].calls.append((node, function.__name__, *arguments))

    def settled(self, calls: Sequence[Any], seconds: float) -> None:
        pass

    def answers(self) -> bool:
        return not self.gone

    def head_is_gone(self) -> bool:
        return self.gone


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(nas.executors.ray.workers, "time", found)
    return found


Opened = Callable[..., tuple[RayWorkers, Scripted]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(nas.executors.ray.workers, "LOOK_SECONDS", 0.0)

    def start(
        rooms: int = 1, workers: int = 1, *, follows: bool = False, **options: Any
    ) -> tuple[RayWorkers, Scripted]:
        study, folder, cluster = make_study(**options.pop("study", {})), RunFolder(tmp_path), Scripted(rooms)
        data = DriverData(study, lambda value: value)
        found = RayWorkers(
            setup=ExecutorSetup(study, folder, workers, 1, **options),
            cluster=cast("Cluster", cluster),
            node_setup=cast("NodeSetup", None),
            assignments=Assignments(study, folder, data, lambda value: value),
            options={},
            need={"CPU": 1.0},
            follows=follows,
        )
        return found.__enter__(), cluster

    return start


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    folder = RunFolder(tmp_path)
    return [Task(i, c, "search", 0, 4, folder.artifact(c.id, "search", 0)) for i, c in enumerate(different(4))]


def said(workers: RayWorkers, actor: Actor, *messages: Message) -> list[Event]:
    actor.answers.append(list(messages))
    return workers.wait(0.0)


def begun(actor: Actor) -> list[int]:
    """Numbers of the tasks that an actor was given."""
    return [Task.from_line(call[1].line).number for call in actor.calls if call[0] == "begin"]


def test_a_task_waits_for_a_place_that_is_ready_and_its_messages_become_events(
    opened: Opened, tasks: list[Task], tmp_path: Path
) -> None:
    workers, cluster = opened()
    (actor,) = cluster.actors
    task = tasks[0]
    assert (workers.idle, workers.running) == (1, [])
    workers.submit(task)
    assert (workers.idle, workers.running, begun(actor)) == (0, [task], [])
    assert said(workers, actor, READY) == []
    assert begun(actor) == [0]
    name = f"{task.folder.relative_to(tmp_path).as_posix()}/checkpoint.pt"
    told, rung = Progress("train", "dense", 0.5, 4, 1.0, 9.0), Rung(1.0, 4)
    events = said(
        workers, actor, {"progress": vars(told)}, {"parcel": {name: b"half"}}, {"rung": vars(rung), "parcel": {}}
    )
    assert events == [Told(task, told), Reported(task, rung)]
    assert (task.folder / "checkpoint.pt").read_bytes() == b"half"
    workers.answer(task, Verdict.CONTINUE)
    assert ("answer", "continue") in actor.calls
    assert said(workers, actor, {"notice": "hot"}) == [Noticed("hot")]
    assert said(workers, actor, {"done": b"tar"}) == [Finished(task, b"tar")]
    assert (workers.idle, workers.running) == (1, [])
    assert [call[1] for call in actor.calls if call[0] == "heard"] == [0, 1, 4, 5, 6]  # nothing is heard twice
    workers.submit(tasks[1])
    assert said(workers, actor, {"paused": True, "parcel": {}}) == [Paused(tasks[1])]
    workers.submit(tasks[2])
    assert said(workers, actor, {"broke": "No space left", "parcel": {}}) == [Broke(tasks[2], "No space left")]
    assert said(workers, actor, {"refused": "data.path"}) == [Refused("data.path")]
    assert begun(actor) == [0, 1, 2]


def test_an_actor_whose_memory_is_used_up_gets_no_further_task(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened()
    workers.submit(tasks[0])
    said(workers, cluster.actors[0], READY)
    assert said(workers, cluster.actors[0], {"done": b"tar", "spent": False}) == [Finished(tasks[0], b"tar")]
    workers.submit(tasks[1])
    assert (cluster.killed, begun(cluster.actors[0])) == ([], [0, 1])
    assert said(workers, cluster.actors[0], {"done": b"tar", "spent": True}) == [Finished(tasks[1], b"tar")]
    assert ("close",) in cluster.actors[0].calls
    workers.submit(tasks[2])
    said(workers, cluster.actors[1], READY)
    assert (cluster.killed, begun(cluster.actors[1])) == ([cluster.actors[0]], [2])


def test_what_is_gone_is_replaced(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened()
    workers.submit(tasks[0])
    said(workers, cluster.actors[0], READY)
    cluster.actors[0].answers.append(Death("killed", True))
    assert workers.wait(0.0) == [Died(tasks[0], "killed", started=True)]
    assert (workers.idle, len(cluster.actors)) == (1, 2)
    workers.submit(tasks[1])
    said(workers, cluster.actors[1], READY)
    cluster.actors[1].answers.append(Death("the node is gone", False))
    expected = [Noticed("the node is gone"), Died(tasks[1], "the node is gone", started=True, blamed=False)]
    assert workers.wait(0.0) == expected
    cluster.actors[2].answers.append(Death("no module", True))
    assert workers.wait(0.0) == [Died(None, "no module", started=False)]
    assert cluster.killed == cluster.actors[:3]


def test_a_node_that_is_lost_without_a_task_is_no_death(opened: Opened) -> None:
    """Three workers that do not start would end a run, and many lie on one node."""
    workers, cluster = opened()
    cluster.actors[0].answers.append(Death("the node is gone", False))
    assert workers.wait(0.0) == [Noticed("the node is gone")]
    said(workers, cluster.actors[1], READY)
    cluster.actors[1].answers.append(Death("the node is gone", False))
    assert workers.wait(0.0) == [Noticed("the node is gone")]
    assert len(cluster.actors) == 3


def test_a_paused_task_whose_files_cannot_be_used_is_not_forgotten(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened()
    workers.submit(tasks[0])
    said(workers, cluster.actors[0], READY)
    (event,) = said(workers, cluster.actors[0], {"paused": True, "parcel": {"elsewhere/x": b""}})
    assert isinstance(event, Died)
    assert event.task == tasks[0]


def test_an_actor_that_fails_outside_of_evaluations(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened()
    workers.submit(tasks[0])
    reason = "worker on pc/1 failed: ValueError: torn"
    assert said(workers, cluster.actors[0], READY, {"crashed": "ValueError: torn"}) == [
        Died(None, reason, started=True)
    ]
    (event,) = said(workers, cluster.actors[1], {"crashed": "ImportError: torch"})
    assert event == Died(None, "worker on a node failed: ImportError: torch", started=False)
    said(workers, cluster.actors[2], READY)
    (event,) = said(workers, cluster.actors[2], {"parcel": {"elsewhere/x": b""}})
    assert isinstance(event, Died)
    assert (event.task, event.blamed) == (tasks[0], True)


def test_an_actor_out_of_reach_is_asked_again_and_given_up_in_the_end(
    opened: Opened, tasks: list[Task], clock: Clock
) -> None:
    workers, cluster = opened()
    workers.submit(tasks[0])
    said(workers, cluster.actors[0], READY)
    cluster.actors[0].answers.append(None)
    assert workers.wait(0.0) == []
    assert [call[1] for call in cluster.actors[0].calls if call[0] == "heard"] == [0, 1, 1]
    clock.sleep(nas.executors.ray.workers.UNREACHABLE_SECONDS)
    cluster.actors[0].answers.append(None)
    died = workers.wait(0.0)[1]
    assert isinstance(died, Died)
    assert not died.blamed


def test_time_counts_from_the_place_on_and_not_while_a_measurement_is_waited_for(
    opened: Opened, tasks: list[Task], clock: Clock
) -> None:
    workers, cluster = opened(limit_minutes=lambda _: 0.2 / 60)
    workers.submit(tasks[0])
    clock.sleep(0.3)
    assert said(workers, cluster.actors[0], READY) == []
    assert said(workers, cluster.actors[0], {"waits": True}) == []
    clock.sleep(0.3)
    assert said(workers, cluster.actors[0], {"waits": False}) == []
    clock.sleep(0.3)
    assert workers.wait(0.0) == [TookTooLong(tasks[0])]
    assert cluster.killed == cluster.actors[:1]
    assert workers.idle == 1


def test_time_while_a_teacher_is_trained_does_not_count(
    opened: Opened, tasks: list[Task], clock: Clock, tmp_path: Path
) -> None:
    study = {"training": {"distillation": {"teacher": "reference"}}}
    workers, cluster = opened(2, 2, limit_minutes=lambda _: 0.2 / 60, study=study)
    for actor in cluster.actors:
        said(workers, actor, READY)
    workers.submit(tasks[0])
    workers.submit(tasks[1])
    assert [begun(actor) for actor in cluster.actors] == [[0], []]  # one trains it, the other's place stays free
    assert (workers.idle, workers.running) == (0, tasks[:2])
    clock.sleep(0.3)
    assert workers.wait(0.0) == []
    assert said(workers, cluster.actors[0], {"parcel": {"reference/logits.npy": b"l"}}) == []
    assert [begun(actor) for actor in cluster.actors] == [[0], [1]]
    clock.sleep(0.3)
    assert workers.wait(0.0) == [TookTooLong(tasks[0]), TookTooLong(tasks[1])]


def test_places_are_at_most_what_was_asked_for_and_what_has_room(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened(rooms=8, workers=3)
    assert len(cluster.actors) == 3  # where there is no room they ask for nodes, if a cluster can grow
    assert workers.idle == 1  # a candidate ahead, and no more: who knows how long others keep the nodes
    workers.submit(tasks[0])
    for ready in range(1, 4):
        said(workers, cluster.actors[ready - 1], READY)
        assert workers.idle == ready - 1


def test_places_that_follow_the_nodes(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened(rooms=1, workers=1, follows=True)
    cluster.rooms = 3
    workers.wait(0.0)
    assert len(cluster.actors) == 3
    said(workers, cluster.actors[0], READY)
    cluster.rooms = 1
    workers.wait(0.0)
    assert (workers.idle, len(cluster.killed)) == (1, 2)
    assert cluster.actors[0] not in cluster.killed


def test_a_head_that_is_gone_ends_the_run(opened: Opened) -> None:
    workers, cluster = opened()
    cluster.gone = True
    with pytest.raises(WorkFailed, match=r"1\.2\.3\.4:5 does not answer any more; nothing finished is lost"):
        workers.wait(0.0)
    workers.__exit__()
    assert cluster.killed == []


def test_the_end_leaves_nothing_on_a_node(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened(rooms=2, workers=2)
    for actor in cluster.actors:
        said(workers, actor, READY)
    workers.submit(tasks[0])
    workers.__exit__()
    busy, free = cluster.actors
    assert ("close",) in free.calls
    assert ("close",) not in busy.calls
    assert ("one", "remove_scratch", ["/none"]) in busy.calls
    assert cluster.killed == [busy, free]


def test_the_end_leaves_nothing_of_actors_that_were_killed_or_not_ready_yet(
    opened: Opened, tasks: list[Task], clock: Clock
) -> None:
    workers, cluster = opened(limit_minutes=lambda _: 0.0)
    workers.submit(tasks[0])
    said(workers, cluster.actors[0], READY)
    clock.sleep(0.01)
    assert workers.wait(0.0) == [TookTooLong(tasks[0])]
    said(workers, cluster.actors[1], {"at": {"node": "pc/1", "node_id": "one", "scratch": "/begun"}})
    assert (workers.idle, begun(cluster.actors[1])) == (1, [])
    workers.__exit__()
    assert ("one", "remove_scratch", ["/none", "/begun"]) in cluster.actors[0].calls


def test_a_ray_of_its_own_takes_its_folders_along(opened: Opened, tasks: list[Task]) -> None:
    workers, cluster = opened(rooms=2, workers=2)
    cluster.is_own = True
    for actor in cluster.actors:
        said(workers, actor, READY)
    workers.submit(tasks[0])
    workers.__exit__()
    assert cluster.killed == cluster.actors
    assert not [call for call in cluster.actors[0].calls if "remove_scratch" in call or call == ("close",)]
