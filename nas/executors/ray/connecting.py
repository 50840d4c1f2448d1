"""Ray's beginning and end in this process: a cluster is joined, or a Ray started for one run, and left again."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from nas.errors import InputError
from nas.executors.ray.cluster import Cluster, answers
from nas.executors.ray.guard import guarded
from nas.executors.ray.runtime_env import checked
from nas.executors.ray.scratch import own_scratch
from nas.machine import cores

SHUTDOWN_SECONDS = 20.0
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # with 0 a Ray serves its own machine alone; read when ray is imported
OWN = "cn-ray-"  # begin of the folder of a Ray that is started for one run
# The driver's folder is the first place where workers look for modules: no user may be able to write into it.
NOBODYS = "/"


@contextmanager
def connected(address: str | None, runtime_env: Mapping[str, Any], *, cpus: int = 0) -> Iterator[Cluster]:
    """The cluster at `address` (auto or host:port), or a Ray that lives as long as this block on this machine.

    The latter counts as having `cpus` cores, or as many as there are. A Ray that this process is connected to already
    is used as it is. Raises InputError where there is none.
    """
    if address is None:
        os.environ.setdefault(LOOPBACK, "0")
    import ray

    asked = checked(runtime_env)
    variables = {"env_vars": asked["env_vars"]} if "env_vars" in asked else {}  # the rest is the whole job's
    if ray.is_initialized():
        yield _cluster(is_own=False, runtime_env=asked)
    elif address is not None:
        with _keeping_handlers(), chdir(NOBODYS):
            _join(address, asked)
        with _left(_cluster(is_own=False, runtime_env=variables)) as cluster:
            yield cluster
    else:
        with own_scratch(_short_folder(), prefix=OWN) as folder, guarded(folder):
            with _keeping_handlers(), chdir(folder):
                _start(folder, asked, max(cpus, cores()))
            with _left(_cluster(is_own=True, runtime_env=variables, scratch=str(folder))) as cluster:
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
    """Unix sockets lie below it, whose paths have some hundred characters at most; "" for the system's own."""
    return "/tmp" if os.access("/tmp", os.W_OK) else ""


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
    except BaseException as error:  # Ctrl-C too: some of its processes may be there
        _leave()
        if not isinstance(error, Exception):
            raise
        raise InputError(f"search.engine: Ray does not start: {' '.join(str(error).split())[:300]}") from None


def _leave(address: str | None = None) -> None:
    """Disconnect, for SHUTDOWN_SECONDS at most; where the head is gone there is nobody to take leave of."""
    import ray

    leaving = threading.Thread(target=ray.shutdown, daemon=True)
    leaving.start()
    leaving.join(SHUTDOWN_SECONDS if address is None or answers(address) else 0.0)


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
