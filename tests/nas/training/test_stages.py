"""How a training's steps are shared out among its stages, and the learning rate in each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import recipe_of

from compressors.plan import CompressionPlan
from compressors.steps import retraining_of
from nas.training.stages import Stage, learning_rate, stages_of

NAMES = ("dense", "pruned", "quantized")


def plan_of(*, prunes: bool, quantizes: bool) -> CompressionPlan:
    return CompressionPlan(kept={"stem": 8} if prunes else {}, formats={"classifier": "int8"} if quantizes else {})


@st.composite
def shares(draw: st.DrawFn) -> tuple[float, float, float]:
    parts = [draw(st.integers(1, 20)), *draw(st.tuples(st.integers(0, 20), st.integers(0, 20)))]
    if sum(parts[1:]) == 0:
        parts[1] = 1
    return parts[0] / sum(parts), parts[1] / sum(parts), parts[2] / sum(parts)


@given(shares(), st.integers(1, 3000), st.booleans(), st.booleans())
def test_steps_are_shared_out(
    given_shares: tuple[float, float, float], steps: int, prunes: bool, quantizes: bool
) -> None:
    found = stages_of(
        recipe_of(shares=dict(zip(NAMES, given_shares, strict=True))),
        steps,
        plan_of(prunes=prunes, quantizes=quantizes),
    )
    happens = (True, prunes, quantizes)
    assert [stage.name for stage in found] == list(itertools.compress(NAMES, happens))
    assert sum(stage.steps for stage in found) == steps
    assert [found[0].start, *(stage.stop for stage in found)] == [*(stage.start for stage in found), 1.0]
    assert all((stage.stop - stage.start) * steps == pytest.approx(stage.steps) for stage in found)
    owed = {"dense": 0.0}
    for name, share, does in zip(NAMES, given_shares, happens, strict=True):
        heir = name if does else list(owed)[-1]  # a stage that changes nothing gives its share to the one before
        owed[heir] = owed.get(heir, 0.0) + share * steps
    assert all(abs(stage.steps - owed[stage.name]) < 1 for stage in found)


@pytest.mark.parametrize(
    ("shares", "epochs", "prunes", "quantizes", "expected"),
    [
        ((0.5, 0.2, 0.3), 20, True, True, [1000, 400, 600]),
        ((0.5, 0.2, 0.3), 20, False, True, [1400, 600]),
        ((0.5, 0.2, 0.3), 20, True, False, [1000, 1000]),
        ((0.5, 0.2, 0.3), 20, False, False, [2000]),
        ((0.5, 0.2, 0.3), 1, True, True, [50, 20, 30]),
        ((0.3, 0.55, 0.15), 2, True, True, [60, 110, 30]),
        ((0.3, 0.55, 0.15), 2, False, True, [170, 30]),
    ],
)
def test_known_shares(
    shares: tuple[float, float, float], epochs: int, prunes: bool, quantizes: bool, expected: list[int]
) -> None:
    """Of epochs of 100 steps; a short training has every stage of a long one, in proportion."""
    found = stages_of(
        recipe_of(shares=dict(zip(NAMES, shares, strict=True))),
        epochs * 100,
        plan_of(prunes=prunes, quantizes=quantizes),
    )
    assert [stage.steps for stage in found] == expected


def stage_of(name: str) -> Stage:
    """The first half, the next three tenths, the last fifth of a training of ten steps."""
    bounds = {"dense": (0.0, 0.5), "pruned": (0.5, 0.8), "quantized": (0.8, 1.0)}
    start, stop = bounds[name]
    return Stage(name, round(10 * (stop - start)), start, stop)


@pytest.mark.parametrize(
    ("cycle", "schedule", "stage", "progress", "expected"),
    [
        ("stage", "cosine", "dense", 0.0, 0.1),
        ("stage", "cosine", "dense", 0.5, 0.05),
        ("stage", "cosine", "dense", 1.0, 0.0),
        ("stage", "cosine", "pruned", 0.0, 0.05),
        ("stage", "cosine", "quantized", 0.5, 0.005),
        ("stage", "one_cycle", "dense", 0.0, 0.004),
        ("stage", "one_cycle", "dense", 0.125, 0.052),
        ("stage", "one_cycle", "dense", 0.25, 0.1),
        ("stage", "one_cycle", "dense", 0.625, 0.05),
        ("stage", "one_cycle", "quantized", 0.25, 0.01),
        ("stage", "one_cycle", "dense", 1.0, 0.0),
        ("whole", "linear", "dense", 0.0, 0.1),
        ("whole", "linear", "dense", 0.5, 0.075),
        ("whole", "linear", "pruned", 0.0, 0.05),
        ("whole", "linear", "pruned", 1.0, 0.02),
        ("whole", "linear", "quantized", 0.0, 0.01),  # 0.02, were it not held at a tenth of the peak
        ("whole", "linear", "quantized", 0.75, 0.005),
        ("whole", "one_cycle", "dense", 0.25, 0.052),
        ("whole", "one_cycle", "dense", 0.5, 0.1),
        ("whole", "cosine", "pruned", 0.0, 0.05),
        ("whole", "constant", "pruned", 0.3, 0.1),
    ],
)
def test_learning_rate_at_known_points(cycle: str, schedule: str, stage: str, progress: float, expected: float) -> None:
    recipe = recipe_of(cycle=cycle, schedule=schedule, learning_rate=0.1, batch_norm="folded")
    assert learning_rate(recipe, stage_of(stage), progress) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("cycle", "stage", "progress", "expected"),
    [
        ("whole", "quantized", 0.0, 0.02),  # not held at a tenth
        ("whole", "pruned", 0.0, 0.05),
        ("stage", "quantized", 0.5, 0.025),  # half of the peak, half gone
        ("stage", "pruned", 0.5, 0.025),
        ("stage", "dense", 0.5, 0.05),
        ("tail", "quantized", 0.5, 0.005),  # a tail is low in any case
    ],
)
def test_learning_rate_where_batch_norm_is_alive(cycle: str, stage: str, progress: float, expected: float) -> None:
    recipe = recipe_of(cycle=cycle, schedule="linear", learning_rate=0.1, batch_norm="live")
    annealed = 0.8 if cycle == "tail" else 1.0
    assert learning_rate(recipe, replace(stage_of(stage), annealed=annealed), progress) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prunes", "stage", "progress", "expected"),
    [
        (True, 0, 0.0, 0.1),
        (True, 0, 1.0, 0.1 * (1 - 0.5 / 0.8)),  # the schedule is over where the tail begins
        (True, 1, 1.0, 0.0),
        (True, 2, 0.0, 0.01),
        (True, 2, 0.5, 0.005),
        (True, 2, 1.0, 0.0),
        (False, 0, 0.5, 0.05),
        (False, 1, 0.5, 0.005),
    ],
)
def test_a_tail_follows_a_schedule_that_is_over(prunes: bool, stage: int, progress: float, expected: float) -> None:
    shares = {"dense": 0.5, "pruned": 0.3, "quantized": 0.2}
    recipe = recipe_of(cycle="tail", schedule="linear", learning_rate=0.1, shares=shares)
    found = stages_of(recipe, 100, plan_of(prunes=prunes, quantizes=True))
    assert learning_rate(recipe, found[stage], progress) == pytest.approx(expected, abs=1e-12)


def test_without_a_tail_the_schedule_runs_to_the_end() -> None:
    recipe = recipe_of(cycle="tail", schedule="linear", learning_rate=0.1)
    (dense,) = stages_of(recipe, 100, plan_of(prunes=False, quantizes=False))
    assert learning_rate(recipe, dense, 0.75) == pytest.approx(0.025)


@given(
    st.sampled_from(["whole", "stage"]),
    st.sampled_from(["cosine", "one_cycle"]),
    st.sampled_from(NAMES),
    st.floats(0, 0.99999, allow_subnormal=False),
)
def test_learning_rate_is_positive_and_continuous(cycle: str, schedule: str, name: str, progress: float) -> None:
    recipe = recipe_of(cycle=cycle, schedule=schedule, learning_rate=1.0, batch_norm="folded")
    stage = stage_of(name)
    rate = learning_rate(recipe, stage, progress)
    assert 0 < rate <= (retraining_of(name).peak if cycle == "stage" or name == "quantized" else 1)
    step = 1e-6
    assert abs(learning_rate(recipe, stage, min(progress + step, 1.0)) - rate) <= 8 * step
