"""Ray itself, as far as the engine uses it: one connection, actors, calls to them, and what the nodes have room for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import InputError
from nas.executors.ray.deaths import Death, death_of
from nas.executors.ray.mailbox import Message
from nas.executors.ray.resources import Resources, room_for
from nas.executors.ray.scratch import own_scratch
from nas.machine import cores

POLL_SECONDS = 30.0
SHUTDOWN_SECONDS = 20.0
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # with 0 a Ray serves its own machine alone; read when ray is imported
OWN = "cn-ray-"  # begin of the folder of a Ray that is started for one run
HEAD_SECONDS, HEAD_TRIES = 2.0, 3
Handle = Any  # of an actor
Ref = Any  # to a result


@dataclass
class Cluster:
    """A connected Ray. `is_own`: it was started for this run alone, on this machine; `scratch`: where actors work."""

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
        except ray.exceptions.RayActorError as error:
            return death_of(str(error), node=node, node_is_gone=error.preempted or self._is_gone(node_id))
        except (ray.exceptions.RayError, ray.exceptions.RuntimeEnvSetupError) as error:
            return death_of(str(error), node=node)
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
        return _answers(self.address)

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


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


@contextmanager
def connected(address: str | None, runtime_env: Mapping[str, Any], *, cpus: int = 0) -> Iterator[Cluster]:
    """The cluster at `address` (auto or host:port), or a Ray that lives as long as this block on this machine.

    The latter counts as having `cpus` cores, or as many as there are. A Ray that this process is connected to already
    is used as it is. Raises InputError where there is none.
    """
    if address is None:
        os.environ.setdefault(LOOPBACK, "0")
    import ray

    if ray.is_initialized():
        yield _cluster(is_own=False, runtime_env=runtime_env)
    elif address is not None:
        with _keeping_handlers(), chdir(tempfile.gettempdir()):
            _join(address, runtime_env)
        with _left(_cluster(is_own=False, runtime_env={})) as cluster:
            yield cluster
    else:
        with own_scratch(_short_folder(), prefix=OWN) as folder:
            with _keeping_handlers(), chdir(folder):
                _start(folder, runtime_env, max(cpus, cores()))
            with _left(_cluster(is_own=True, runtime_env={}, scratch=str(folder))) as cluster:
                yield cluster


@contextmanager
def _left(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, which is left at the end of the block."""
    try:
        with _quiet():
            yield cluster
    finally:
        _leave(cluster.address)


def _short_folder() -> str:
    """Unix sockets lie below it, whose paths have some hundred characters at most."""
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()


def _cluster(*, is_own: bool, runtime_env: Mapping[str, Any], scratch: str = "") -> Cluster:
    import ray

    context = ray.get_runtime_context()
    return Cluster(context.gcs_address, context.get_node_id(), is_own, runtime_env, scratch)


def _join(address: str, runtime_env: Mapping[str, Any]) -> None:
    import ray

    try:
        ray.init(
            address=address, runtime_env=dict(runtime_env) or None, log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"search.ray.address: expected auto or HOST:PORT of a cluster that this machine belongs to, got {address}: "
            f"{reason}"
        ) from None


def _start(folder: Path, runtime_env: Mapping[str, Any], cpus: int) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            runtime_env=dict(runtime_env) or None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(folder),
        )
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        _leave()
        raise InputError(f"search.engine: Ray does not start: {' '.join(str(error).split())[:300]}") from None


def _leave(address: str | None = None) -> None:
    """Disconnect, for SHUTDOWN_SECONDS at most; where the head is gone there is nobody to take leave of."""
    import ray

    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(SHUTDOWN_SECONDS if address is None or _answers(address) else 0.0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray prints the last log of a node that died on the driver's screen; the run tells the same in a line."""
    from ray._private import worker

    kept = getattr(worker, "print_to_stdstream", None)
    if kept is not None:
        worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        if kept is not None:
            worker.print_to_stdstream = kept


@contextmanager
def _keeping_handlers() -> Iterator[None]:
    """Ray puts handlers of its own in place of those that are there."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                signal.signal(number, handler)
