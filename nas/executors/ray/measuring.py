"""Latency on a node of its own: an actor that measures one file at a time, and what trials see of it.

The actor lies on the driver's machine, or on a node that offers the target's `device`. Ray starts it again when it
dies, and gives it the calls that it owes; a call waits until then, and for all that came before it, LOST_SECONDS at
most.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import InputError
from nas.executors.ray.deaths import last_line
from nas.executors.ray.scratch import own_scratch
from nas.executors.ray.whereabouts import whereabouts
from nas.files import write_atomically
from nas.measuring.places import HERE, Place, PlaceLost
from nas.records import Fingerprint, Latency, Record
from nas.runtimes.runtime import RuntimeRefused, runtime_of
from nas.study import Target

LOST_SECONDS = 4200.0  # longer than an agent is waited for
TELL_SECONDS = 120.0  # before users are told that a measurement is waited for
START_SECONDS = 600.0
CALM_TRIES, CALM_SECONDS = 3, 2.0
Handle = Any  # of an actor
_log = logging.getLogger(__name__)


class MeasuringActor:
    """Measures files of one target where it runs, or through the `place` it is given, one after the other."""

    def __init__(self, target: str, place: Place = HERE) -> None:
        self._target, self._place = Target.model_validate_json(target), place

    def about(self) -> dict[str, Any]:
        """Where it is, what latencies depend on there, and whether the control network repeats."""
        print_, stable = self._place.fingerprint(self._target), False
        for attempt in range(CALM_TRIES):
            time.sleep(CALM_SECONDS if attempt else 0)
            if stable := self._control_is_stable():
                break
        return {"node": whereabouts()["node"], "fingerprint": print_.model_dump(), "stable": stable}

    def _control_is_stable(self) -> bool:
        alone = self._target.model_copy(update={"batch": 1})
        return measured(self._place, runtime_of(alone).control(), alone).stable

    def measure(self, content: bytes, sha256: str) -> dict[str, Any]:
        """Latency of a file, with the hash of what was measured; or why the runtime refuses it, or nobody measures."""
        came = hashlib.sha256(content).hexdigest()
        if came != sha256:
            return {"lost": f"expected a file of sha256 {sha256}, got {came}"}
        try:
            latency = measured(self._place, content, self._target)
        except RuntimeRefused as error:
            return {"refused": str(error)}
        except PlaceLost as error:
            return {"lost": str(error)}
        return {"latency": latency.model_dump(), "sha256": came}


class About(Record):
    """What a measuring actor says of itself: its node, the fingerprint there, and whether its control repeats."""

    node: str
    fingerprint: Fingerprint
    stable: bool


def measuring_about(target: Target, actor: Handle) -> About:
    """Raises InputError where it does not come to be, or its node cannot measure the target."""
    import ray

    try:
        return About.model_validate(ray.get(actor.about.remote(), timeout=START_SECONDS))
    except ray.exceptions.GetTimeoutError:
        why = f"not ready after {START_SECONDS:.0f} s"
    except ray.exceptions.RayError as error:
        why = last_line(str(error))
    raise InputError(f"target {target.name}: the node that measures it cannot be used: {why}")


def measured(place: Place, content: bytes, target: Target) -> Latency:
    """Latency of a file that is not on the disk yet."""
    with own_scratch() as folder:
        file = folder / runtime_of(target).file_name
        write_atomically(file, content)
        return place.measure(file, target)


def silent(waits: bool) -> None:
    """Nobody needs to know who waits."""


@dataclass
class NodePlace:
    """A measuring actor as a Place. `expected` is the fingerprint that the run's latencies have.

    `waiting` hears when a measurement is waited for, and when no longer.
    """

    actor: Handle
    expected: Fingerprint
    name: str
    waiting: Callable[[bool], None] = silent
    lost_seconds: float = field(default=LOST_SECONDS)

    def fingerprint(self, target: Target) -> Fingerprint:
        return self.expected

    def measure(self, file: Path, target: Target) -> Latency:
        """Raises RuntimeRefused, or PlaceLost where the actor does not come back, or as another device."""
        content = file.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        with self._waited():
            answer = self._ask(content, sha256)
        if "refused" in answer:
            raise RuntimeRefused(answer["refused"])
        if "lost" in answer:
            raise PlaceLost(answer["lost"])
        if answer["sha256"] != sha256:
            raise PlaceLost(f"{self.name}: a latency of another file came back")
        latency = Latency.model_validate(answer["latency"])
        if changes := self.expected.changes_to(latency.fingerprint):
            raise PlaceLost(f"{self.name}: measured on another device now: {', '.join(changes)}")
        return latency

    @contextmanager
    def _waited(self) -> Iterator[None]:
        self.waiting(True)
        try:
            yield
        finally:
            self.waiting(False)

    def _ask(self, content: bytes, sha256: str) -> dict[str, Any]:
        import ray

        call = self.actor.measure.remote(content, sha256)
        try:
            if self.lost_seconds > TELL_SECONDS and not ray.wait([call], timeout=TELL_SECONDS)[0]:
                _log.warning("%s: a measurement is waited for longer than %.0f s", self.name, TELL_SECONDS)
            answer: dict[str, Any] = ray.get(call, timeout=self.lost_seconds)
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError) as error:
            late = isinstance(error, ray.exceptions.GetTimeoutError)
            why = f"did not answer within {self.lost_seconds:.0f} s" if late else "is gone"
            raise PlaceLost(f"{self.name}: the node that measures it {why}") from None
        return answer
