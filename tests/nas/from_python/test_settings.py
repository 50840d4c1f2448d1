"""A call's arguments become a study: sections stand above arguments, and mistakes begin with their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.from_python.images import given_images
from nas.from_python.settings import Sections, folder_for, limits, name_of, plain, settings
from nas.from_python.spaces import given_space
from nas.study import Study

OWN = {"objectives": ["accuracy", "size_bytes"], "search": {"trials": 3, "seed": 0}, "training": {"epochs": 2}}
IMAGES = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]


def made(sections: Any = None, **own: Any) -> Study:
    return settings("a", {"source": "digits"}, {"preset": "8px"}, sections or {}, {**OWN, **own})


def test_sections_stand_above_arguments() -> None:
    study = made({"search": {"trials": 5, "sampler": "random"}, "compression": {"pruning_ratio": [0.0, 0.5]}})
    assert (study.search.trials, study.search.seed, study.search.sampler) == (5, 0, "random")
    assert study.compression.pruning_ratio == (0.0, 0.5)
    assert study.training.epochs == 2


def test_the_sections_that_may_be_given_are_those_that_are_no_arguments() -> None:
    arguments = {"name", "data", "space", "objectives"}
    assert set(Sections.__annotations__) == set(Study.model_fields) - arguments


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"compresion": {}}, "^compresion: unknown key"),
        ({"compression": {"pruning_ratio": [0.0, 1.5]}}, r"^compression.pruning_ratio\[1\]: expected"),
        ({"training": {"epochs": 2.5}}, "^training.epochs: expected"),
        ({"search": 3}, "^search: expected"),
        ({"constraints": {"size": 3}}, "^constraints.size: unknown key"),
    ],
)
def test_a_mistake_begins_with_its_key(sections: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        made(sections)


def test_numbers_of_numpy_and_paths_are_plain() -> None:
    given = {"a": np.int64(3), "b": (np.float32(0.5), Path("x")), "c": np.array([1, 2])}
    assert plain(given) == {"a": 3, "b": [0.5, "x"], "c": [1, 2]}
    assert made({"search": {"trials": np.int64(7)}}).search.trials == 7


def test_bounds_may_be_numbers() -> None:
    assert limits({"size_bytes": 5, "accuracy": 0.9, "macs": {"max": 3}}) == {
        "size_bytes": {"max": 5.0},
        "accuracy": {"min": 0.9},
        "macs": {"max": 3},
    }
    study = made({"constraints": {"size_bytes": 50_000, "accuracy": 0.5}})
    assert study.limits == {"size_bytes": 50_000, "accuracy": 0.5}


@pytest.mark.parametrize(
    ("given", "side", "expected"),
    [
        (None, None, {"preset": "32px"}),
        (None, 8.0, {"preset": "8px"}),
        (None, 28.0, {"preset": "32px"}),
        (None, 1000.0, {"preset": "224px"}),
        ("64px", 8.0, {"preset": "64px"}),
        ("torchvision.resnet18", 32.0, {"base": "torchvision.resnet18", "input_size": 32}),
        ({"base": "torchvision.vgg16"}, 8.0, {"base": "torchvision.vgg16", "input_size": 32}),
        ({"base": "torchvision.resnet18", "input_size": 64}, 32.0, {"base": "torchvision.resnet18", "input_size": 64}),
        ({"family": "mobile", "preset": "8px"}, 8.0, {"family": "mobile", "preset": "8px"}),
    ],
)
def test_spaces(given: Any, side: float | None, expected: dict[str, Any]) -> None:
    assert given_space(given, side).keys == expected


def test_code_by_name_is_run_only_where_it_is_trusted() -> None:
    with pytest.raises(InputError, match=r"space.base: nets:mine would run code of your own.*expected `trusted: true`"):
        given_space("nets:mine", None)


def test_what_is_no_space_is_refused() -> None:
    with pytest.raises(InputError, match=r"^space: expected a preset, .* got int"):
        given_space(32, None)  # type: ignore[arg-type]


def test_a_name_is_its_folders() -> None:
    assert name_of(Path("runs/my run!"), "search") == "my-run"
    assert name_of(Path("runs/..."), "search") == name_of(None, "search") == "search"


def test_calls_that_a_run_does_not_tell_apart_have_one_folder() -> None:
    first = folder_for(made(), "", Path("runs"))
    assert first.parent == Path("runs")
    assert first == folder_for(made({"search": {"trials": 9, "workers": 2}}), "", Path("runs"))
    assert first != folder_for(made({"search": {"seed": 1}}), "", Path("runs"))
    assert first != folder_for(made(), "other images", Path("runs"))


def test_arrays_decide_wherever_they_lie() -> None:
    images = given_images(IMAGES)
    here, there = (
        settings("a", images.section(Path(place)), {"preset": "8px"}, {}, OWN) for place in ("/a.npz", "/b.npz")
    )
    assert folder_for(here, images.digest, Path()) == folder_for(there, images.digest, Path())
    others = given_images((IMAGES[0] + np.uint8(1), IMAGES[1]))
    assert folder_for(here, images.digest, Path()) != folder_for(here, others.digest, Path())


def test_images_say_what_they_are() -> None:
    images = given_images(IMAGES, validation=0.25, test=IMAGES, classes=["a", "b"])
    assert images.section(Path("/x.npz")) == {
        "source": "npz", "path": "/x.npz", "channels": 1, "flip": False, "validation": 0.25,
    }  # fmt: skip
    assert set(images.arrays) == {"images", "labels", "test_images", "test_labels", "classes"}
    assert given_images(IMAGES, flip=True).section(Path("/x.npz"))["flip"] is True


def test_places_say_where_they_are(tmp_path: Path) -> None:
    assert given_images("digits", validation=0.2, flip=True).section(Path()) == {
        "source": "digits", "validation": 0.2, "flip": True,
    }  # fmt: skip
    (tmp_path / "some.npz").touch()
    assert given_images(tmp_path / "some.npz").section(Path()) == {"source": "npz", "path": str(tmp_path / "some.npz")}
    assert given_images({"source": "digits"}).side is None


def test_what_only_arrays_can_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"^test: expected only where data are arrays"):
        given_images("digits", test=IMAGES)
    with pytest.raises(InputError, match=r"^classes: expected only where data are arrays"):
        given_images("digits", classes=["a"])
