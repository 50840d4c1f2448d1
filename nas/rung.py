"""What a training is worth at a rung: a copy of the network, compressed, emitted and scored as a finished one is.

The record is an evaluation of phase `rung` in a folder of its own. Its costs are those of the untrained file, measured
before the training began; what depends on weights is that of the copy's file.
"""

from __future__ import annotations

from collections.abc import Callable

from nas.files import sha256_of
from nas.measuring.costs import costs_of_weights, measure_files
from nas.recording import Clock, finish
from nas.records import Measurement, State
from nas.run_folder.paths import read_evaluation
from nas.run_folder.rungs import scores_of
from nas.shipping import accuracy_source, emit_files, score_network
from nas.tasks import Task
from nas.training.pipeline import Look, Moment
from nas.training.preview import copy_steps, preview
from nas.workbench import Workbench


def look_of(
    task: Task, bench: Workbench, clock: Clock, costs: Measurement, give_way: Callable[[], None]
) -> Callable[[float, float, Moment], Look]:
    """What a task's training asks at its rungs; a rung that was recorded before is read and not looked at again."""

    def look(share: float, epochs: float, moment: Moment) -> Look:
        own = task.at_rung(share)
        record = read_evaluation(own.folder)
        if record is None:
            with clock("rung"):
                network = preview(moment, give_way).cpu().eval()
                targets = bench.study.targets if costs.origin == "bound" else bench.study.targets[:1]
                files = emit_files(network, own.folder, bench.header, targets)
                file = files[bench.study.target.name]
                if costs.origin == "bound":
                    found = measure_files(files, targets, origin="shipped file")
                else:
                    found = costs.model_copy(update=costs_of_weights(file, targets[0]))
                scores = score_network(network, file, bench, test=False, give_way=give_way)
                source = accuracy_source(network)
                digest = {file.name: sha256_of(file)}
                if bench.study.artifacts.keep == "front":
                    for copied in set(files.values()):
                        copied.unlink()
            fields = {
                "measurement": found,
                "model_sha256": digest,
                "accuracy_source": source,
                "precision": moment.carried.precision,
                **dict(scores),
            }
            record = finish(own, bench, clock, State.COMPLETE, epochs=epochs, **fields)
        return Look(scores_of(record), copy_steps(moment.pipeline) / moment.pipeline.feed.steps)

    return look
