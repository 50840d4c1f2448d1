"""Trials on the places of a cluster: an Executor over actors that are reused, and replaced when they are gone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
from nas.executors.ray.actor import TrialActor, remove_scratch
from nas.executors.ray.assignments import Assignments
from nas.executors.ray.cluster import Cluster, Handle, Ref
from nas.executors.ray.deaths import Death
from nas.executors.ray.mailbox import Message
from nas.executors.ray.parcels import ParcelError
from nas.executors.ray.resources import Resources
from nas.executors.ray.serving import NodeSetup
from nas.run_folder.artifacts import ArtifactError
from nas.tasks import Progress, Rung, Task, Verdict

LOOK_SECONDS = 3.0  # between looks at what nodes there are
UNREACHABLE_SECONDS = 120.0  # after which an actor that does not answer counts as gone with its node
UNREACHABLE_PAUSE = 0.1  # a call to an actor that is out of reach fails at once
CLOSE_SECONDS = 5.0


@dataclass
class Place:
    """An actor, and what it is at."""

    actor: Handle
    poll: Ref
    heard: int = 0
    node: str = ""  # what users call the node it is on; "" before it is there
    node_id: str = ""
    scratch: str = ""
    is_ready: bool = False
    task: Task | None = None
    since: float = 0.0
    waits_since: float | None = None  # for a measurement
    unreachable_since: float | None = None


@dataclass
class RayWorkers:
    """As many places as `setup.workers`, or as the nodes have room for where that `follows` them. A context manager.

    A task is given to the next place that is ready, and waits until its teacher is there. Before a place is ready one
    task may be submitted, and no more: others may have the nodes for hours. A task may take `limit_minutes` from when a
    place has it; time in which a teacher is trained or a measurement is waited for does not count.
    """

    setup: ExecutorSetup
    cluster: Cluster
    node_setup: NodeSetup
    assignments: Assignments
    options: Mapping[str, Any]
    need: Resources
    follows: bool = False
    worker: type = TrialActor
    _places: list[Place] = field(default_factory=list)
    _queue: list[Task] = field(default_factory=list)
    _left_behind: list[tuple[str, str]] = field(default_factory=list)  # nodes, and what actors gone have left there
    _looked: float = float("-inf")

    def __enter__(self) -> RayWorkers:
        self._fit()
        return self

    def __exit__(self, *_: object) -> None:
        if self.cluster.answers():
            self._close()

    @property
    def idle(self) -> int:
        return max(0, max(1, sum(place.is_ready for place in self._places)) - len(self.running))

    @property
    def running(self) -> list[Task]:
        return [*(place.task for place in self._places if place.task is not None), *self._queue]

    def submit(self, task: Task) -> None:
        self._queue.append(task)
        self._give()

    def answer(self, task: Task, verdict: Verdict) -> None:
        for place in self._places:
            if place.task == task:
                place.actor.answer.remote(str(verdict))

    def wait(self, timeout: float) -> list[Event]:
        """Raises WorkFailed where the cluster's head is gone."""
        if self.cluster.head_is_gone():
            raise WorkFailed(
                f"the Ray cluster at {self.cluster.address} does not answer any more; nothing finished is lost, "
                "the same command goes on"
            )
        events: list[Event] = []
        polls = {place.poll: place for place in self._places}
        for poll in self.cluster.ready(list(polls), timeout):
            events += self._heard(polls[poll])
        if any(place.unreachable_since is not None for place in self._places):
            time.sleep(UNREACHABLE_PAUSE)
        events += self._late()
        self._fit()
        self._give()
        return events

    def _heard(self, place: Place) -> list[Event]:
        """What an answered poll means."""
        found = self.cluster.messages(place.poll, node=place.node, node_id=place.node_id)
        if isinstance(found, Death):
            return self._lost(place, found)
        if found is None:
            now = time.monotonic()
            place.unreachable_since = place.unreachable_since or now
            if now - place.unreachable_since > UNREACHABLE_SECONDS:
                return self._lost(place, Death(f"the node {place.node} does not answer any more", False))
            place.poll = self.cluster.poll(place.actor, place.heard)
            return []
        place.unreachable_since = None
        place.heard += len(found)
        place.poll = self.cluster.poll(place.actor, place.heard)
        events: list[Event] = []
        for message in found:
            try:
                events += self._event(place, message)
            except (ParcelError, ArtifactError) as error:
                events += self._lost(place, Death(f"its files cannot be used: {error}", True))
                break
        return events

    def _event(self, place: Place, message: Message) -> list[Event]:
        task = place.task
        if (at := message.get("at") or message.get("ready")) is not None:
            place.node, place.node_id, place.scratch = at["node"], at["node_id"], at["scratch"]
            place.is_ready = "ready" in message
            return []
        if "refused" in message:
            return [Refused(message["refused"])]
        if "crashed" in message:
            return self._lost(place, Death(f"worker on {place.node or 'a node'} failed: {message['crashed']}", True))
        if "notice" in message:
            return [Noticed(message["notice"])]
        if task is None:
            return []
        if "waits" in message:
            place.since, place.waits_since = _waited(place, waits=message["waits"])
            return []
        if "parcel" in message:
            self.assignments.take(task, message["parcel"])
        if "progress" in message:
            return [Told(task, Progress(**message["progress"]))]
        if "rung" in message:
            return [Reported(task, Rung(**message["rung"]))]
        if message.keys() == {"parcel"}:
            return []
        self._free(place)
        if "broke" in message:
            return [Broke(task, message["broke"])]
        if "paused" in message:
            return [Paused(task)]
        if message.get("spent"):
            self._retire(place)
        return [Finished(task, task.folder if message["done"] is None else message["done"])]

    def _free(self, place: Place) -> None:
        self.assignments.ended(place.task)
        place.task, place.waits_since = None, None

    def _retire(self, place: Place) -> None:
        """End an idle actor whose memory is used up."""
        self.cluster.settled([place.actor.close.remote()], CLOSE_SECONDS)
        self._forget(place)

    def _forget(self, place: Place) -> None:
        """`_fit` puts another one where it was."""
        self.cluster.kill(place.actor)
        self._places.remove(place)
        self._left_behind.append((place.node_id, place.scratch))
        self._looked = float("-inf")

    def _lost(self, place: Place, death: Death) -> list[Event]:
        """A place whose actor is gone, or is to go. That a node is lost is news, and no death where it had no task."""
        task, started = place.task, place.is_ready
        self._free(place)
        self._forget(place)
        died = Died(task, death.reason, started=started, blamed=death.blamed)
        if death.blamed:
            return [died]
        return [Noticed(death.reason), *([] if task is None else [died])]

    def _late(self) -> list[Event]:
        """End what is over the limit."""
        events: list[Event] = []
        now = time.monotonic()
        limited = [
            (place, task, limit)
            for place in self._places
            if (task := place.task) is not None
            and place.waits_since is None
            and (limit := self.setup.limit_minutes(task)) is not None
        ]
        excused = bool(limited) and (self.assignments.teaches or self.setup.excused())  # which looks at the disk
        for place, task, limit in limited:
            if excused:
                place.since = now
            elif now - place.since > 60 * limit:
                events.append(TookTooLong(task))
                self._lost(place, Death("over the limit", True))
        return events

    def _give(self) -> None:
        """Give waiting tasks to places that are ready and free."""
        for task in list(self._queue):
            place = next((place for place in self._places if place.is_ready and place.task is None), None)
            if place is None:
                return
            if self.assignments.may_start(task):
                self._queue.remove(task)
                place.task, place.since = task, time.monotonic()
                place.actor.begin.remote(self.assignments.of(task))

    def _fit(self) -> None:
        """As many places as are wanted now; those that follow the nodes and have nothing to do go with them."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        wanted = self.cluster.room(self.need) if self.follows else self.setup.workers
        for place in [place for place in self._places if not place.is_ready]:
            if len(self._places) > wanted:
                self._forget(place)
        self._looked = now
        while len(self._places) < wanted:
            actor = self.cluster.start(self.worker, self.node_setup, self.cluster.scratch, options=self.options)
            self._places.append(Place(actor, self.cluster.poll(actor, 0)))

    def _close(self) -> None:
        """End all actors; nothing of theirs stays on their nodes."""
        idle = [place for place in self._places if place.is_ready and place.task is None]
        if not self.cluster.is_own:  # else all folders go with that Ray
            self.cluster.settled([place.actor.close.remote() for place in idle], CLOSE_SECONDS)
        self._left_behind += [(place.node_id, place.scratch) for place in self._places if place not in idle]
        for place in self._places:
            self.cluster.kill(place.actor)
        if not self.cluster.is_own:
            self._clear_up()

    def _clear_up(self) -> None:
        """Remove what actors that were killed have left, on the nodes that are there."""
        there, left = self.cluster.nodes(), dict[str, list[str]]()
        for node, scratch in self._left_behind:
            if scratch and node in there:
                left.setdefault(node, []).append(scratch)
        calls = [self.cluster.on_node(node, remove_scratch, own) for node, own in left.items()]
        self.cluster.settled(calls, CLOSE_SECONDS)


def _waited(place: Place, *, waits: bool) -> tuple[float, float | None]:
    """When the place's time began, less what it has waited, and since when it waits."""
    now = time.monotonic()
    if waits or place.waits_since is None:
        return place.since, now if waits else None
    return place.since + now - place.waits_since, None
