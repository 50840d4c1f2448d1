"""The measuring actors of a run: one for each target, on the driver's node or on one that offers the device."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nas.errors import InputError
from nas.executors.ray.cluster import Cluster, Handle, pinned
from nas.executors.ray.measuring import MeasuringActor, NodePlace, measuring_about
from nas.executors.ray.resources import words_of
from nas.measuring.places import places_of
from nas.study import Target

SHARE = 0.001  # of a device: enough to be on its node; whoever measures there waits for others by the machine's lock
_log = logging.getLogger(__name__)


@contextmanager
def open_places(
    targets: Sequence[Target], cluster: Cluster, runtime_env: Mapping[str, Any]
) -> Iterator[Mapping[str, NodePlace]]:
    """Where each target is measured, once its noise was looked at. Raises InputError where no node has the device."""
    _require_devices(targets, cluster)
    here, actors = places_of(targets), dict[str, Handle]()
    try:
        for target in targets:
            options = measuring_options(target, cluster, runtime_env)
            actors[target.name] = cluster.start(
                MeasuringActor, target.model_dump_json(), here[target.name], options=options
            )
        yield {target.name: _place(target, actors[target.name]) for target in targets}
    finally:
        for actor in actors.values():
            cluster.kill(actor)


def measuring_options(target: Target, cluster: Cluster, runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """Ray starts it again whenever it dies, and gives it the calls that it had not answered."""
    where: dict[str, Any] = {"scheduling_strategy": pinned(cluster.node_id)}
    if target.device is not None:
        where = {"resources": {target.device: SHARE}}
    return {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "runtime_env": dict(runtime_env), **where}


def _place(target: Target, actor: Handle) -> NodePlace:
    about = measuring_about(target, actor)
    if not about.stable:
        _log.warning(
            "target %s: the control network does not repeat on %s; what is measured there may be marked unstable",
            target.name,
            about.node,
        )
    return NodePlace(actor, about.fingerprint, f"target {target.name}")


def _require_devices(targets: Sequence[Target], cluster: Cluster) -> None:
    nodes = list(cluster.nodes().values())
    for index, target in enumerate(targets):
        if target.device is not None and not any(target.device in node for node in nodes):
            known = "; ".join(sorted({words_of(node) for node in nodes}))
            raise InputError(
                f"targets[{index}].device: expected a custom resource that a node of the cluster offers, got "
                f"{target.device!r}; nodes have {known}"
            )
