"""Sizes, shapes and colours of pictures, and the input that suits them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from nas.data.records import Listing
from nas.first_study.pictures import SIZES, Looks, choose_form, in_words, look, preset_size, size_choice, smaller_sizes
from search_spaces.presets import PRESETS


def square(side: int, colour: float = 0.0) -> Looks:
    return Looks((side,) * 3, (side,) * 3, (colour,) * 3)


def listing(images: Sequence[Image.Image | OSError]) -> Listing:
    def opened(index: int) -> Image.Image:
        image = images[index]
        if isinstance(image, OSError):
            raise image
        return image

    labels = np.zeros(len(images), np.int64)
    return Listing(("a", "b"), labels, {"train": np.arange(len(images))}, opened, str)


def coloured(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (20, 10), (200, 100, 50)).convert(mode)


def test_a_look_measures_what_is_seen() -> None:
    turned = coloured()
    turned.getexif()[0x0112] = 6  # lies on its side
    grey = Image.new("RGB", (4, 6), (70, 70, 70))
    deep = Image.fromarray(np.full((6, 4), 40000, np.uint16))
    found = look(listing([turned, grey, OSError("damaged"), deep, Image.new("1", (4, 6))]))
    assert found == Looks((20, 6, 6, 6), (10, 4, 4, 4), (150.0, 0.0, 0.0, 0.0))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_in_any_mode(mode: str) -> None:
    assert not look(listing([coloured(mode)])).is_grey


def test_faint_tints_are_grey_and_few_colours_are_not() -> None:
    assert Looks((9,) * 200, (9,) * 200, (2.9,) * 198 + (90.0,) * 2).is_grey
    assert not Looks((9,) * 200, (9,) * 200, (0.0,) * 197 + (90.0,) * 3).is_grey


def test_no_more_than_a_sample_is_opened_evenly() -> None:
    opened: list[int] = []

    def one(index: int) -> Image.Image:
        opened.append(index)
        return Image.new("L", (8, 8))

    many = Listing(("a", "b"), np.zeros(1000, np.int64), {"train": np.arange(1000)}, one, str, faults={0: "broken"})
    look(many, most=100)
    assert sorted(opened) == list(range(10, 1000, 10))


@pytest.mark.parametrize(
    ("side", "size"), [(5, 8), (10, 8), (11, 32), (28, 32), (40, 32), (300, 224), (5000, 224), (90, 96)]
)
def test_the_smallest_preset_that_shows_most(side: int, size: int) -> None:
    assert preset_size(square(side)) == size


def test_sizes_are_those_of_the_presets_and_may_be_limited() -> None:
    assert {f"{size}px" for size in SIZES} == set(PRESETS)
    assert preset_size(square(300), 96) == 96
    assert preset_size(square(300), 100) == 96
    assert preset_size(square(9), 96) == 8
    assert [size for size in smaller_sizes(96) if size in (8, 32, 96)] == [32]
    assert smaller_sizes(224)[0] == max(size for size in SIZES if size < 224)


def test_grey_and_colour() -> None:
    assert choose_form(square(8))[0].value == 1
    assert choose_form(square(8, 50.0))[0].value == 3
    some = choose_form(Looks((8,) * 4, (8,) * 4, (0.0, 0.0, 0.0, 50.0)))[0]
    assert some.value == 3
    assert "25%" in some.why


def test_shapes() -> None:
    wide = Looks((30,) * 10, (40,) * 10, (0.0,) * 10)
    assert choose_form(wide)[1].value == "stretch"  # all are bent alike
    assert "about 1.3" in choose_form(wide)[1].why
    assert "square" in choose_form(square(9))[1].why
    various = Looks((30, 40) * 10, (40, 30) * 10, (0.0,) * 20)
    assert choose_form(various)[1].value == "letterbox"
    odd_one = Looks((30,) * 20, (30,) * 19 + (90,), (0.0,) * 20)
    assert choose_form(odd_one)[1].value == "stretch"


def test_words() -> None:
    assert in_words(square(8)) == "8 x 8 pixels each, grey (by 3 of them)"
    assert in_words(Looks((4, 8), (3, 6), (9.0, 9.0))) == (
        "3 x 4 to 6 x 8 pixels, typically 5, in colour (by 2 of them)"
    )
    found = size_choice(32, square(300), "; more takes longer", is_timed=True)
    assert (found.value, found.is_timed) == ("32px", True)
    assert found.why.endswith("A typical picture has a side of 300 pixels; more takes longer.")
