"""Damaged metadata beside sound pixels: the pixels are read, turned where the orientation can be read."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from nas.data.decoding import UNREADABLE, Form, decode
from nas.data.pixels import opened, source, upright, without_metadata

Array = np.ndarray[Any, Any]
TURNED = 6  # lies on its side
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)


def exif_of(orientation: int = TURNED) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    exif[0x011A] = 72.0
    return exif


def encoded(suffix: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, suffix, **options)
    return content.getvalue()


def png(*before: tuple[bytes, bytes], after: tuple[tuple[bytes, bytes], ...] = (), spoil_check: bool = False) -> bytes:
    """A PNG with these chunks before and after its pixels."""
    content = encoded("PNG")
    start, end = 33, len(content) - 12  # behind the header, before the end

    def chunks(parts: tuple[tuple[bytes, bytes], ...]) -> bytes:
        return b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ spoil_check)
            for kind, data in parts
        )

    return content[:start] + chunks(before) + content[start:end] + chunks(after) + content[end:]


def negative_rational() -> bytes:
    """EXIF whose resolution is -1/72, a value that cannot be written back."""
    exif = bytearray(exif_of().tobytes())
    at = exif.index(struct.pack(">HH", 0x011A, 5))
    exif[at : at + 4] = struct.pack(">HH", 0x011A, 10)
    offset = 6 + struct.unpack(">I", exif[at + 8 : at + 12])[0]
    exif[offset : offset + 8] = struct.pack(">ii", -1, 72)
    return bytes(exif)


BOMB = zlib.compress(bytes(70 * 1024 * 1024))
PNGS = {
    "text whose check fails": png((b"tEXt", b"a\0hello"), spoil_check=True),
    "check fails behind the pixels": png(after=((b"tEXt", b"a\0hello"),), spoil_check=True),
    "compressed text that is none": png((b"zTXt", b"a\0\0no zlib")),
    "text of seventy megabytes": png((b"iTXt", b"a\0\1\0\0\0" + BOMB)),
    "the same behind the pixels": png(after=((b"zTXt", b"a\0\0" + BOMB),)),
    "a profile that is none": png((b"iCCP", b"sRGB\0\0no zlib")),
    "a profile cut short": png((b"iCCP", b"")),
    "a resolution cut short": png((b"pHYs", b"\0\0")),
    "a gamma cut short": png((b"gAMA", b"\0")),
    "unknown chunks": png((b"zzZz", b"?"), after=((b"zzZz", b"?"),), spoil_check=True),
}


@pytest.mark.parametrize("name", PNGS)
def test_damaged_chunks_of_a_png(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.png").write_bytes(PNGS[name])
    assert np.array_equal(np.asarray(opened(tmp_path / "x.png")), PIXELS)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP"])
def test_an_exif_value_that_cannot_be_written_back(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "WEBP" else {}
    (tmp_path / "x").write_bytes(encoded(suffix, exif=negative_rational(), **options))
    with Image.open(tmp_path / "x") as image:
        unturned = np.asarray(image.convert("RGB"))
    found = np.asarray(upright(opened(tmp_path / "x")))
    assert np.array_equal(found, np.rot90(unturned, -1))


@pytest.mark.parametrize("kind", [0, 2, 4, 5, 7, 12, 99])
def test_an_orientation_of_another_type(tmp_path: Path, kind: int) -> None:
    exif = bytearray(exif_of().tobytes())
    at = exif.index(struct.pack(">HH", 0x0112, 3))
    exif[at : at + 4] = struct.pack(">HH", 0x0112, kind)
    (tmp_path / "x.png").write_bytes(encoded("PNG", exif=bytes(exif)))
    found = np.asarray(upright(opened(tmp_path / "x.png")))
    assert any(np.array_equal(found, expected) for expected in (PIXELS, np.rot90(PIXELS, -1)))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none(tmp_path: Path, value: int) -> None:
    (tmp_path / "x.png").write_bytes(encoded("PNG", exif=exif_of(value)))
    assert np.array_equal(np.asarray(upright(opened(tmp_path / "x.png"))), PIXELS)


@pytest.mark.parametrize("left", [0, 4, 8, 15, 30, 60])
def test_exif_data_cut_short(tmp_path: Path, left: int) -> None:
    for suffix in ("PNG", "JPEG"):
        (tmp_path / "x").write_bytes(encoded(suffix, exif=b"Exif\0\0" + exif_of().tobytes()[6 : 6 + left]))
        assert opened(tmp_path / "x").size == (8, 5)
        assert sorted(upright(opened(tmp_path / "x")).size) == [5, 8]


def test_a_profile_marker_cut_short_in_a_jpeg(tmp_path: Path) -> None:
    whole = encoded("JPEG", exif=exif_of(), quality=100)
    (tmp_path / "x.jpg").write_bytes(whole[:2] + b"\xff\xe2\x00\x0eICC_PROFILE\0" + whole[2:])
    (tmp_path / "y.jpg").write_bytes(whole)
    assert np.array_equal(np.asarray(opened(tmp_path / "x.jpg")), np.asarray(opened(tmp_path / "y.jpg")))
    assert upright(opened(tmp_path / "x.jpg")).size == (5, 8)


@pytest.mark.parametrize("segment", [b"\xff\xe0\0\x06JFIF", b"\xff\xee\0\x08Adobe\0"])
def test_a_segment_cut_short_in_a_jpeg(tmp_path: Path, segment: bytes) -> None:
    whole = encoded("JPEG", exif=exif_of(), quality=100)
    (tmp_path / "x.jpg").write_bytes(whole[:2] + segment + whole[2:])
    (tmp_path / "y.jpg").write_bytes(whole)
    assert np.array_equal(np.asarray(opened(tmp_path / "x.jpg")), np.asarray(opened(tmp_path / "y.jpg")))
    assert upright(opened(tmp_path / "x.jpg")).size == (5, 8)


def test_metadata_cut_short_behind_the_pixels_of_a_webp(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lossless": True, "exif": exif_of().tobytes(), "xmp": b"<x/>" * 9}
    whole = encoded("WEBP", icc_profile=bytes(132), **options)
    (tmp_path / "x.webp").write_bytes(whole[: whole.index(b"XMP ") + 11])
    assert np.array_equal(np.asarray(upright(opened(tmp_path / "x.webp"))), np.rot90(PIXELS, -1))
    (tmp_path / "x.webp").write_bytes(whole[: whole.index(b"EXIF", 30) + 11])
    assert np.array_equal(np.asarray(upright(opened(tmp_path / "x.webp"))), PIXELS)


@pytest.mark.parametrize("entry", [(274, 5, 1, 2**24), (274, 10, 1, 12), (274, 3, 1, 6)])
def test_a_tiff_whose_orientation_or_description_is_none(tmp_path: Path, entry: tuple[int, ...]) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[274] = "description", 6
    whole = encoded("TIFF", tiffinfo=tags)
    for tag, changed in ((270, (270, 5, 2**31, 1)), (274, entry)):
        at = whole.index(struct.pack("<H", tag), struct.unpack("<I", whole[4:8])[0])
        whole = whole[:at] + struct.pack("<HHII", *changed) + whole[at + 12 :]
    (tmp_path / "x.tif").write_bytes(whole + struct.pack("<ii", -1, 72))
    assert np.array_equal(np.asarray(opened(tmp_path / "x.tif")), np.rot90(PIXELS, -1) if entry[1] == 3 else PIXELS)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_damaged_tags_of_a_tiff(tmp_path: Path, compression: str | None) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[282], tags[700] = "description", TiffImagePlugin.IFDRational(72, 1), b"<x/>"
    whole = encoded("TIFF", tiffinfo=tags, compression=compression)
    start = struct.unpack("<I", whole[4:8])[0]
    for tag in (270, 282, 700):
        at = whole.index(struct.pack("<H", tag), start)
        for entry in ((tag, 10, 1, len(whole)), (tag, 5, 2**31, 1), (tag, 4, 3, 8), (tag, 2, 2**32 - 1, 2**32 - 1)):
            changed = whole[:at] + struct.pack("<HHII", *entry) + whole[at + 12 :] + struct.pack("<ii", -1, 72)
            (tmp_path / "x.tif").write_bytes(changed)
            assert np.array_equal(np.asarray(opened(tmp_path / "x.tif")), PIXELS)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_within_chunks(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(png((b"zTXt", b"a\0\0" + zlib.compress(b"hello" * 99)), (b"iCCP", b"p\0\0" + bytes(50))))
    spans = [range(content.index(kind) + 4, content.index(kind) + 20) for kind in (b"zTXt", b"iCCP")]
    for _ in range(chance.choice([1, 5, 50])):
        content[chance.choice(chance.choice(spans))] = chance.randrange(256)
    (tmp_path / "x.png").write_bytes(content)
    assert np.array_equal(np.asarray(opened(tmp_path / "x.png")), PIXELS)


def test_damaged_pixels_are_not_read(tmp_path: Path) -> None:
    for suffix in ("PNG", "JPEG", "WEBP", "TIFF"):
        whole = encoded(suffix)
        (tmp_path / "x").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UNREADABLE):
            decode(opened(tmp_path / "x"), Form(3, 4))


def test_a_file_of_another_kind_stays_as_it_is() -> None:
    assert without_metadata(b"no image") == b"no image"
    assert without_metadata(encoded("GIF")) == encoded("GIF")


def test_the_source_stands_on_its_own(tmp_path: Path) -> None:
    known: dict[str, Any] = {}
    exec("import zlib; from io import BytesIO; from pathlib import Path; from typing import Literal", known)
    exec(f"from PIL import Image\n{source()}", known)
    (tmp_path / "x.png").write_bytes(PNGS["text whose check fails"])
    assert np.array_equal(np.asarray(known["upright"](known["opened"](tmp_path / "x.png"))), PIXELS)
