"""A few steps of every stage: as many as asked for, waits left out, the training as it is in a run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from candidates import draw_candidate
from trainings import recipe_of

import nas.commands.timing
from nas.commands.timing import WARM_UP, Steps, short, train_a_little
from nas.data import Images
from nas.recording import Clock
from nas.study import Compression
from nas.training.augmentation import Feed
from nas.training.pipeline import TrainingPipeline
from search_spaces.network import build_network


def test_waiting_is_no_part_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def wait() -> None:
        now[0] += 100

    steps = Steps(wait)
    for _ in range(2):
        steps.between()
        now[0] += 3
    steps.end()
    steps.end()
    assert steps.seconds == [3, 3]


def pipeline_of(tmp_path: Path, images: int = 40) -> tuple[TrainingPipeline, torch.nn.Module]:
    drawn = (draw_candidate("8px", seed, "block")[0] for seed in range(40))
    candidate = next(one for one in drawn if one.plan.kept and one.plan.formats)
    size = candidate.architecture.input_size
    pixels = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8).numpy()
    data = Images(pixels, torch.arange(images).remainder(4).numpy())
    feed = Feed.of(data, torch.device("cpu"), batch_size=8, seed=0)
    recipe = recipe_of(epochs=2, batch_size=8, ema=0.9, distillation={"teacher": "self"})
    network = build_network(candidate.architecture, 4, seed=0)
    return TrainingPipeline(recipe, candidate, feed, 2, tmp_path / "checkpoint.pt"), network


def test_every_stage_is_timed_and_nothing_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.commands.timing, "STEPS", 4)
    pipeline, network = pipeline_of(tmp_path)
    ways: list[None] = []
    clock = Clock()
    finished, plan, seconds = train_a_little(pipeline, network, lambda: ways.append(None), clock)
    assert plan == pipeline.candidate.plan
    assert list(seconds) == ["dense", "pruned", "quantized"]
    assert all(value > 0 for value in seconds.values())
    assert len(ways) == 3 * (WARM_UP + 4)
    assert {"precision", "change"} <= set(clock.seconds)
    assert not list(tmp_path.iterdir())
    assert finished.eval()(torch.zeros(1, 3, *[pipeline.candidate.architecture.input_size] * 2)).shape == (1, 4)


def test_moments_rank_channels_as_in_a_run(tmp_path: Path) -> None:
    pipeline, network = pipeline_of(tmp_path)
    by_moments = replace(pipeline, compression=Compression(importance="momentum"))
    finished, _, _ = train_a_little(by_moments, network, lambda: None, Clock())
    layers = pipeline.candidate.layers(4)
    assert [finished.get_submodule(layer.name).out_channels for layer in layers[:-1]] == [
        layer.out_channels for layer in layers[:-1]
    ]


def test_long_steps_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.commands.timing, "STAGE_SECONDS", 0.0)
    pipeline, network = pipeline_of(tmp_path)
    ways: list[None] = []
    train_a_little(pipeline, network, lambda: ways.append(None), Clock())
    assert len(ways) == 3 * 2 * WARM_UP


def test_a_short_feed_has_the_batches_that_ranges_are_set_from(tmp_path: Path) -> None:
    pipeline, _ = pipeline_of(tmp_path, images=200)
    assert short(pipeline.feed).steps == 8
    assert short(replace(pipeline.feed, batch_size=64)).steps == 4
