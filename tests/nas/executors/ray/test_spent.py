"""An actor whose memory is used up is replaced by the next look at the cluster, and its task is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from by_hand import different, make_study

from nas.executors.pool import ExecutorSetup, Finished
from nas.executors.ray.workers import Place, RayWorkers
from nas.run_folder.paths import RunFolder
from nas.tasks import Task


@dataclass
class Closable:
    """An actor that can be closed, and notes that it was."""

    closed: list[bool] = field(default_factory=list)

    @property
    def close(self) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda: self.closed.append(True))


@dataclass
class NoCluster:
    """Hears what is asked of it."""

    killed: list[Any] = field(default_factory=list)
    started: int = 0

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def settled(self, calls: Sequence[Any], seconds: float) -> None:
        pass

    def poll(self, actor: Any, heard: int) -> str:
        return "poll"

    def room(self, need: Any) -> int:
        return 1

    @property
    def scratch(self) -> str:
        return ""

    def start(self, *_: Any, options: Any) -> Closable:
        self.started += 1
        return Closable()


@pytest.mark.parametrize("spent", [True, False])
def test_a_spent_actor_is_closed_and_replaced(tmp_path: Path, spent: bool) -> None:
    cluster, actor = NoCluster(), Closable()
    setup = ExecutorSetup(make_study(), RunFolder(tmp_path), workers=1, threads=1)
    ended = SimpleNamespace(ended=lambda task: None)
    workers = RayWorkers(
        setup, cast("Any", cluster), cast("Any", None), cast("Any", ended), options={}, need={"CPU": 1.0}
    )
    task = Task(0, different(1)[0], "search", 0, 1, tmp_path / "a")
    place = Place(actor, "poll", node="here", task=task)
    workers._places.append(place)
    assert workers._event(place, {"done": b"files", "spent": spent}) == [Finished(task, b"files")]
    assert (actor.closed, cluster.killed) == (([True], [actor]) if spent else ([], []))
    workers._fit()
    assert cluster.started == spent
    assert [place.actor is actor for place in workers._places] == [not spent]
