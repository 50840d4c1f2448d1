"""Seconds that an ask of the Pareto sampler takes, by the number of trials before it, refits included.

Usage: python studies/benchmarks/search/sampler_seconds.py [--trials 100 1000 10000] [--asks 50] [--learned 1]

A space of 100 genes: 20 layers of five choices each. Bytes and time are computed, the error is learned, or with
--learned 2 and 3 more of them. The trials before are random ones; then each ask is answered at once. What the study's
own functions (space, costs, features) take is told apart, as the number of calls times the time of one: it is theirs
and not the sampler's. Processor time is measured, of one thread: other work on the machine hardly counts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nas.samplers import ParetoSampler
from nas.samplers.spaces.recording import UnitTrial

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LAYERS = 20
CHOICES: Mapping[str, tuple[float, ...]] = {
    "width": (8, 16, 24, 32),
    "kernel": (1, 3, 5, 7),
    "expansion": (1, 2, 4, 6),
    "ratio": (0.0, 0.25, 0.5, 0.75),
    "bits": (2, 4, 8, 16),
}
GENES: Mapping[str, BaseDistribution] = {
    f"{layer}.{name}": CategoricalDistribution(choices) for layer in range(LAYERS) for name, choices in CHOICES.items()
}


class Drawing(Protocol):
    def suggest_categorical(self, name: str, choices: Sequence[float], /) -> float: ...


class Counted(Generic[Arguments, Result]):
    """A function that counts its calls: a clock in each would take longer than they do."""

    def __init__(self, function: Callable[Arguments, Result]) -> None:
        self._function = function
        self.calls = 0

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        self.calls += 1
        return self._function(*args, **kwargs)


def space(trial: Drawing) -> None:
    for layer in range(LAYERS):
        for name, choices in CHOICES.items():
            trial.suggest_categorical(f"{layer}.{name}", choices)


def layers(params: Mapping[str, Any]) -> np.ndarray:
    """Shape (layers, genes of each), in the order of CHOICES."""
    return np.array([[params[f"{layer}.{name}"] for name in CHOICES] for layer in range(LAYERS)])


def values(params: Mapping[str, Any]) -> tuple[float, float, float]:
    """Error, logarithm of bytes, logarithm of time: invented."""
    width, kernel, expansion, ratio, bits = layers(params).T
    weights = width**2 * expansion * (1 - ratio) + kernel**2 * width * expansion
    loss = 2.0**-bits * (1 + np.arange(LAYERS) / 10) + 0.2 * ratio**2
    error = 10 + 60 * math.exp(-0.1 * float(np.log(weights).sum()) + 6) / 100 + 4 * float(loss.sum())
    return error, math.log(float((weights * bits / 8).sum())), math.log(float((weights * (2 + bits / 8)).sum()))


def features(params: Mapping[str, Any]) -> Sequence[float]:
    table = layers(params)
    table[:, -1] = 2.0 ** -table[:, -1]
    return [*table.ravel().tolist()]


def random_trials(count: int, seed: int) -> list[optuna.trial.FrozenTrial]:
    random = np.random.default_rng(seed)
    names = list(CHOICES)
    trials = []
    for _ in range(count):
        params = {gene: CHOICES[names[i % len(names)]][random.integers(4)] for i, gene in enumerate(GENES)}
        trials.append(optuna.trial.create_trial(values=values(params), params=params, distributions=dict(GENES)))
    return trials


def costs_of(params: Mapping[str, Any], learned: int) -> list[float | None]:
    return [None if i < learned else value for i, value in enumerate(values(params))]


def draw_one() -> None:
    """One candidate's genes, as the sampler draws those of a pool."""
    space(UnitTrial(dict.fromkeys(GENES, 0.5)))


def milliseconds(function: Callable[[], object], repeats: int = 300) -> float:
    start = time.process_time()
    for _ in range(repeats):
        function()
    return 1e3 * (time.process_time() - start) / repeats


def measure(trials: int, asks: int, learned: int) -> dict[str, float]:
    """Milliseconds of each ask, and of it outside the study's own functions."""
    functions = Counted(space), Counted(partial(costs_of, learned=learned)), Counted(features)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=ParetoSampler(*functions, seed=0))
    study.add_trials(random_trials(trials, seed=1))
    whole, calls = [], []
    for _ in range(asks):
        for function in functions:
            function.calls = 0
        start = time.process_time()
        trial = study.ask(dict(GENES))
        whole.append(1e3 * (time.process_time() - start))
        calls.append([function.calls for function in functions])
        study.tell(trial, values(trial.params))
    params = study.trials[0].params
    one = [
        milliseconds(draw_one),
        milliseconds(lambda: costs_of(params, learned)),
        milliseconds(lambda: features(params)),
    ]
    own = np.array(whole) - np.array(calls) @ one
    return {
        "trials": trials, "asks": asks, "learned": learned, "ask_ms": float(np.mean(whole)),
        "sampler_ms": float(own.mean()), "sampler_median_ms": float(np.median(own)),
        "sampler_first_ms": float(own[0]), "decoded_per_ask": float(np.mean(calls, axis=0)[0]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--asks", type=int, default=50)
    parser.add_argument("--learned", type=int, default=1, choices=[1, 2, 3])
    parser.add_argument("--json", type=Path, help="a file that gets the rows")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows = []
    for trials in arguments.trials:
        rows.append(measure(trials, arguments.asks, arguments.learned))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
