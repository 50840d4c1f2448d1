"""What a training is worth at a rung: a copy of the network, compressed, emitted and scored as a finished one is.

The record is an evaluation of phase `rung` in a folder of its own. Its costs are those of the untrained file, measured
before the training began; what depends on weights is that of the copy's file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from nas.files import sha256_of
from nas.measuring.costs import costs_of_weights, measure_files
from nas.measuring.turns import GiveWay
from nas.recording import Clock, finish
from nas.records import Measurement, State
from nas.run_folder.paths import read_evaluation
from nas.run_folder.rungs import scores_of
from nas.shipping import accuracy_source, emit_files, score_network
from nas.tasks import Task
from nas.training.preview import copy_steps, preview
from nas.training.reporting import Look, Snapshot
from nas.workbench import Workbench


def look_of(
    task: Task, bench: Workbench, clock: Clock, costs: Measurement, give_way: GiveWay
) -> Callable[[float, float, Snapshot], Look]:
    """What a task's training asks at its rungs; a rung that was recorded before is read and not looked at again.

    `costs` are those that are known before the training.
    """

    def look(share: float, epochs: float, snapshot: Snapshot) -> Look:
        own = task.at_rung(share)
        record = read_evaluation(own.folder)
        if record is None:
            with clock("rung"):
                found = _worth(preview(snapshot, give_way).cpu().eval(), own.folder, bench, costs, give_way)
            precision = snapshot.carried.precision
            record = finish(own, bench, clock, State.COMPLETE, epochs=epochs, precision=precision, **found)
        return Look(scores_of(record), copy_steps(snapshot.pipeline) / snapshot.pipeline.feed.steps)

    return look


def _worth(network: nn.Module, folder: Path, bench: Workbench, costs: Measurement, give_way: GiveWay) -> dict[str, Any]:
    """Fields of the record of a copy: its costs and scores, and what they were read off."""
    first, *others = bench.study.targets
    depends = costs.origin == "bound"
    files = emit_files(network, folder, bench.header, [first, *(others if depends else ())])
    if depends:
        with give_way.to_itself():
            costs = measure_files(files, bench.study.targets, origin="shipped file", places=bench.places)
    else:
        costs = costs.model_copy(update=costs_of_weights(files[first.name], first))
    scores = score_network(network, files[first.name], bench, test=False, give_way=give_way)
    emitted = set(files.values())
    digests = {file.name: sha256_of(file) for file in sorted(emitted)}
    if bench.study.artifacts.keep == "front":
        for file in emitted:
            file.unlink()
    source = accuracy_source(network)
    return {"measurement": costs, "model_sha256": digests, "accuracy_source": source, **dict(scores)}
