"""The engine `ray`: a cluster that is joined, or a Ray of its own on this machine; trials there, latency apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas import __version__
from nas.errors import InputError
from nas.executors.engine import Connection
from nas.executors.pool import Executor, ExecutorSetup
from nas.executors.ray.assignments import Assignments
from nas.executors.ray.cluster import Cluster
from nas.executors.ray.connecting import connected
from nas.executors.ray.datasets import DriverData
from nas.executors.ray.measured_places import open_places
from nas.executors.ray.measuring import NodePlace
from nas.executors.ray.parcels import network_of
from nas.executors.ray.resources import Resources, words_of
from nas.executors.ray.runtime_env import environment_of
from nas.executors.ray.serving import NodeSetup
from nas.executors.ray.workers import RayWorkers
from nas.machine import threads_on
from nas.run_folder.paths import RunFolder
from nas.study import Study
from nas.study.cluster import RayOptions
from nas.study.recipe import BUILDERS, OWN_TEACHERS

LISTENERS = 4  # calls at once: a poll, the one before it where its answer was lost, a verdict, the end


class RayEngine:
    """A row of nas.registry.ENGINES."""

    def refused(self, study: Study) -> Sequence[str]:
        if find_spec("ray") is None:
            return ["search.engine: ray needs the package ray, which is not installed here: pip install 'ray[tune]'"]
        return list(_elsewhere(study)) if study.search.ray.address and not study.search.ray.shared else []

    @contextmanager
    def connect(self, study: Study, folder: RunFolder) -> Iterator[Connection]:
        options = study.search.ray
        asked = 0 if study.search.workers == "auto" else math.ceil(study.search.workers * options.cpus)
        with connected(options.address, options.runtime_env, cpus=asked) as cluster:
            room = cluster.room(need_of(options))
            if study.search.workers == "auto" or cluster.is_own:
                _require_room(room, cluster, options)
            follows = study.search.workers == "auto"
            workers = room if study.search.workers == "auto" else study.search.workers
            environment = environment_of(cluster.runtime_env, threads=1, here=cluster.is_own)
            with open_places(study.targets, cluster, environment) as places:
                yield RayConnection(cluster, places, max(1, workers), follows)


RAY = RayEngine()


@dataclass(frozen=True)
class RayConnection:
    """A cluster that is reached. `follows`: the number of places is what the nodes have room for."""

    cluster: Cluster
    places: Mapping[str, NodePlace]
    workers: int
    follows: bool

    @contextmanager
    def open(self, setup: ExecutorSetup) -> Iterator[Executor]:
        study, options, cluster = setup.study, setup.study.search.ray, self.cluster
        data = DriverData(study, cluster.put)
        data.put_all()
        threads = threads_on(options.cpus, study.space.input_sizes[-1])
        network = {} if options.shared else network_of(setup.folder.path)
        node = NodeSetup(
            version=__version__,
            study=setup.folder.study.read_text(encoding="utf-8"),
            home=setup.folder.path,
            is_shared=options.shared,
            threads=threads,
            checkpoint_seconds=options.checkpoint_seconds,
            sets=data.sets,
            places=self.places,
            cwd=Path.cwd(),
            network=cluster.put(network) if network else None,
        )
        workers = RayWorkers(
            setup=setup,
            cluster=cluster,
            node_setup=node,
            assignments=Assignments(study, setup.folder, data, cluster.put, options.shared),
            options=trial_options(options, environment_of(cluster.runtime_env, threads=threads, here=cluster.is_own)),
            need=need_of(options),
            follows=self.follows,
        )
        with workers as opened:
            yield opened


def need_of(options: RayOptions) -> Resources:
    """What one trial takes of its node, by Ray's names."""
    return {"CPU": options.cpus, "GPU": options.gpus, **options.resources}


def trial_options(options: RayOptions, runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a trial's actor: one that is gone is replaced by the driver, which knows why."""
    return {
        "num_cpus": options.cpus,
        "num_gpus": options.gpus,
        "resources": dict(options.resources),
        "runtime_env": dict(runtime_env),
        "max_concurrency": LISTENERS,
        "max_restarts": 0,
        "max_task_retries": 0,
    }


def _require_room(room: int, cluster: Cluster, options: RayOptions) -> None:
    if room == 0:
        nodes = "; ".join(sorted({words_of(node) for node in cluster.nodes().values()}))
        asked = words_of({name: amount for name, amount in need_of(options).items() if amount})
        raise InputError(f"search.ray: expected a node that has what a trial takes ({asked}), got nodes with {nodes}")


def _elsewhere(study: Study) -> Iterator[str]:
    """Files outside the run folder that a node would need."""
    trials = study.training.distillation
    named = {} if trials is None else {"architecture": trials.architecture, "weights": trials.weights}
    files = {f"training.distillation.{key}": value for key, value in named.items()}
    if isinstance(teacher := study.finals.teacher, str) and teacher not in OWN_TEACHERS:
        files["finals.teacher"] = teacher
    for key, value in files.items():
        if value is not None and value not in ("DEFAULT", "none") and not value.startswith(BUILDERS):
            yield (
                f"{key}: {value} is not on the nodes of a cluster; expected search.ray.shared true, with a path that "
                "every node sees"
            )
