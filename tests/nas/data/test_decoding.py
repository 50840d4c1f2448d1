"""Decoding: every mode, orientation and shape to uint8 (C, size, size)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nas.data.decoding import UNREADABLE, Form, Resize, decode, reason_of

Array = np.ndarray[Any, Any]
GREY, COLOUR = Form(1, 4), Form(3, 4)


def saved(image: Image.Image, file: Path, form: Form, **options: Any) -> Array:
    """What decoding gives for an image written to `file`."""
    image.save(file, **options)
    with Image.open(file) as opened:
        return decode(opened, form)


@pytest.mark.parametrize("shade", [0, 1, 128, 255])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path: Path, shade: int, suffix: str) -> None:
    image = Image.fromarray(np.full((4, 4), 257 * shade, np.uint16))
    assert (saved(image, tmp_path / f"x.{suffix}", GREY) == shade).all()
    assert (saved(image, tmp_path / f"x.{suffix}", COLOUR) == shade).all()


def test_sixteen_bits_are_rounded_to_the_nearest() -> None:
    samples = np.array([[0, 128, 129, 65535]] * 4, np.uint16)
    assert decode(Image.fromarray(samples), GREY)[0, 0].tolist() == [0, 0, 1, 255]
    assert decode(Image.fromarray(samples.astype(np.int32)), GREY)[0, 0].tolist() == [0, 0, 1, 255]


def test_samples_without_a_known_white_are_refused() -> None:
    with pytest.raises(ValueError, match="8 or 16 bits, got 0 to 70000"):
        decode(Image.fromarray(np.array([[0, 70000]], np.int32)), GREY)
    with pytest.raises(ValueError, match="8 or 16 bits, got -1 to 5"):
        decode(Image.fromarray(np.array([[-1, 5]], np.int32)), GREY)
    with pytest.raises(ValueError, match="got floating point"):
        decode(Image.fromarray(np.zeros((2, 2), np.float32)), GREY)


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (200, 100, 50)), ("LA", (200,))])
@pytest.mark.parametrize("alpha", [0, 51, 255])
def test_what_is_transparent_lies_over_black(tmp_path: Path, mode: str, colour: tuple[int, ...], alpha: int) -> None:
    found = saved(Image.new(mode, (4, 4), (*colour, alpha)), tmp_path / "x.png", COLOUR)
    expected = np.array(colour if len(colour) == 3 else colour * 3) * alpha / 255
    assert np.abs(found - expected[:, None, None]).max() <= 1


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)
    found = saved(image, tmp_path / "x.png", COLOUR, transparency=0)
    assert found[:, 0, 0].tolist() == [0, 0, 0]
    assert found[:, 1, 1].tolist() == [0, 255, 0]
    assert saved(image, tmp_path / "y.png", COLOUR)[:, 0, 0].tolist() == [255, 0, 0]


def test_a_transparent_colour_without_alpha(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (9, 200, 9))
    assert saved(image, tmp_path / "x.png", COLOUR, transparency=(9, 200, 9)).max() == 0


def test_cmyk_is_shown_as_colours(tmp_path: Path) -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    found = saved(red, tmp_path / "x.jpg", COLOUR, quality=100)[:, 2, 2]
    assert found[0] > 240
    assert found[1:].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_camera_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((4, 4), np.uint8)
    upright[0], upright[:, 3] = 255, 120
    # What a camera stores so that the orientation tag brings it upright again.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(saved(image, tmp_path / "x.png", GREY, exif=exif)[0], upright)


def test_damaged_exif_data_beside_sound_pixels(tmp_path: Path) -> None:
    image = Image.new("L", (4, 4), 255)
    assert (saved(image, tmp_path / "x.jpg", GREY, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f") == 255).all()
    assert (saved(image, tmp_path / "y.jpg", GREY, exif=b"Exif\x00\x00no tags") == 255).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif", "png"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), (shade,) * 3) for shade in (255, 0, 120)]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / f"x.{suffix}") as opened:
        assert opened.n_frames == 3  # type: ignore[attr-defined]
        assert decode(opened, COLOUR).min() == 255


def test_stretch_crop_and_letterbox_of_a_wide_image() -> None:
    wide = np.zeros((8, 16), np.uint8)
    wide[:, :4], wide[:, 4:12], wide[:, 12:] = 90, 180, 250
    image = Image.fromarray(wide)
    stretched, cropped, boxed = (decode(image, Form(1, 8, resize))[0] for resize in ("stretch", "crop", "letterbox"))
    assert stretched[:, 0].max() < 100
    assert stretched[:, 7].min() > 240
    assert (cropped == 180).all()  # exactly the middle square
    assert (boxed[:2].max(), boxed[6:].max()) == (0, 0)
    assert boxed[2:6].min() >= 85


@given(
    width=st.integers(1, 40), height=st.integers(1, 40), size=st.integers(1, 24), channels=st.sampled_from([1, 3]),
    resize=st.sampled_from(["stretch", "crop", "letterbox"]),
)  # fmt: skip
def test_any_shape_gives_the_same_form(width: int, height: int, size: int, channels: int, resize: Resize) -> None:
    found = decode(Image.new("RGB", (width, height), (255, 255, 255)), Form(channels, size, resize))
    assert (found.shape, found.dtype) == ((channels, size, size), np.uint8)
    assert set(np.unique(found)) <= ({0, 255} if resize == "letterbox" else {255})
    if resize == "letterbox":  # the long side fills the square, the short one keeps its share
        shown = (found[0].max(1) > 0).sum(), (found[0].max(0) > 0).sum()
        expected = [max(1, round(side * size / max(width, height))) for side in (height, width)]
        assert list(shown) == expected


def test_square_images_are_the_same_in_every_way() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    first, *others = (decode(noise, Form(3, 8, resize)) for resize in ("stretch", "crop", "letterbox"))
    assert all(np.array_equal(first, other) for other in others)
    assert np.array_equal(decode(noise, Form(3, 12)), np.asarray(noise).transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "webp", "gif"])
def test_truncated_files_raise_what_is_caught(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = tmp_path / f"x.{suffix}"
    Image.fromarray(noise).save(file)
    whole = file.read_bytes()
    for share in (0.1, 0.5, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UNREADABLE) as caught, Image.open(file) as opened:
            decode(opened, COLOUR)
        assert reason_of(caught.value)
