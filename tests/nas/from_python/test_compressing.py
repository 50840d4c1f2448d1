"""One network compressed by a call: its wishes, and a whole compression of a module in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from own_network import own
from sklearn.datasets import load_digits

from nas.api import Compressed, InputError, Stopped, WorkFailed, compress
from nas.compression.comparison import lines
from nas.errors import CandidateFailed
from nas.executors.stopping import Interrupted
from nas.from_python import compressing
from nas.from_python.compressing import compression_folder, compression_study, overrides, texts, wishes_for

SPACE, DATA = {"base": "torchvision.resnet18", "input_size": 32}, {"source": "digits"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        (0.5, ["0.5"]),
        (np.float32(0.5), ["0.5"]),
        ("int8", ["int8"]),
        ([0.0, 0.5], ["0.0,0.5"]),
        (("int8", "int4"), ["int8,int4"]),
        ([None, "svd:16"], ["none,svd:16"]),
        ({"conv1": 0.25, "fc": None}, ["conv1=0.25", "fc=none"]),
    ],
)
def test_a_value_is_an_option_of_the_command_line(value: Any, expected: list[str]) -> None:
    assert texts(value) == expected


def test_sections_are_keys() -> None:
    given: Any = {"training": {"batch_size": np.int64(64)}, "constraints": {"macs": 5}, "tracking": ["mlflow"]}
    assert list(overrides(given)) == ["training.batch_size=64", "constraints.macs={max: 5.0}", "tracking=[mlflow]"]


def test_the_wishes_of_a_call_are_those_of_the_command() -> None:
    wishes = wishes_for(
        SPACE, DATA, {"training": {"batch_size": 64}}, ratio={"conv1": 0.25}, weight_format="int4",
        limits={"size_bytes": 5e5}, epochs=3, seed=7,
    )  # fmt: skip
    assert (wishes.ratio.layers, wishes.format.choices) == ({"conv1": 0.25}, ("int4",))
    study = compression_study(wishes)
    assert (study.search.seed, study.training.epochs, study.training.batch_size) == (7, 3, 64)
    assert study.limits == {"size_bytes": 5e5}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ratio": 2.0}, r"^ratio: expected the share of channels that go, 0 to 0.875, got '2.0'"),
        ({"weight_format": "int9"}, r"^weight_format: expected one of fp32"),
        ({"rank": "deep"}, r"^rank: expected a rank"),
        ({"limits": {"size": 3}}, r"^limits: expected COST=NUMBER"),
        ({"ratio": [0.0, 0.5]}, r"^ratio: expected one value without trials, got 2 choices"),
        ({"epochs": 0}, r"^training.epochs: expected"),
        ({"importance": "size"}, r"^importance: expected one of l1"),
    ],
)
def test_a_mistake_begins_with_its_argument(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        compression_study(wishes_for(SPACE, DATA, {}, **given))


def test_all_that_a_result_depends_on_decides_its_folder() -> None:
    def fixed(digest: str = "", **given: Any) -> str:
        folder = compression_folder(wishes_for(SPACE, given.pop("data", DATA), {}, **given), digest, Path("runs"))
        assert folder.parent == Path("runs")
        return folder.name

    assert fixed(ratio=0.5) == fixed(ratio=0.5)
    assert len({fixed(), fixed("x"), fixed(ratio=0.5), fixed(ratio={"conv1": 0.5}), fixed(seed=1)}) == 5
    here, there = ({"source": "npz", "path": path} for path in ("/a.npz", "/b.npz"))
    assert fixed("x", data=here) == fixed("x", data=there)
    assert fixed(data=here) != fixed(data=there)


DIGITS = load_digits()
IMAGES, LABELS = DIGITS.images[::4] / 16, DIGITS.target[::4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small") / "small"


@pytest.fixture(scope="module")
def found(folder: Path) -> Compressed:
    return compressed(folder)


def compressed(folder: Path, **given: Any) -> Compressed:
    own_given = {"ratio": 0.5, "weight_format": "int8", "epochs": 1, "folder": folder}
    return compress(own(seen=True), (IMAGES, LABELS), **{**own_given, **given})


def test_figures_are_those_of_the_files(found: Compressed, folder: Path) -> None:
    assert found.path == folder / "model.onnx"
    assert found.after["size_bytes"] == found.path.stat().st_size < (found.before["size_bytes"] or 0)
    network = own()
    assert found.before["parameters"] == sum(p.numel() for p in network.parameters()) - 16  # the norm is folded
    halved = 9 * 8 + 8 + 9 * 8 * 8 + 8 + 8 * 10 + 10
    assert found.after["parameters"] == halved == sum(layer.parameters for layer in found.candidate.layers(10))
    assert {layer: set(formats) for layer, formats in found.layers().groupby("name")["format"]} == {
        name: {"int8"} for name in ("first", "second", "last")
    }


def test_what_it_was_is_the_module_itself(found: Compressed) -> None:
    """Nothing is trained before: the accuracy before is the module's own, on the very images of validation."""
    from nas.data import load

    data = load(found.study.data, input_size=8, seed=0)
    pixels = torch.from_numpy(data.validation.images).float() / 255
    mean, std = data.mean_std
    with torch.no_grad():
        answers = own(seen=True)((pixels - mean) / std).argmax(1).numpy()
    assert found.before["accuracy"] == pytest.approx((answers == data.validation.labels).mean())


def test_it_predicts_what_its_file_does(found: Compressed) -> None:
    session = onnxruntime.InferenceSession(found.path)
    pixels = (np.round(IMAGES[:16] * 255) / 255).astype(np.float32)[:, None]
    (expected,) = session.run(None, {session.get_inputs()[0].name: pixels})
    np.testing.assert_allclose(found.logits(IMAGES[:16]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.predict(IMAGES[:16]), expected.argmax(1))
    assert found.classes == tuple("0123456789")


def test_it_is_shown_as_a_table_and_a_page(found: Compressed) -> None:
    table = found.to_frame()
    assert table.loc["macs", "ratio"] == pytest.approx((found.after["macs"] or 0) / (found.before["macs"] or 1))
    assert repr(found).splitlines()[1].split() == ["figure", "before", "after", "ratio", "times"]
    assert len(repr(found).splitlines()) == 2 + len(list(lines(found.comparison)))
    assert "<table" in found._repr_html_()
    assert "<html" in found.report().read_text(encoding="utf-8")


def test_the_same_call_goes_on_and_another_is_refused(found: Compressed, folder: Path) -> None:
    before = found.path.stat().st_mtime_ns, (folder / "work" / "data.npz").stat().st_mtime_ns
    again = compressed(folder)
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    assert (folder / "work" / "data.npz").stat().st_mtime_ns == before[1]
    with pytest.raises(InputError, match=r"^folder: .* holds what another command began"):
        compressed(folder, ratio=0.25)
    with pytest.raises(InputError, match="holds a run on other images or labels"):
        compress(own(seen=True), (1 - IMAGES, LABELS), ratio=0.5, weight_format="int8", epochs=1, folder=folder)


def test_a_layer_that_there_is_not_is_named_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^ratio: .*secnd"):
        compressed(tmp_path / "x", ratio={"secnd": 0.5})


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KeyboardInterrupt(), Stopped), (Interrupted(), Stopped), (CandidateFailed("NaN"), WorkFailed)],
)
def test_how_a_call_ends_before_its_end(
    error: BaseException, raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(compressing, "compress_into", fails)
    with pytest.raises(raised, match=r"where the same call goes on|the training failed: NaN"):
        compressed(tmp_path / "x")
