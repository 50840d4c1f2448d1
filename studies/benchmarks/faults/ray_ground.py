"""Runs on a Ray cluster of several nodes on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_run import Run, quick
from process_table import command_of, descendants

if TYPE_CHECKING:
    from clusters import Nodes

METER = "meter"  # what a node offers that measures
HEAD: Mapping[str, float] = {"CPU": 0}
TRIALS: Mapping[str, float] = {"CPU": 1}


def no_ray() -> str:
    return "" if find_spec("ray") is not None else "ray is not installed (pip install 'ray[tune]')"


@contextmanager
def cluster(resources: Sequence[Mapping[str, float]]) -> Iterator[Nodes]:
    """Nodes with these resources; the first is the head."""
    sys.path.append(str(Path(__file__).parents[1]))
    try:
        from clusters import nodes_on_this_machine
    finally:
        sys.path.pop()
    with nodes_on_this_machine(resources) as nodes:
        yield nodes


def on_ray(address: str | None = None, *, device: str | None = None, **search: Any) -> dict[str, Any]:
    """The quick study on a cluster, or on a Ray of its own; its checkpoints travel every second."""
    options = {"checkpoint_seconds": 1.0, **({} if address is None else {"address": address})}
    target = {"name": "cpu", "runtime": "onnxruntime", **({} if device is None else {"device": device})}
    return {**quick(engine="ray", ray=options, **search), "targets": [target]}


def ray_run(place: Path, nodes: Nodes, **study: Any) -> Run:
    """A run in a cluster, with as many trials at once as it has room for."""
    return Run(place, on_ray(nodes.address, workers="auto", **study), audited=False, in_cluster=True)


def actors(name: str) -> list[int]:
    """Processes of actors of this class."""
    return [pid for pid in descendants() if f"ray::{name}".encode() in command_of(pid)]
