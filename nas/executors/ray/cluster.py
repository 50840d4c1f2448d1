"""A connected Ray, as far as the engine uses it: actors, calls to them, and what the nodes have room for."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nas.executors.ray.deaths import Death, death_of
from nas.executors.ray.mailbox import Message
from nas.executors.ray.resources import Resources, room_for

POLL_SECONDS = 30.0
HEAD_SECONDS, HEAD_TRIES = 2.0, 3
Handle = Any  # of an actor
Ref = Any  # to a result


@dataclass
class Cluster:
    """A connected Ray. `is_own`: it was started for this run alone, on this machine; `scratch`: where actors work.

    `runtime_env` is what of the asked one is still to be given to each actor.
    """

    address: str
    node_id: str
    is_own: bool
    runtime_env: Mapping[str, Any]
    scratch: str = ""
    _asked: float = field(default_factory=time.monotonic)
    _silences: int = 0
    _nodes: dict[str, Resources] = field(default_factory=dict)

    def put(self, value: Any) -> Ref:
        import ray

        return ray.put(value)

    def start(self, actor: type, *arguments: Any, options: Mapping[str, Any]) -> Handle:
        """An actor of a plain class."""
        import ray

        return ray.remote(actor).options(**options).remote(*arguments)

    def poll(self, actor: Handle, heard: int) -> Ref:
        """Ask for the messages behind those that were heard."""
        return actor.listen.remote(heard, POLL_SECONDS)

    def ready(self, polls: Sequence[Ref], seconds: float) -> list[Ref]:
        """Polls that are answered, as soon as one is."""
        import ray

        if not polls:
            time.sleep(seconds)
            return []
        first, _ = ray.wait(list(polls), num_returns=1, timeout=seconds)
        return list(ray.wait(list(polls), num_returns=len(polls), timeout=0)[0]) if first else []

    def messages(self, poll: Ref, *, node: str, node_id: str) -> list[Message] | Death | None:
        """What an answered poll brought; None where the actor cannot be reached now, but may be later."""
        import ray

        try:
            found: list[Message] = ray.get(poll)
        except ray.exceptions.ActorUnavailableError:
            return None
        except ray.exceptions.RayError as error:
            is_gone = getattr(error, "preempted", False) or self._is_gone(node_id)
            return death_of(str(error), node=node, node_is_gone=is_gone)
        return found

    def _is_gone(self, node_id: str) -> bool:
        return bool(node_id) and node_id not in self.nodes()

    def kill(self, actor: Handle) -> None:
        import ray

        if not self.answers():
            return  # it is gone with its cluster
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(actor, no_restart=True)

    def nodes(self) -> dict[str, Resources]:
        """What every node that is there has, by the node's id; what was known last where the head does not answer."""
        import ray

        if self.answers():  # a call to a head that is gone takes a minute, and then ends this process
            found = ray.nodes()
            self._nodes = {node["NodeID"]: node["Resources"] for node in found if node["Alive"]}
        return self._nodes

    def room(self, need: Resources) -> int:
        """How many trials that `need` as much have room, whatever else runs."""
        return room_for(need, self.nodes().values())

    def on_node(self, node_id: str, function: Any, *arguments: Any) -> Ref:
        """Call a plain function on one node, beside what runs there."""
        import ray

        return (
            ray.remote(function)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=pinned(node_id))
            .remote(*arguments)
        )

    def settled(self, calls: Sequence[Ref], seconds: float) -> None:
        """Wait for calls, whatever they come to."""
        import ray

        if calls:
            ray.wait(list(calls), num_returns=len(calls), timeout=seconds)

    def answers(self) -> bool:
        """Whether somebody listens at the head's address now: calls to one that is gone would end this process."""
        return answers(self.address)

    def head_is_gone(self) -> bool:
        """Whether nobody listens any more at the head's address, asked a few times."""
        now = time.monotonic()
        if now - self._asked >= HEAD_SECONDS:
            self._asked = now
            self._silences = 0 if self.answers() else self._silences + 1
        return self._silences >= HEAD_TRIES


def pinned(node_id: str) -> Any:
    """On this node or nowhere."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id, soft=False)


def answers(address: str) -> bool:
    """Whether somebody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True
