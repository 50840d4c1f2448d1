"""The way of the data: one candidate in, one evaluation out, every figure read off the file that would ship."""

from __future__ import annotations

import copy
import gc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from compressors.pipeline import compress
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.errors import CandidateFailed, InputError, nobodys_fault
from nas.files import sha256_of
from nas.machine import ran_out_of_memory
from nas.measuring.bounds import bound_of
from nas.measuring.costs import measure_files
from nas.measuring.turns import pausing_for_measurements
from nas.objectives import excesses, not_run
from nas.recording import Clock, finish, noting
from nas.records import Evaluation, Measurement, State
from nas.run_folder.rungs import last_record, pruned_fields
from nas.rung import look_of
from nas.shipping import accuracy_source, emit_files, score_network, ship, verify
from nas.stock import quantize_after_training
from nas.study import Study
from nas.tasks import CHECKPOINT_FILE, Task, Tell, Verdict, silent
from nas.teacher import teacher_logits, teacher_network
from nas.training.inference import CalibrationBatches
from nas.training.pipeline import TrainingPipeline, options_of
from nas.training.reporting import Interrupted, Report, always_continue
from nas.workbench import Workbench, build


def evaluate(
    task: Task, bench: Workbench, clock: Clock | None = None, *, report: Report = always_continue
) -> Evaluation:
    """Evaluate one candidate and write its artifact folder. Raises what goes wrong; `evaluate_safely` records it.

    `report` is asked after every epoch; unless it answers CONTINUE, Interrupted is raised and a checkpoint kept. At the
    task's rungs it is told what a copy is worth.
    """
    clock, study, recipe = clock or Clock(), bench.study, task.recipe_in(bench.study)
    bench = bench.for_task(task)
    with clock("build"):
        network = build(task.candidate, bench, seed=task.seed, dropout=recipe.dropout)

    costs = structure_costs(task, bench, network, clock)  # nothing is trained yet
    if broken := broken_constraints(costs.costs(study.target.name), study, task):
        return finish(task, bench, clock, State.INFEASIBLE, measurement=costs, violations=broken)

    with clock("teach"):
        recorded = teacher_logits(bench, task.recipe, tell=clock.tell) if recipe.needs_reference else None
        guide = teacher_network(bench, task.recipe) if recipe.needs_guide else None
    with clock("train"), pausing_for_measurements() as give_way:
        look = look_of(task, bench, clock, costs, give_way)
        pipeline = replace(pipeline_of(task, bench, recorded, guide), look=look, tell=clock.tell)
        trained = pipeline.fit(network, give_way, report=report)
        network = trained.network.cpu().eval()

    return shipped(
        network,
        trained.plan,
        task,
        bench,
        clock,
        epochs=trained.epochs,
        precision=trained.precision,
        resulted=trained.resulted_json(task.candidate.plan),
    )


def shipped(
    network: nn.Module, plan: CompressionPlan, task: Task, bench: Workbench, clock: Clock, **told: Any
) -> Evaluation:
    """Ship a finished network, with the plan it has, and record what its file is; `told` is of its training."""
    study = bench.study
    with clock("emit"):
        files = ship(network, task.candidate, task.folder, header=bench.header, targets=study.targets)
    with clock("verify"), pausing_for_measurements():
        verified = verify(network, files, task.candidate.resulting(plan), bench)
    with clock("measure"):
        doubtful = verified.doubtful_targets
        measurement = measure_files(files, study.targets, origin="shipped file", without=doubtful, places=bench.places)
    with clock("score"), pausing_for_measurements() as give_way:
        scores = score_network(network, files[study.target.name], bench, test=task.reads_test, give_way=give_way)

    found = measurement.costs(study.target.name) | scores.validation.qualities
    broken = broken_constraints(found, study, task)
    return finish(
        task,
        bench,
        clock,
        State.INFEASIBLE if broken else State.COMPLETE,
        accuracy_source=accuracy_source(network),
        measurement=measurement,
        violations=broken,
        model_sha256={file.name: sha256_of(file) for file in files.values()},
        **dict(verified),
        **dict(scores),
        **told,
    )


def pipeline_of(
    task: Task, bench: Workbench, recorded: Tensor | None, guide: nn.Module | None = None
) -> TrainingPipeline:
    """The task's training, with the logits of a reference teacher where there is one, and itself where it guides."""
    training = task.recipe_in(bench.study)
    small = task.train_size if task.train_size is not None and task.train_size < bench.input_size else None
    return TrainingPipeline(
        training,
        task.candidate,
        bench.feed(task.seed, training),
        task.epochs,
        task.folder / CHECKPOINT_FILE,
        compression=bench.study.compression,
        class_weights=bench.class_weights(training),
        validation=bench.watched if training.patience else None,
        recorded=recorded,
        guide=guide,
        choose_precision=bench.precision,
        rungs=task.rungs,
        small=None if small is None else bench.at(small).feed(task.seed, training),
    )


def structure_costs(task: Task, bench: Workbench, network: nn.Module, clock: Clock) -> Measurement:
    """Costs of an untrained copy, pruned, quantized and emitted; measured once per structure, if undisturbed.

    Where they depend on weights they are a bound.
    """
    classes = len(bench.data.class_names)
    if task.candidate.depends_on_weights:
        return bound_of(task.candidate, classes)
    structure = task.candidate.structure_id(classes)
    if structure not in bench.structure_costs:
        with clock("prune"):
            shape = untrained_shape(task.candidate, bench, network)
        with clock("emit"):
            files = emit_files(shape, task.folder / "untrained", bench.header, bench.study.targets)
        with clock("measure"):
            costs = measure_files(files, bench.study.targets, origin="untrained file", places=bench.places)
        for leftover in (task.folder / "untrained").iterdir():
            leftover.unlink()
        (task.folder / "untrained").rmdir()
        if not costs.is_stable:  # what disturbed it is not to tell on every network of this structure
            return costs
        bench.structure_costs[structure] = costs
    return bench.structure_costs[structure]


def untrained_shape(candidate: Candidate, bench: Workbench, network: nn.Module) -> nn.Module:
    """A copy of an untrained, dense network on the CPU, pruned and quantized as the candidate says."""
    batches = CalibrationBatches(bench.tiny_feed())
    options = options_of(candidate, bench.study.compression)
    return compress(copy.deepcopy(network).cpu(), candidate.plan, options, batches, trained=False)


def broken_constraints(values: Mapping[str, float], study: Study, task: Task) -> dict[str, float]:
    """By how much, relative to its limit, each broken constraint is missed by the costs and qualities known so far.

    A latency that the study needs, and its target does not give, is missed too. None for a task without constraints.
    """
    if not task.is_constrained:
        return {}
    return excesses(values, study.limits_in(task.phase)) | not_run(values, study.needed_latencies)


def evaluate_safely(
    task: Task, bench: Workbench, *, report: Report = always_continue, tell: Tell = silent
) -> Evaluation:
    """`evaluate`, with a STOP recorded as PRUNED, and whatever else it raises as FAILED with its reason.

    Only a PAUSE, a lost place and what is wrong with the disk are raised: they say nothing about the candidate. `tell`
    hears what it is at.
    """
    clock = Clock.of(task, tell)
    try:
        if task.made_from is not None:
            return quantize_after_training(task, bench, clock)
        return evaluate(task, bench, clock, report=noting(task, clock, report))
    except Interrupted as interrupted:
        if interrupted.verdict is not Verdict.STOP:
            raise
        rung = interrupted.rung
        reason = f"stopped after {rung.epochs:g} of {rung.budget} epochs"
        seen = pruned_fields(last_record(task))
        return finish(task, bench, clock, State.PRUNED, epochs=rung.epochs, reason=reason, **seen)
    except Exception as error:
        if nobodys_fault(error) is not None:
            raise
        kind, reason = type(error).__name__, failure(error, bench.study.search.trial_gigabytes)
        if clock.part == "teach":
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
