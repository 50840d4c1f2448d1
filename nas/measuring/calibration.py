"""Calibration of the latency model before a search: a minute at most in which candidates of the space are measured.

A process of its own measures untrained candidates, the most telling first. What it found is kept in the run folder, so
that a continued search is the same, and in the user's cache, for other studies of the same space on the same device.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from nas.candidates.candidate import Candidate
from nas.data.cache import cache_folder, key_of
from nas.errors import InputError
from nas.files import write_atomically
from nas.measuring.latency_design import design
from nas.measuring.latency_model import LatencyModel
from nas.measuring.latency_terms import Work, work_of
from nas.records import Fingerprint, Milliseconds, Record
from nas.runtimes.runtime import fingerprint
from nas.study import Study, Target
from search_spaces.own_kinds import named_kinds

PROTOCOL = "untrained candidates, min of 4 blocks of calls beside an undisturbed control, v1"
BENCHMARK = (sys.executable, "-P", "-m", "nas.measuring.latency_benchmark")  # -P: the user's folder shadows no module
MOST_SECONDS = 60.0
MOST_CANDIDATES = 200
# With `auto` it ends where half of the other candidates are known this well, which is looked at every so many: a search
# by latencies that are 5 % off finds nearly what one by exact ones does.
ENOUGH_SD, LOOK_EVERY = 0.05, 8


class Job(Record):
    """What the process is asked to measure, and for how long; of an existing network with its blueprint, of blocks of
    the user's own with the names of their kinds, whose code the study trusts.
    """

    num_classes: int
    targets: tuple[Target, ...]
    seconds: float
    candidates: tuple[Mapping[str, Any], ...]
    blueprint: Mapping[str, Any] | None = None
    kinds: tuple[str, ...] = ()


class Sample(Record):
    """One untrained candidate, in its canonical JSON, and its milliseconds by target."""

    candidate: Mapping[str, Any]
    latency_ms: Mapping[str, Milliseconds]


class Calibration(Record):
    """What was measured before a search, and on what. It teaches the model; it is no result."""

    protocol: str
    fingerprints: Mapping[str, Fingerprint]
    num_classes: Annotated[int, Field(ge=1)]
    samples: tuple[Sample, ...]

    def of_target(self, target: str) -> list[tuple[Candidate, float]]:
        """Candidates with their milliseconds on one target."""
        samples = [sample for sample in self.samples if target in sample.latency_ms]
        return [(Candidate.from_json(sample.candidate), sample.latency_ms[target]) for sample in samples]


def seconds_of(study: Study) -> float:
    """Seconds at most that a study wants its latency model calibrated for; 0 where nothing predicts latency."""
    asked = study.search.calibration
    predicts = str(study.search.sampler) == "pareto" and bool(targets_of(study))
    return (MOST_SECONDS if asked == "auto" else float(asked)) if predicts else 0.0


def targets_of(study: Study) -> tuple[Target, ...]:
    """The targets on this machine whose latency counts; what others measure is learned from the trials alone."""
    here = (target for target in study.latencies.values() if not target.is_elsewhere)
    return tuple(dict.fromkeys(here))


def read_calibration(path: Path) -> Calibration | None:
    """What was measured earlier; None where there is no such file. Raises InputError where it is damaged."""
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise InputError(f"{path}: expected what calibration measured, got something else; remove it") from None


def calibrated(
    study: Study, num_classes: int, path: Path, *, stopped: Callable[[], bool] = lambda: False
) -> tuple[Calibration, str]:
    """What the run folder's file `path` holds, else the user's cache, else measured now; and a problem in words.

    It is written to `path` whatever it holds, unless it was `stopped`: a continued search must not learn anything else.
    """
    if (kept := read_calibration(path)) is not None:
        return kept, ""
    cache = cache_folder() / f"latency-{_key(study, num_classes)}.json"
    found, problem = _cached(cache), ""
    if found is None:
        found, problem = _measure(study, num_classes, stopped)
        if stopped():
            return found, problem
        if not problem:
            with suppress(OSError):  # a cache that cannot be written only costs time
                write_atomically(cache, found.model_dump_json())
    write_atomically(path, found.model_dump_json(indent=1))
    return found, problem


def _cached(cache: Path) -> Calibration | None:
    with suppress(OSError, InputError):
        return read_calibration(cache)
    return None


def _key(study: Study, num_classes: int) -> str:
    """Whatever the figures depend on: space, compression, targets' devices and runtimes, protocol, and for how long."""
    told = [
        PROTOCOL,
        study.search.calibration,
        num_classes,
        study.data.input_channels,
        study.space.identity(study.data.input_channels),
        study.compression.model_dump(mode="json"),
        [[target.name, fingerprint(target).model_dump(mode="json")] for target in targets_of(study)],
    ]
    return key_of(json.dumps(told, sort_keys=True))


def job_of(study: Study, candidates: Sequence[Candidate], num_classes: int) -> Job:
    """All that the process must be told to measure candidates of a study."""
    space = study.space
    return Job(
        num_classes=num_classes,
        targets=targets_of(study),
        seconds=seconds_of(study),
        candidates=tuple(candidate.to_json() for candidate in candidates),
        blueprint=space.network(study.data.input_channels),
        kinds=tuple(named_kinds(space.block_spaces())),
    )


def _measure(study: Study, num_classes: int, stopped: Callable[[], bool]) -> tuple[Calibration, str]:
    """Have the process measure until the time is over, or enough is known."""
    candidates = design(study, num_classes, MOST_CANDIDATES)
    job = job_of(study, candidates, num_classes)
    works = [work_of(candidate, num_classes) for candidate in candidates]
    samples: list[Sample] = []
    with tempfile.TemporaryFile() as errors, _benchmark(job, errors) as lines:
        for line in lines:
            answer = json.loads(line)
            samples.append(Sample(candidate=job.candidates[answer["number"]], latency_ms=answer["latency_ms"]))
            looks = study.search.calibration == "auto" and len(samples) % LOOK_EVERY == 0
            if stopped() or (looks and _is_enough(samples, works, job.targets, num_classes)):
                break
        problem = "" if samples else _last_line(errors)
    prints = {target.name: fingerprint(target) for target in job.targets}
    found = Calibration(protocol=PROTOCOL, fingerprints=prints, num_classes=num_classes, samples=tuple(samples))
    return found, problem


@contextmanager
def _benchmark(job: Job, errors: IO[bytes]) -> Iterator[Iterator[bytes]]:
    """The lines that the process answers; it is ended when the block is left, and by the next line without a reader."""
    with subprocess.Popen(BENCHMARK, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(job.model_dump_json().encode() + b"\n")
                process.stdin.flush()
            yield iter(process.stdout)
        finally:
            process.kill()


def _is_enough(samples: Sequence[Sample], works: Sequence[Work], targets: Sequence[Target], num_classes: int) -> bool:
    """Whether the candidates not measured yet are known well on every target, by the model's own word."""
    others = works[len(samples) :]
    for target in targets:
        own = [
            (w, s.latency_ms[target.name]) for w, s in zip(works, samples, strict=False) if target.name in s.latency_ms
        ]
        if len(own) < LOOK_EVERY or not others:
            return False
        mean, sd = LatencyModel.fit(own, num_classes).predict_all(others).T
        if float(np.median(sd / mean)) > ENOUGH_SD:
            return False
    return True


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no candidate could be measured"
