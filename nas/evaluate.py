"""The way of the data: one candidate in, one evaluation out, every figure read off the file that would ship."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from compressors.pipeline import compress
from nas.errors import CandidateFailed, InputError, disk_problem
from nas.machine import ran_out_of_memory
from nas.measuring.costs import measure_file
from nas.measuring.parity import check
from nas.measuring.scoring import score_file
from nas.measuring.turns import pausing_for_measurements
from nas.records import UNSTABLE, Evaluation, Measurement, Phase, State
from nas.run_folder.paths import write_evaluation
from nas.shipping import ship
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Task
from nas.teacher import teacher_logits
from nas.training.inference import CalibrationBatches
from nas.training.pipeline import TrainingPipeline, options_of
from nas.workbench import Workbench, build


@dataclass
class Clock:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    stage: str = ""  # the last one that began
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start, self.stage = time.perf_counter(), stage
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def evaluate(task: Task, bench: Workbench, clock: Clock | None = None) -> Evaluation:
    """Evaluate one candidate and write its artifact folder. Raises what goes wrong; `evaluate_safely` records it."""
    clock, study = clock or Clock(), bench.study
    bench = bench.at(task.candidate.architecture.input_size)
    with clock("build"):
        dropout = study.training.resolved(task.training).dropout
        network = build(task.candidate, bench, seed=task.seed, dropout=dropout)

    costs = structure_costs(task, bench, network, clock)  # nothing is trained yet
    violations = broken_constraints(costs, study, task.phase)
    if violations:
        unsure = () if costs.is_stable else (UNSTABLE,)
        return finish(task, bench, clock, State.INFEASIBLE, measurement=costs, violations=violations, flags=unsure)

    with clock("teach"):
        recorded = teacher_logits(bench) if study.training.needs_reference else None
    with clock("train"), pausing_for_measurements() as give_way:
        fitted = fitting_of(task, bench, recorded).fit(network, give_way)
        network = fitted.network.cpu().eval()

    with clock("emit"):
        file = ship(network, task.candidate, task.folder, bench.header)
    with clock("verify"), pausing_for_measurements():
        verified = check(file, network, task.candidate, bench)
    with clock("measure"):
        measurement = measure_file(file, study.targets, origin="shipped file")
    with clock("score"), pausing_for_measurements() as give_way:
        scores = score_file(file, bench, test=task.phase in ("final", "reference"), give_way=give_way)

    violations = broken_constraints(measurement, study, task.phase)
    state = State.INFEASIBLE if violations else State.COMPLETE
    flags = verified.pop("flags") + (() if measurement.is_stable else (UNSTABLE,))
    fields: dict[str, Any] = {**verified, **scores, "measurement": measurement, "violations": violations}
    return finish(task, bench, clock, state, epochs=fitted.epochs, precision=fitted.precision, flags=flags, **fields)


def fitting_of(task: Task, bench: Workbench, recorded: Tensor | None) -> TrainingPipeline:
    """The task's training, with the logits of a reference teacher where there is one."""
    training = bench.study.training.resolved(task.training)
    return TrainingPipeline(
        training,
        task.candidate,
        bench.feed(task.seed, training),
        task.epochs,
        task.folder / CHECKPOINT_FILE,
        compression=bench.study.compression,
        class_weights=bench.class_weights,
        validation=bench.watched if training.patience else None,
        recorded=recorded,
        choose_precision=bench.precision,
    )


def structure_costs(task: Task, bench: Workbench, network: nn.Module, clock: Clock) -> Measurement:
    """Costs of an untrained copy, pruned, quantized and emitted; measured once per structure, if undisturbed."""
    structure = task.candidate.structure_id(len(bench.data.class_names))
    if structure not in bench.structure_costs:
        with clock("prune"):
            options = options_of(task.candidate, bench.study.compression)
            batches = CalibrationBatches(bench.tiny_feed())
            shape = compress(copy.deepcopy(network).cpu(), task.candidate.plan, options, batches, trained=False)
        with clock("emit"):
            file = ship(shape, task.candidate, task.folder / "untrained", bench.header)
        with clock("measure"):
            costs = measure_file(file, bench.study.targets, origin="untrained file")
        for leftover in (task.folder / "untrained").iterdir():
            leftover.unlink()
        (task.folder / "untrained").rmdir()
        if not costs.is_stable:  # what disturbed it is not to tell on every network of this structure
            return costs
        bench.structure_costs[structure] = costs
    return bench.structure_costs[structure]


def broken_constraints(measurement: Measurement, study: Study, phase: Phase) -> dict[str, float]:
    """By how much, relative to its limit, each broken constraint is exceeded. References are bound by none."""
    found: dict[str, float] = {}
    if phase == "reference":
        return found
    for cost, limit in study.constraints.items():
        value = measurement.cost(cost, study.target.name)
        if value > limit.max:
            found[cost] = value / limit.max - 1
    return found


def finish(task: Task, bench: Workbench, clock: Clock, state: State, **fields: Any) -> Evaluation:
    """Make the record and write it: from here on the evaluation is done."""
    evaluation = Evaluation(
        candidate_id=task.candidate.id,
        structure_id=task.candidate.structure_id(len(bench.data.class_names)),
        phase=task.phase,
        seed=task.seed,
        training=task.training,
        state=state,
        budget=bench.study.training.epochs,
        target=bench.study.target.name,
        seconds=clock.seconds,
        attempts=task.attempt,
        started_at=clock.started_at,
        machine=bench.machine,
        **fields,
    )
    write_evaluation(task.folder, evaluation)
    (task.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return evaluation


def evaluate_safely(task: Task, bench: Workbench) -> Evaluation:
    """`evaluate`, with whatever it raises recorded as a FAILED evaluation and its reason.

    Only what is wrong with the disk is raised: it says nothing about the candidate.
    """
    clock = Clock()
    try:
        return evaluate(task, bench, clock)
    except Exception as error:
        if disk_problem(error):
            raise
        kind, reason = type(error).__name__, failure(error, bench.study.search.trial_gigabytes)
        if clock.stage == "teach":
            reason = f"the reference teacher failed: {reason}"
    # The traceback is gone, and with it what it held: there may have been no memory left to write the record with.
    gc.collect()
    return finish(task, bench, clock, State.FAILED, error=kind, reason=reason)


def failure(error: Exception, limit_gigabytes: float | None) -> str:
    """Why an evaluation failed, in one line for users; an unexpected error is called internal.

    The error's class stands in `Evaluation.error` alone.
    """
    if ran_out_of_memory(error):
        limit = f"needed more memory than search.trial_gigabytes {limit_gigabytes or 0:g}"
        return limit if limit_gigabytes else "out of memory"
    text = " ".join(str(error).split())[:500] or "no message"
    if isinstance(error, ValidationError):
        keys = [".".join(map(str, details["loc"])) for details in error.errors()]
        text = f"unexpected values of {', '.join(filter(None, keys)) or 'a record'}"
    return text if isinstance(error, CandidateFailed | InputError) else f"internal error: {text}"
