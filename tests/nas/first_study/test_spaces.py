"""What a first study searches: a preset, or a network that exists already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nas.first_study.choices import settings_of
from nas.first_study.document import document
from nas.first_study.pictures import Looks, size_choice
from nas.first_study.spaces import Base, space_choices
from nas.study.file import parse_study

LOOKS = Looks((40,), (40,), (9.0,))


def test_without_a_base_it_is_the_preset() -> None:
    assert space_choices(32, LOOKS, "", base=None, is_timed=True) == [size_choice(32, LOOKS, "", is_timed=True)]


def test_a_base_has_images_of_a_size() -> None:
    choices = space_choices(28, LOOKS, "; larger takes longer", base=Base("torchvision.resnet18"), is_timed=False)
    assert settings_of(choices)["space"] == {"base": "torchvision.resnet18", "input_size": 28}
    assert next(choice.why for choice in choices if choice.key == "space.input_size").endswith("; larger takes longer.")


@pytest.mark.parametrize(("name", "weights"), [("torchvision.resnet18", "DEFAULT"), ("nets:mine", "own")])
def test_weights_are_a_suggestion(name: str, weights: str) -> None:
    *_, last = space_choices(32, LOOKS, "", base=Base(name), is_timed=False)
    assert (last.key, last.value, last.is_suggestion) == ("space.weights", weights, True)


def test_trust_is_written_only_where_it_was_given() -> None:
    found = [settings_of(space_choices(32, LOOKS, "", base=Base("nets:mine", trusted), is_timed=False))["space"]
             for trusted in (False, True)]  # fmt: skip
    assert [space.get("trusted") for space in found] == [None, True]


def test_the_text_is_a_study_with_its_suggestion_switched_on(tmp_path: Path) -> None:
    choices = space_choices(32, LOOKS, "", base=Base("torchvision.vgg16_bn"), is_timed=False)
    on = [replace(choice, is_suggestion=False) for choice in choices]
    text = document(on, "heading") + "name: x\ndata: {source: digits}\n"
    space = parse_study(text, tmp_path / "x.yaml").space
    assert (space.family, space.weights, space.input_sizes) == ("existing", "DEFAULT", (32,))  # type: ignore[union-attr]
