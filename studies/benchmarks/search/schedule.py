"""Which runs the comparison is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from baselines import BASELINES
from run_log import Plan

MAIN = "nb201-pi5"
DEVICES = ("nb201-pi4", "nb201-fpga", "nb201-1080ti", "nb201-pixel3", "nb201-xeon")
JOINT = ("joint-smooth", "joint-pairs")
OURS = ("ours-exact", "ours-learned")  # costs exact; latency learned while searching
LONG_TPE_SEEDS = 5


def plans(problems: Sequence[str], samplers: Sequence[str]) -> list[Plan]:
    """Of these problems and samplers: 20 seeds of NAS-Bench-201 on one device and 5 on others, 10 of joint spaces."""
    return [plan for plan in _all() if plan.problem in problems and plan.sampler in samplers]


def _all() -> Iterator[Plan]:
    for sampler in (*BASELINES, *OURS):
        for seed in range(20):
            yield Plan(MAIN, sampler, seed, _evaluations(sampler, seed, stock=200, ours=100))
    for problem in JOINT:
        for sampler in (*BASELINES, *OURS):
            yield from (Plan(problem, sampler, seed, 100 if sampler in OURS else 400) for seed in range(10))
    for problem in DEVICES:
        for sampler in (*BASELINES, *OURS):
            for seed in range(5):
                yield Plan(problem, sampler, seed, _evaluations(sampler, seed, stock=200, ours=100))


def _evaluations(sampler: str, seed: int, *, stock: int, ours: int) -> int:
    if sampler in OURS:
        return ours
    return 500 if sampler == "tpe" and seed < LONG_TPE_SEEDS else stock
