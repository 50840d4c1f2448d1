"""Suspected groups: written where names and pictures speak for them, else as a comment with the doubt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.data.image_folder import list_image_folder
from nas.first_study.choices import Choice
from nas.first_study.groups import choose_groups, look_alike
from nas.study import Data

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Folders of noise: pictures of one `group` differ little where `alike`, else as much as any others."""

    def pictures(name: str, *, alike: bool, groups: int = 12, size: int = 3, parts: tuple[str, ...] = ("",)) -> Path:
        random = np.random.default_rng(0)
        for part in parts:
            for label in ("cat", "dog"):
                folder = tmp_path / "d" / part / label
                folder.mkdir(parents=True)
                for group in range(groups):
                    base = random.integers(0, 256, (16, 16))
                    for frame in range(size):
                        own = base if alike else random.integers(0, 256, (16, 16))
                        pixels = np.clip(own + random.integers(-20, 20, (16, 16)), 0, 255).astype(np.uint8)
                        Image.fromarray(pixels).save(folder / name.format(group=group, frame=frame, label=label))
        return tmp_path / "d"

    return pictures


def chosen(root: Path) -> list[Choice]:
    data = Data.model_validate({"source": "image_folder", "path": str(root), "validation": 0.2, "test": 0.2})
    return choose_groups(data, list_image_folder(data), seed=0)


def values(choices: list[Choice]) -> dict[str, Any]:
    return {choice.key: choice.value for choice in choices if not choice.is_suggestion}


def test_frames_that_look_alike_are_groups(draw: Draw) -> None:
    found = chosen(draw("{group:05}_{frame:05}.png", alike=True))
    assert values(found) == {"data.group_pattern": r"^(.+)[_-]\d+\.[^.]+$", "data.group_scope": "class"}
    assert "'00000_00000.png' look like numbered frames: 24 groups of 3 pictures" in found[0].why


def test_numbers_whose_pictures_differ_are_only_suggested(draw: Draw) -> None:
    found = chosen(draw("{group:05}_{frame:05}.png", alike=False))
    assert not values(found)
    assert found[0].is_suggestion
    assert "Not switched on: pictures of one group look hardly more alike" in found[0].why


def test_telling_names_need_no_look(draw: Draw) -> None:
    found = chosen(draw("{label}_patient{group}_{frame}.png", alike=False))
    assert values(found)["data.group_scope"] == "all"


def test_groups_that_cannot_be_split_are_only_suggested(draw: Draw) -> None:
    found = chosen(draw("patient{group}_{frame}.png", alike=True, groups=2))
    assert not values(found)
    assert "Not switched on: " in found[0].why
    assert "too few groups" in found[0].why


def test_parts_that_share_groups_are_told(draw: Draw) -> None:
    found = chosen(draw("patient{group}_{frame}.png", alike=True, parts=("train", "test")))
    assert not values(found)
    assert "in both train and test" in found[0].why


def test_names_without_groups_leave_an_example(draw: Draw) -> None:
    found = chosen(draw("{group}{frame}.png", alike=True))
    assert [choice.is_suggestion for choice in found] == [True]
    assert "File names show no groups" in found[0].why


def test_sources_without_file_names_have_no_groups() -> None:
    from nas.data.digits import list_digits

    assert not choose_groups(Data(source="digits"), list_digits(), seed=0)


def test_few_pairs_say_nothing(draw: Draw) -> None:
    root = draw("{group}_{frame}.png", alike=True, groups=4)
    listing = list_image_folder(Data.model_validate({"source": "image_folder", "path": str(root)}))
    keys = [listing.name(i).rpartition("_")[0] for i in range(len(listing.labels))]
    assert not look_alike(keys, listing)
