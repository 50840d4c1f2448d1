"""The contract of every data source: listing, split, order, classes, refusals. A new row needs one maker here."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from nas.data import class_count, load
from nas.data.sources import SOURCES
from nas.errors import InputError
from nas.study import Data
from nas.study.data import SOURCE_KEYS

CLASSES, PER_CLASS, SIZE = 2, 20, 12


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def pixels(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)


def digits(_: Path) -> dict[str, Any]:
    return {}


def csv(root: Path) -> dict[str, Any]:
    lines = ["image,label"]
    for index, image in enumerate(pixels(CLASSES * PER_CLASS)):
        Image.fromarray(image).save(root / f"{index}.png")
        lines.append(f"{index}.png,class{index % CLASSES}")
    (root / "x.csv").write_text("\n".join(lines))
    return {"path": str(root / "x.csv"), "channels": 1}


def huggingface(root: Path) -> dict[str, Any]:
    parquet = pytest.importorskip("pyarrow.parquet")
    from pyarrow import table

    rows = []
    for image in pixels(CLASSES * PER_CLASS):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": None})
    (root / "set").mkdir()
    columns = {"image": rows, "label": [index % CLASSES for index in range(len(rows))]}
    parquet.write_table(table(columns), root / "set" / "train.parquet")
    return {"path": str(root / "set"), "channels": 1}


def image_folder(root: Path) -> dict[str, Any]:
    for index, image in enumerate(pixels(CLASSES * PER_CLASS)):
        file = root / "images" / f"class{index % CLASSES}" / f"{index:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return {"path": str(root / "images"), "channels": 1}


def npz(root: Path) -> dict[str, Any]:
    count = CLASSES * PER_CLASS
    np.savez(root / "x.npz", images=pixels(count), labels=np.arange(count) % CLASSES)
    return {"path": str(root / "x.npz"), "channels": 1}


def torchvision(root: Path) -> dict[str, Any]:
    """MNIST in its own file format."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 60), ("t10k", 20)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", (np.arange(count) % 10).astype(np.uint8))):
            head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return {"path": str(root), "dataset": "MNIST"}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "csv": csv, "digits": digits, "huggingface": huggingface, "image_folder": image_folder, "npz": npz,
    "torchvision": torchvision,
}  # fmt: skip
every_source = pytest.mark.parametrize("source", SOURCES)


def made(source: str, root: Path, **options: Any) -> Data:
    return Data.model_validate({"source": source, "validation": 0.2, "test": 0.2, **MAKERS[source](root), **options})


def test_a_study_may_name_every_source() -> None:
    assert set(SOURCES) == set(SOURCE_KEYS) == set(get_args(Data.model_fields["source"].annotation))


@every_source
def test_images_and_split(source: str, tmp_path: Path) -> None:
    data = load(made(source, tmp_path), input_size=8, seed=0)
    parts = (data.train, data.validation, data.load_test())
    for part in parts:
        assert part.images.shape == (len(part), 1, 8, 8)
        assert part.images.dtype == np.uint8
        assert set(part.labels.tolist()) == set(range(len(data.class_names)))
    indices = [index for split in (data.split.train, data.split.validation, data.split.test) for index in split]
    assert len(set(indices)) == len(indices) == sum(map(len, parts))


@every_source
def test_classes_are_counted_without_images(source: str, tmp_path: Path) -> None:
    data = made(source, tmp_path)
    assert class_count(data) == len(load(data, input_size=8, seed=0).class_names)


@every_source
def test_the_same_seed_gives_the_same_data(source: str, tmp_path: Path) -> None:
    data = made(source, tmp_path)
    first, again, other = (load(data, input_size=8, seed=seed) for seed in (0, 0, 1))
    assert first.split == again.split
    assert first.split.images == again.split.images == other.split.images
    assert (first.train.images == again.train.images).all()
    assert first.split != other.split


@every_source
def test_a_listing_names_and_opens_every_image(source: str, tmp_path: Path) -> None:
    listing = SOURCES[source].list(made(source, tmp_path))
    count = len(listing.labels)
    assert len({listing.name(index) for index in range(count)}) == count
    assert sorted(int(index) for part in listing.given.values() for index in part) == list(range(count))
    for index in (0, count - 1):
        with listing.open(index) as image:
            assert min(image.size) > 0


@pytest.mark.parametrize("source", [name for name in SOURCES if SOURCE_KEYS[name].path is not None])
def test_what_is_not_there_is_refused(source: str, tmp_path: Path) -> None:
    data = made(source, tmp_path).model_copy(update={"path": str(tmp_path / "nowhere")})
    for read in (lambda: load(data, input_size=8, seed=0), lambda: SOURCES[source].list(data)):
        with pytest.raises(InputError, match=r"^data\.path: .*nowhere"):
            read()
