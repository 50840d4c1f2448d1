"""What MODEL may be called, and what is said of files that are no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.compression.model import name_of, space_of
from nas.errors import InputError


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("net.onnx", "an exported file, whose layers cannot be trained any more; give what builds"),
        (
            "net.pt",
            "a pickled file, which may hold any code and is not opened; .*--weights: safetensors",
        ),
        ("dir/NET.PTH", "a pickled file"),
        ("w.safetensors", "weights without a network; .*and this file with --weights"),
        ("net.py", r"a file of code; give package.module:function"),
        ("study.yaml", "a study, .*with --data"),
    ],
)
def test_a_file_is_refused_with_what_to_give_instead(model: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"^MODEL: {model}: expected the name of a network, got {words}") as error:
        space_of(model)
    assert "\n" not in str(error.value)


def test_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got a file or a folder"):
        space_of(str(tmp_path))
    (tmp_path / "study.yaml").touch()
    with pytest.raises(InputError, match="got a run folder"):
        space_of(str(tmp_path))


def test_weights_and_trust_stand_in_the_space_where_they_are_given() -> None:
    assert space_of("torchvision.vgg16") == {"base": "torchvision.vgg16"}
    told = space_of("my.nets:small", weights="w.safetensors", trusted=True)
    assert told == {"base": "my.nets:small", "weights": "w.safetensors", "trusted": True}


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("torchvision.resnet18", "resnet18"),
        ("my.nets:small_Net", "small-net"),
        ("m:_", "network"),
        ("net", "net"),
        ("netze:größe", "gr--e"),
        ("m:" + "a" * 99, "a" * 80),
    ],
)
def test_a_study_is_called_as_the_network(base: str, name: str) -> None:
    assert name_of({"base": base}) == name
