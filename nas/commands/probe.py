"""`nas check --probe`: how fast the smallest, the middle and the largest network are, and what a study will take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from rich.table import Table

from compressors.steps import stage_names
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.hyperparameters import middle_numbers
from nas.commands.refusals import refuse
from nas.commands.timing import LEAST_BATCH, short, train_a_little
from nas.data import load
from nas.estimate import Estimate, Known, Line, Plan, Speed, Timed, estimate_of, expected_candidates, fitted
from nas.estimate.candidates import largest_compressed
from nas.estimate.computing import rows_of
from nas.estimate.words import duration, span
from nas.evaluate import pipeline_of, structure_costs
from nas.machine import threads_per_worker
from nas.measuring.agent.greeting import greet
from nas.measuring.costs import measure_files
from nas.measuring.turns import pausing_for_measurements
from nas.recording import Clock
from nas.shipping import score_network, ship, verify
from nas.study import Study
from nas.tasks import Task
from nas.teacher import untrained_teacher
from nas.workbench import Workbench, build

STEP_SECONDS = 2.0  # a step that may take longer is timed with fewer images
LIBRARIES_SECONDS = 3.0  # what a worker imports
FEW = 0.1


@dataclass(frozen=True)
class Probed:
    """One network's seconds: per training step by stage, around a training, and of one of its two measurements."""

    known: Known
    batch_size: int
    steps: dict[str, float]
    around: float
    measuring: float


@dataclass(frozen=True)
class Probe:
    """What was found: the networks, smallest first, and what follows from them."""

    study: Study
    networks: tuple[Probed, ...]
    speed: Speed
    train_images: int
    num_classes: int

    @cached_property
    def plan(self) -> Plan:
        expected = expected_candidates(self.study, num_classes=self.num_classes, known=self.speed.known)
        return Plan(self.study, self.speed, self.train_images, self.num_classes, expected)

    @property
    def estimate(self) -> Estimate:
        return estimate_of(self.plan)


def measure_speed(study: Study, *, say: Callable[[str], None] = lambda _: None) -> Speed:
    """How fast this machine evaluates candidates of a study."""
    return probe(study, say=say).speed


def probe(study: Study, *, say: Callable[[str], None] = lambda _: None) -> Probe:
    """Run three networks through a whole trial each, with a few steps of every stage; `say` is told what is done.

    Raises InputError where the study cannot be run here.
    """
    refuse(study)
    for notice in greet(study.targets):
        say(notice)
    size = study.space.input_sizes[-1]
    torch.set_num_threads(threads_per_worker(study.search.worker_count, size))
    say("reading the data")
    began = time.perf_counter()
    bench = Workbench(study, load(study.data_of(_most_images(study)), input_size=size, seed=study.search.seed))
    start = LIBRARIES_SECONDS + min(time.perf_counter() - began, LIBRARIES_SECONDS)  # decoded once, not by each worker
    classes, networks = len(bench.data.class_names), list[Probed]()
    for name, candidate in corners(study, classes):
        say(f"timing the {name} network")
        networks.append(_probed(name, candidate, bench))
    speed = speed_of(networks, classes, start=start)
    return Probe(study, tuple(networks), speed, len(bench.data.train), classes)


def _most_images(study: Study) -> int | None:
    """How many training images trials or finalists want; None where either wants all."""
    wanted = (study.search_images, study.final_images)
    return None if None in wanted else max(filter(None, wanted))


def corners(study: Study, num_classes: int) -> list[tuple[str, Candidate]]:
    """The smallest, middle and largest network by MACs, each once.

    The largest is not compressed where the study allows that: then one of its size that is trained in every stage is
    timed too.
    """
    networks = extreme_candidates(study)
    if stages_of(networks["largest"]) != stages_of(networks["middle"]):
        networks |= {"largest, compressed": largest_compressed(study)}
    found = {candidate.id: (name, candidate) for name, candidate in networks.items()}
    return sorted(found.values(), key=lambda one: one[1].macs(num_classes))


def stages_of(candidate: Candidate) -> list[str]:
    return list(rows_of(candidate, batch_size=1, num_classes=1))


def speed_of(networks: list[Probed], num_classes: int, *, start: float) -> Speed:
    """Rates and lines through what was timed."""
    times = list[Timed]()
    for one in networks:
        rows = rows_of(one.known.candidate, batch_size=one.batch_size, num_classes=num_classes)
        times += [Timed(stage, rows[stage], seconds) for stage, seconds in one.steps.items()]
    macs = [float(one.known.candidate.macs(num_classes)) for one in networks]
    return Speed(
        rates=fitted(times),
        around=Line.through([(m, one.around) for m, one in zip(macs, networks, strict=True)]),
        measuring=Line.through([(m, one.measuring) for m, one in zip(macs, networks, strict=True)]),
        start=start,
        known=tuple(one.known for one in networks),
    )


def _probed(name: str, candidate: Candidate, bench: Workbench) -> Probed:
    study, clock, bench = bench.study, Clock(), bench.at(candidate.architecture.input_size)
    numbers, classes = middle_numbers(study.training), len(bench.data.class_names)
    with tempfile.TemporaryDirectory(prefix="nas-probe-") as place:
        folder = Path(place)
        task = Task(0, candidate, "search", study.search.seed, study.search_epochs, folder, training=numbers)
        with clock("build"):
            network = build(candidate, bench, seed=task.seed, dropout=study.training.resolved(numbers).dropout)
        structure_costs(task, bench, network, clock)
        guide = untrained_teacher(bench) if study.training.resolved(numbers).needs_guide else None
        pipeline = pipeline_of(task, bench, None, guide)
        if study.training.needs_reference and guide is None:  # its recorded logits cost next to nothing
            pipeline = replace(pipeline, training=replace(pipeline.training, distillation=None))
        feed = replace(pipeline.feed, batch_size=_batch_size(candidate, pipeline.feed.batch_size, classes))
        with pausing_for_measurements() as give_way:
            network, plan, steps = train_a_little(replace(pipeline, feed=short(feed)), network, give_way, clock)
        network = network.cpu().eval()
        with clock("emit"):
            files = ship(network, candidate, folder, header=bench.header, targets=study.targets)
        with clock("verify"):
            verify(network, files, candidate.resulting(plan), bench)
        with clock("measure"):
            measured = measure_files(files, study.targets, origin="shipped file", places=bench.places)
        with clock("score"):
            score_network(network, files[study.target.name], bench, test=False)
    measuring = clock.seconds.pop("measure") / 2
    known = Known(name, candidate, measured.latency[study.target.name].latency_ms)
    return Probed(known, feed.batch_size, steps, sum(clock.seconds.values()), measuring)


def _batch_size(candidate: Candidate, wanted: int, num_classes: int) -> int:
    """The study's, or fewer images where its step may take long on a slow machine."""
    rows, usual = rows_of(candidate, batch_size=wanted, num_classes=num_classes), fitted(())
    longest = max(float(row @ usual[stage]) for stage, row in rows.items())
    return min(wanted, max(LEAST_BATCH, int(wanted * STEP_SECONDS / longest)))


def warnings_of(found: Probe) -> Iterator[str]:
    """Limits that exclude nearly everything, by the latencies that were measured."""
    study = found.study
    share = found.plan.expected.share_kept
    if study.cost_limits and share < FEW:
        least = found.networks[0].known.latency_ms
        limits = ", ".join(f"{name} {limit:g}" for name, limit in study.cost_limits.items())
        yield (
            f"constraints: about {share:.0%} of the candidates keep to all limits ({limits}); "
            f"the smallest network takes {least:.4f} ms"
        )


def probe_tables(found: Probe) -> list[Table]:
    """The networks that were timed, and the seconds of the study."""
    networks = Table(title="What a few steps and a measurement took", title_justify="left")
    networks.add_column("")
    for one in found.networks:
        networks.add_column(one.known.name, justify="right")
    for head, cells in _figures(found):
        networks.add_row(head, *cells)
    return [networks, estimate_table(found.study, found.estimate)]


def _figures(found: Probe) -> Iterator[tuple[str, Sequence[str]]]:
    """Rows: what each network took, of every stage that one of them has."""
    yield "latency ms", [f"{one.known.latency_ms:.4f}" for one in found.networks]
    timed = {stage for one in found.networks for stage in one.steps}
    for stage in (stage for stage in stage_names() if stage in timed):
        rates = [f"{one.batch_size / one.steps[stage]:,.0f}" if stage in one.steps else "-" for one in found.networks]
        yield f"{stage.replace('_', ' ')} images/s", rates
    for head, final in (("trial", False), ("finalist", True)):
        own = [one.around + 2 * one.measuring for one in found.networks]
        wholes = [found.plan.training(one.known.candidate, final=final) for one in found.networks]
        yield head, [duration(whole + rest) for whole, rest in zip(wholes, own, strict=True)]


def estimate_table(study: Study, seconds: Estimate) -> Table:
    """Ranges of the parts and of the whole."""
    search = study.search
    table = Table(title="Time", show_header=False, box=None, title_justify="left")
    trials = f"{search.trials} trials of {study.search_epochs} epochs, {search.worker_count} worker(s)"
    table.add_row("search", span(seconds.search), trials)
    table.add_row("finalists", span(seconds.finalists), f"{search.finalists} of {study.final_epochs} epochs")
    table.add_row("the study", f"{span(seconds.total)}, about {duration(seconds.total.middle)}", "")
    return table
