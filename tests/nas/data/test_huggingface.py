"""Sets of Hugging Face's `datasets` on disk: Arrow files as `save_to_disk` leaves them, and Parquet files."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas.data import class_count, load
from nas.data.huggingface import list_huggingface
from nas.errors import InputError
from nas.study import Data

has_pyarrow = importlib.util.find_spec("pyarrow") is not None
needs_pyarrow = pytest.mark.skipif(not has_pyarrow, reason="needs pyarrow")
NAMES = ("cat", "dog")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))


def picture(shade: int) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.new("L", (4, 4), shade).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": f"{shade}.png"}


def arrow_table(
    shades: Sequence[int], *, image: str = "image", names: Sequence[str] | None = NAMES, **more: Any
) -> Any:
    import pyarrow

    columns = {image: [picture(shade) for shade in shades], "label": [shade % 2 for shade in shades], **more}
    table = pyarrow.table(columns)
    features = {image: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    written = json.dumps({"info": {"features": features}}) if names else "{}"
    return table.replace_schema_metadata({"huggingface": written})


def save_to_disk(folder: Path, table: Any, *, files: int = 1) -> None:
    """As `Dataset.save_to_disk` does: streams, listed in state.json; files of cached operations lie beside them."""
    from pyarrow import ipc

    folder.mkdir(parents=True)
    step = -(-len(table) // files)
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    for name, start in zip(names, range(0, len(table), step), strict=True):
        with ipc.new_stream(str(folder / name), table.schema) as out:
            out.write_table(table.slice(start, step), max_chunksize=3)
    (folder / "cache-0123.arrow").write_bytes(b"of an operation")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def data(folder: Path, **options: Any) -> Data:
    return Data.model_validate({"source": "huggingface", "path": str(folder), "channels": 1, **options})


def refused(given: Data) -> str:
    with pytest.raises(InputError) as caught:
        load(given, input_size=4, seed=0)
    return str(caught.value)


def shades(images: Any) -> list[int]:
    return [int(shade) for shade in images.images[:, 0, 0, 0]]


@needs_pyarrow
@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_saved_set_with_its_splits(tmp_path: Path, files: int) -> None:
    save_to_disk(tmp_path / "d" / "train", arrow_table(range(20)), files=files)
    save_to_disk(tmp_path / "d" / "validation", arrow_table(range(50, 54)))
    save_to_disk(tmp_path / "d" / "test", arrow_table(range(60, 64)))
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    found = load(data(tmp_path / "d"), input_size=4, seed=0)
    assert found.class_names == NAMES
    assert class_count(data(tmp_path / "d")) == 2
    assert shades(found.train) == list(range(20))
    assert shades(found.validation) == [50, 51, 52, 53]
    assert shades(found.load_test()) == [60, 61, 62, 63]
    assert found.train.labels.tolist() == [shade % 2 for shade in range(20)]


@needs_pyarrow
def test_a_single_saved_set_is_split(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "d", arrow_table(range(20)), files=2)
    found = load(data(tmp_path / "d", validation=0.2, test=0.2), input_size=4, seed=0)
    assert (len(found.train), len(found.validation), len(found.split.test)) == (12, 4, 4)
    assert shades(found.train) == list(found.split.train)


@needs_pyarrow
@pytest.mark.parametrize(
    "names",
    [("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"),
     ("train/0000.parquet", "train/0001.parquet", "test/0000.parquet"),
     ("set-train-0.parquet", "set-train-1.parquet", "set-test.parquet")],
)  # fmt: skip
def test_parquet_files(tmp_path: Path, names: tuple[str, str, str]) -> None:
    from pyarrow import parquet

    tables = [arrow_table(part, image="img", names=None) for part in (range(10), range(10, 20), range(60, 64))]
    for name, table in zip(names, tables, strict=True):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, tmp_path / "d" / name, row_group_size=3)
    found = load(data(tmp_path / "d", validation=0.2), input_size=4, seed=0)
    assert found.class_names == ("0", "1")
    assert shades(found.train) == list(found.split.train)
    assert len(found.train) + len(found.validation) == 20
    assert shades(found.load_test()) == [60, 61, 62, 63]


@needs_pyarrow
def test_columns_by_name_and_groups(tmp_path: Path) -> None:
    labels = [("no", "yes")[i % 2] for i in range(40)]
    table = arrow_table(range(40), image="scan", names=None, finding=labels, patient=[i // 4 for i in range(40)])
    save_to_disk(tmp_path / "d", table)
    columns = {"image": "scan", "label": "finding", "group": "patient"}
    found = load(data(tmp_path / "d", columns=columns, validation=0.2, test=0.2), input_size=4, seed=0)
    assert found.class_names == ("no", "yes")
    parts = [{index // 4 for index in part} for part in (found.split.train, found.split.validation, found.split.test)]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert len(set.union(*parts)) == 10
    for kind, wrong in (("image", "x"), ("label", "y"), ("group", "z")):
        message = refused(data(tmp_path / "d", columns=columns | {kind: wrong}))
        assert message.startswith(f"data.columns.{kind}: expected a column '{wrong}' in {tmp_path / 'd'}, got ")


@needs_pyarrow
def test_pictures_that_are_none_are_named_by_row(tmp_path: Path) -> None:
    import pyarrow

    table = arrow_table(range(60))
    pictures = [{"bytes": b"no image", "path": None} if i == 7 else picture(i) for i in range(60)]
    save_to_disk(tmp_path / "d" / "train", table.set_column(0, "image", pyarrow.array(pictures)))
    for part in ("validation", "test"):
        save_to_disk(tmp_path / "d" / part, arrow_table(range(4)))
    (told,) = load(data(tmp_path / "d"), input_size=4, seed=0).skipped
    assert told.endswith("train row 7: not an image")
    with pytest.raises(OSError, match="cannot identify"):
        list_huggingface(data(tmp_path / "d")).open(7)


@needs_pyarrow
def test_rows_without_a_label_are_named(tmp_path: Path) -> None:
    import pyarrow

    table = arrow_table(range(20), names=None)
    labels = pyarrow.array([None if i == 3 else i % 2 for i in range(20)])
    save_to_disk(tmp_path / "d", table.set_column(1, "label", labels))
    assert "1 bad row(s):\n  train row 3: no label" in refused(data(tmp_path / "d"))
    save_to_disk(tmp_path / "e", arrow_table(range(20), names=("a", "b")).set_column(1, "label", [[2, *[0, 1] * 9, 0]]))
    assert "1 bad row(s):\n  train row 0: expected a class of a, b, or 0 to 1, got '2'" in refused(data(tmp_path / "e"))


@needs_pyarrow
def test_parts_that_are_not_read_are_said(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "d" / "train", arrow_table(range(20)))
    for name in ("extra", "unsupervised"):
        save_to_disk(tmp_path / "d" / name, arrow_table(range(4)))
    (names,) = list_huggingface(data(tmp_path / "d")).left_out.values()
    own = "data-00000-of-00001.arrow"
    assert names == (
        "extra/cache-0123.arrow", f"extra/{own}", "train/cache-0123.arrow", "unsupervised/cache-0123.arrow",
        f"unsupervised/{own}",
    )  # fmt: skip


@needs_pyarrow
def test_folders_that_cannot_serve(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "expected Arrow or Parquet files (.arrow, .parquet) in" in refused(data(tmp_path / "empty"))
    for config in ("one", "two"):
        save_to_disk(tmp_path / "many" / config / "train", arrow_table(range(20)))
    assert "expected one data set in" in refused(data(tmp_path / "many"))
    save_to_disk(tmp_path / "broken", arrow_table(range(20)))
    (tmp_path / "broken" / "data-00000-of-00001.arrow").write_bytes(b"nothing of the kind")
    assert "data-00000-of-00001.arrow: cannot be read: " in refused(data(tmp_path / "broken"))
    save_to_disk(tmp_path / "t" / "test", arrow_table(range(20)))
    assert "expected images of train, got only those of test" in refused(data(tmp_path / "t"))
    save_to_disk(tmp_path / "one", arrow_table(range(20), names=("a",)))
    assert "bad row(s)" in refused(data(tmp_path / "one"))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text("[]")
    (tmp_path / "state" / "x.arrow").touch()
    assert "state.json: expected the state of a saved data set" in refused(data(tmp_path / "state"))


def test_without_pyarrow_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert refused(data(tmp_path)).endswith("not installed here: pip install 'compact-nas[huggingface]'")
