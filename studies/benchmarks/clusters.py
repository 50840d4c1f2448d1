"""A Ray cluster of several nodes on this machine, each of which can be killed: what stands for machines that fail."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Resources = Mapping[str, float]  # CPU, GPU, and whatever else a node offers


@dataclass
class Nodes:
    """The nodes of a cluster; the first is its head. `address` is what `search.ray.address` takes."""

    cluster: Any
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, resources: Resources) -> Any:
        """One more node, with these resources alone."""
        custom = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")}
        node = self.cluster.add_node(
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            resources=custom,
            object_store_memory=200 * 10**6,
            include_dashboard=False,
        )
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """End a node as a power cut does: its raylet, and with it all of its workers; of the head everything."""
        for processes in list(node.all_processes.values()):
            for info in processes:
                if info.process.poll() is None:
                    os.kill(info.process.pid, signal.SIGKILL)
        self.nodes.remove(node)


@contextmanager
def nodes_on_this_machine(resources: Sequence[Resources]) -> Iterator[Nodes]:
    """A cluster with a node for each entry, ended with the block; the first also is the head.

    Its processes die with this one. This process is not connected to it: `ray.init` is for whoever uses it.
    """
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="cn-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        # In a folder of its own: `ray.init(address="auto")` elsewhere on this machine must not find this cluster.
        with _environment(RAY_TMPDIR=folder, RAY_USAGE_STATS_ENABLED="0"):
            nodes = Nodes(Cluster(shutdown_at_exit=False))
            try:
                for own in resources:
                    nodes.add(own)
                yield nodes
            finally:
                nodes.cluster.shutdown()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
