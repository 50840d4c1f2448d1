"""The plain network: its layers and costs in closed form, at every size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nas.candidates.baseline import baseline_candidate, quantized_baseline, strides
from nas.candidates.candidate import Candidate
from nas.study import Study
from search_spaces.network import build_network


def study_of(size: int | tuple[int, ...], channels: int = 3) -> Study:
    space: dict[str, Any] = {"input_size": size, "stem_widths": (8,), "head_widths": (8,), "kernels": (3,)}
    space |= {"expansions": (1,), "squeeze_excite": (False,), "activations": ("relu",)}
    space |= {"stages": ({"depths": (1,), "widths": (8,)},)}
    data = {"source": "digits"} if channels == 1 else {"source": "image_folder", "path": "x"}
    return Study.model_validate({"name": "t", "data": data, "space": space})


@pytest.mark.parametrize(
    ("size", "expected", "last"),
    [(8, (1, 1, 2), 4), (16, (1, 1, 2), 8), (32, (1, 2, 2), 8), (64, (2, 2, 2), 8), (224, (2, 2, 2), 28)],
)
def test_the_last_layers_halve_until_eight_pixels_are_left(
    size: int, expected: tuple[int, int, int], last: int
) -> None:
    assert strides(size) == expected
    first, second, third, classifier = baseline_candidate(study_of(size)).layers(10)
    assert (first.stride, second.stride, third.stride) == expected
    assert third.output_size == last
    assert classifier.kind == "linear"
    assert [layer.out_channels for layer in (first, second, third)] == [32, 64, 64]


@pytest.mark.parametrize("size", [8, 32, 96])
def test_it_has_57_000_parameters_at_any_size(size: int) -> None:
    """(3 * 9 + 1) * 32, (32 * 9 + 1) * 64, (64 * 9 + 1) * 64 and (64 + 1) * 10."""
    assert baseline_candidate(study_of(size)).parameters(10) == 896 + 18_496 + 36_928 + 650 == 56_970


def test_its_multiply_accumulates_at_32_pixels() -> None:
    convolutions = 32 * 32 * 27 * 32 + 16 * 16 * 288 * 64 + 8 * 8 * 576 * 64
    assert baseline_candidate(study_of(32)).macs(10) == convolutions + 640


def test_it_takes_the_largest_images_of_the_study() -> None:
    candidate = baseline_candidate(study_of((8, 32), channels=1))
    assert (candidate.architecture.input_size, candidate.architecture.input_channels) == (32, 1)
    network = build_network(candidate.architecture, 4, mean=0.5, std=0.2, seed=0, dropout=0.0).eval()
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


def test_the_quantized_one_is_the_same_network_with_int8_weights() -> None:
    study = study_of(16)
    plain, quantized = baseline_candidate(study), quantized_baseline(study)
    assert quantized.architecture == plain.architecture
    assert plain.plan.formats == {}
    assert {quantized.plan.format_of(layer.name) for layer in quantized.layers(10)} == {"int8"}
    assert quantized.plan.kept == {}
    assert quantized.id != plain.id
    assert Candidate.from_json(quantized.to_json()) == quantized
