"""File names that speak for groups, and those that only seem to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nas.first_study.namings import NAMINGS, Grouped, grouped

SHAPES = ("cat", "dog")


def first(paths: Sequence[str], classes: Sequence[str] | None = None) -> Grouped | None:
    """What the first naming that applies makes of these files, all of each class of two unless given."""
    both = [*paths, *paths] if classes is None else list(paths)
    names = [name for name in SHAPES for _ in paths] if classes is None else list(classes)
    found = (grouped(naming, both, names) for naming in NAMINGS)
    return next((one for one in found if one), None)


def frames(groups: int, size: int, name: str) -> list[str]:
    return [name.format(group=group, frame=frame) for group in range(groups) for frame in range(size)]


@pytest.mark.parametrize(
    ("name", "what", "scope"),
    [
        ("p{group:03}_{frame}.png", "patient", "all"),
        ("Patient-{group}_slice{frame}.png", "patient", "all"),
        ("scan_subject{group:02}_{frame}.jpg", "patient", "all"),
        ("p{group}/{frame}.png", "patient", "all"),
        ("video{group}_{frame:05}.png", "recording", "all"),
        ("cam_{group}-{frame}.jpg", "recording", "all"),
        ("IMG_{group:04}_crop{frame}.jpg", "one picture", "all"),
        ("night{group}_frame_{frame}.jpg", "one picture", "all"),
        ("cat{group}_jpg.rf.0123456789ab{frame}c.jpg", "Roboflow", "all"),
        ("a{group}/{frame}.png", "folder", "class"),
        ("{group:05}_{frame:05}.ppm", "numbered frames", "class"),
        ("night {group} b-{frame}.jpg", "numbered frames", "class"),
    ],
)
def test_names_of_groups(name: str, what: str, scope: str) -> None:
    found = first(frames(6, 4, name))
    assert found is not None
    assert what in found.naming.what
    assert found.naming.scope == scope
    groups = 12 if scope == "class" else 6  # six names, in two classes
    assert len(found.sizes) == groups
    assert found.mean_size == 48 / groups


@pytest.mark.parametrize(
    "paths",
    [
        [f"{i:04}.png" for i in range(20)],
        [f"cat_{i}.png" for i in range(20)],  # the class is no group
        [f"IMG_{i:04}.jpg" for i in range(20)],
        [f"p{i:03}.png" for i in range(20)],  # one picture of each
        [f"{a}_{b}.png" for a in range(6) for b in (3, 17, 40)],  # numbers that do not follow each other
        [*frames(6, 4, "p{group}_{frame}.png"), "other.png"],  # one that belongs to none
        ["2020_1.png", "b.png"],
        [f"map{i}.png" for i in range(20)],
        ["a"],
    ],
)
def test_other_names(paths: list[str]) -> None:
    assert first(paths) is None


def test_frames_of_every_class_are_counted_anew() -> None:
    """00000_00000.ppm of two classes are two films, so each has its numbers in order."""
    paths = frames(5, 3, "{group:05}_{frame:05}.ppm")
    found = first(paths)
    assert found is not None
    assert found.sizes["cat/00000"] == 3


def test_some_frames_may_be_missing() -> None:
    gap = [path for path in frames(10, 4, "{group}_{frame}.png") if path != "3_1.png"]
    assert first(gap) is not None
    many = [path for path in frames(10, 4, "{group}_{frame}.png") if not path.endswith("_1.png")]
    assert first(many) is None
