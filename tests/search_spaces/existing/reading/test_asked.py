"""What a study says of a network, and what is read of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from read_networks import of_torchvision
from safetensors.torch import save_file
from torchvision.models._api import WeightsEnum

from search_spaces.existing.building import ExistingNetwork, begin_with
from search_spaces.existing.known import Normalization, weights_of
from search_spaces.existing.space import ExistingSpace
from search_spaces.own_code import FOLDERS

torch.set_num_threads(1)
SOURCE = """
from torch import nn

def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))

def random():
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 3)
            self.scale = 1.0
        def forward(self, x):
            self.scale += 1
            return self.fc(x.flatten(1)) if self.scale == 2 else -self.fc(x.flatten(1))
    return Random()
"""


def space(base: str = "torchvision.resnet18", **keys: Any) -> ExistingSpace:
    return ExistingSpace(**{"base": base, "input_size": 32, **keys})


def stem_of(space: ExistingSpace, channels: int = 3) -> Any:
    known = space.known(channels)
    return next(node for node in known.blueprint.nodes if node.op == "conv").fields["stride"]


def test_small_stems_are_for_small_images_and_random_weights(tmp_path: Path) -> None:
    save_file(of_torchvision("resnet18").state_dict(), tmp_path / "w.safetensors")
    assert stem_of(space()) == [1, 1]
    assert stem_of(space(input_size=64)) == [2, 2]
    assert stem_of(space(input_size=(32, 64))) == [2, 2]
    assert stem_of(space(stem="keep")) == [2, 2]
    assert stem_of(space(stem="small", input_size=64)) == [1, 1]
    assert stem_of(space(weights=str(tmp_path / "w.safetensors"))) == [2, 2]
    assert stem_of(space("torchvision.mobilenet_v2")) == [2, 2]


def test_grey_images_are_repeated() -> None:
    grey, colour = space().known(1).blueprint, space().known(3).blueprint
    assert (grey.input_channels, colour.input_channels) == (1, 3)
    assert grey.nodes[0].fields == {"channels": [0, 0, 0]}
    assert ExistingNetwork(grey, 4).eval()(torch.rand(1, 1, 32, 32)).shape == (1, 4)


def test_a_normalisation_of_each_channel_repeats_grey_images_itself() -> None:
    pixels = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.2]}
    known = space(pixels=pixels).known(1)
    assert known.normalization == Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.2))
    assert known.blueprint.input_channels == 3


def test_how_pixels_are_normalised() -> None:
    assert space(pixels="data").known(3).normalization is None
    assert space().known(3).normalization is None
    assert space(pixels="none").known(3).normalization == Normalization((0.0,), (1.0,))
    assert space(pixels={"mean": [0.5], "std": [0.25]}).known(3).normalization == Normalization((0.5,), (0.25,))


def test_weights_from_a_file(tmp_path: Path) -> None:
    network = of_torchvision("resnet18", 5)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    known = space(weights=str(tmp_path / "w.safetensors")).known(3)
    rebuilt, images = ExistingNetwork(known.blueprint, 5).eval(), torch.rand(2, 3, 32, 32)
    begin_with(rebuilt, weights_of(known.weights))
    with torch.no_grad():
        assert torch.allclose(rebuilt(images), network(images), atol=1e-5)
    assert space().known(3).weights == ""
    linear = space("torchvision.resnet18", weights=str(tmp_path / "w.safetensors"), head="linear").known(3)
    assert linear.weights == known.weights


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"asked_networks_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    return name


def test_the_weights_that_a_function_comes_with(own: str) -> None:
    keys: dict[str, Any] = {"input_size": 8, "trusted": True}
    known = space(f"{own}:perceptron", weights="own", **keys).known(1)
    assert set(weights_of(known.weights)) == {"1.weight", "1.bias", "3.weight", "3.bias"}  # type: ignore[union-attr]
    assert space(f"{own}:perceptron", **keys).known(1).weights == ""


@pytest.mark.parametrize(
    ("keys", "channels", "said"),
    [
        ({"base": "torchvision.resnet81"}, 3, r"^space.base: expected torchvision. and the name of a classifier"),
        ({"base": "torchvision.swin_t"}, 3, r"^space.base: features.0.2 \(LayerNorm\): is none of the layers"),
        ({"base": "{m}:perceptron", "trusted": False}, 1, r"^space.base: {m}:perceptron would run code of your own"),
        ({"base": "{m}:perceptron", "input_size": 16}, 1, r"^space.base: the network cannot take images of 16x16 pixe"),
        ({"base": "{m}:perceptron", "input_size": 8}, 3, r"^space.base: reads images of 1 channel, while the data's h"),
        ({"base": "{m}:random", "input_size": 8}, 1, r"^space.base: the network \(Random\): computes something else"),
        ({"base": "{m}:perceptron", "input_size": 8, "weights": "DEFAULT"}, 1, r"^space.weights: expected none, own o"),
        ({"base": "{m}:perceptron", "input_size": 8, "head": "linear"}, 1, r"^space.head: the network: has no feature"),
        ({"base": "{m}:perceptron", "input_size": 8, "stem": "small"}, 1, r"^space.stem: the network: its first convo"),
        ({"weights": "own"}, 3, r"^space.weights: expected none, DEFAULT or a file, got own: torchvision.resnet18 com"),
        ({"weights": "no.pth"}, 3, r"^space.weights: expected DEFAULT, none or a file of weights, got no.pth"),
        ({"pixels": {"mean": [0.5, 0.5], "std": [1.0, 1.0]}}, 3, r"^space.pixels: expected one or three numbers for b"),
        ({"pixels": {"mean": [0.5], "std": [0.0]}}, 3, r"^space.pixels: expected a positive std, got \[0.0\]"),
        ({"base": "{m}:perceptron", "input_size": 8, "pixels": {"mean": [0.5] * 3, "std": [0.2] * 3}}, 1,
         r"^space.base: reads images of 1 channel, while space.pixels normalises 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_told_with_its_key(own: str, keys: dict[str, Any], channels: int, said: str) -> None:
    keys = {"trusted": True, **keys}
    if "base" in keys:
        keys["base"] = keys["base"].format(m=own)
    with pytest.raises(ValueError, match=said.format(m=own) if "{m}" in said else said):
        space(**keys).known(channels)


def test_without_a_network_the_download_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: WeightsEnum, **keys: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(
        ValueError, match=r"^space.weights: those of torchvision.resnet18 could not be downloaded from http"
    ):
        space(weights="DEFAULT").known(3)


def test_pretrained_weights_keep_the_stem_and_bring_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {**of_torchvision("resnet18", 1000).state_dict()}
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **keys: state)
    known = space(weights="DEFAULT").known(3)
    assert known.normalization == Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert next(node for node in known.blueprint.nodes if node.op == "conv").fields["stride"] == [2, 2]
    assert set(weights_of(known.weights)) == set(state)  # type: ignore[arg-type]
