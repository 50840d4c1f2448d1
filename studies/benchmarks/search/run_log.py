"""One run of a sampler on a problem, and the file that keeps every run so that a killed command goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from problems import Params, Problem

LOOKS = (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 450, 500)
MOST_REPEATS = 10  # asks per evaluation; beyond it the sampler has nothing new
DIGITS = 6
Hear = Callable[[Params, tuple[float, ...]], None]


def unheard(params: Params, values: tuple[float, ...]) -> None:
    """For samplers that nothing else learns beside."""


@dataclass(frozen=True)
class Plan:
    """What one run is."""

    problem: str
    sampler: str
    seed: int
    evaluations: int


@dataclass(frozen=True)
class Run:
    """What came of it: shares of the hypervolume after `looks` evaluations, by measure."""

    plan: Plan
    looks: Sequence[int]
    shares: dict[str, list[float]]
    repeats: int  # asks that proposed what had been evaluated
    seconds: float  # of the whole run, nearly all of it the sampler's

    def at(self, measure: str, look: int) -> float:
        return self.shares[measure][self.looks.index(look)]

    @property
    def key(self) -> tuple[str, str, int]:
        return self.plan.problem, self.plan.sampler, self.plan.seed


def perform(plan: Plan, problem: Problem, sampler: BaseSampler, hear: Hear = unheard) -> Run:
    """A repeat is told what it repeats and costs no evaluation, as in a study of ours. `hear` is told every other."""
    start = time.perf_counter()
    study = optuna.create_study(directions=["minimize"] * len(problem.scales), sampler=sampler)
    tried, repeats = evaluate_until(study, problem, plan, hear)
    looks = [look for look in LOOKS if look <= plan.evaluations]  # beyond what was tried nothing changes
    seconds = time.perf_counter() - start
    found = [problem.shares(tried[:look]) for look in looks]
    shares = {measure: [round(share[measure], DIGITS) for share in found] for measure in found[0]}
    return Run(plan, looks, shares, repeats, round(seconds, 2))


def evaluate_until(study: optuna.Study, problem: Problem, plan: Plan, hear: Hear = unheard) -> tuple[list[Params], int]:
    """Ask and tell until so many different networks are evaluated; their params, and how many asks repeated one."""
    random, tried, repeats = np.random.default_rng([plan.seed, 1]), list[Params](), 0
    known: dict[Hashable, tuple[float, ...]] = {}
    while len(tried) < plan.evaluations and repeats < MOST_REPEATS * plan.evaluations:
        trial = study.ask()
        key = (problem.space(trial), problem.exact(trial.params))
        if key in known:
            repeats += 1
        else:
            known[key] = problem.values(trial.params, random)
            tried.append(trial.params)
            hear(trial.params, known[key])
        study.tell(trial, known[key])
    return tried, repeats


def read(file: Path) -> dict[tuple[str, str, int], Run]:
    """Runs of a file, by problem, sampler and seed; the last of each counts, a torn last line does not."""
    if not file.exists():
        return {}
    runs = map(_parsed, file.read_text(encoding="utf-8").splitlines())
    return {run.key: run for run in runs if run is not None}


def append(file: Path, run: Run) -> None:
    whole = not file.exists() or file.stat().st_size == 0 or file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as out:
        out.write(("" if whole else "\n") + json.dumps(asdict(run)) + "\n")


def missing(plans: Iterable[Plan], done: dict[tuple[str, str, int], Run]) -> list[Plan]:
    """Plans that no run has met. One of fewer evaluations is done again."""

    def met(plan: Plan) -> bool:
        run = done.get((plan.problem, plan.sampler, plan.seed))
        return run is not None and run.plan.evaluations >= plan.evaluations

    return [plan for plan in plans if not met(plan)]


def _parsed(line: str) -> Run | None:
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return None
    return Run(**{**found, "plan": Plan(**found["plan"])})
