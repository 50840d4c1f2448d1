"""Searches from Python: a script as a user writes it, and a run whose workers evaluate by hand."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from by_hand import SPACE, Workers
from own_network import own
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from nas.api import Front, InputError, Stopped, load_run, run_search
from nas.executors.engine import OnThisMachine
from nas.executors.pool import ExecutorSetup
from nas.registry import ENGINES
from nas.report.tables import read_finalists
from search_spaces.existing.space import ExistingSpace

SCRIPT = """\
from sklearn.datasets import load_digits

from nas.api import run_search

digits = load_digits()
images, labels = digits.images[::3] / 16, [f"digit {label}" for label in digits.target[::3]]
front = run_search(
    (images, labels), "8px", objectives=["accuracy", "size_bytes"], trials=1, epochs=1, workers=1, folder="run",
    search={"sampler": "random", "finalists": 1}, baseline=False,
)
print(front[0].path)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Where a script without a main guard was run, what it printed, and what it said on stderr."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "script.py").write_text(SCRIPT)
    ran = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder, ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def front(script: tuple[Path, str, str]) -> Front:
    return load_run(script[0] / "run")


def test_a_script_prints_its_own_words_alone(script: tuple[Path, str, str], front: Front) -> None:
    folder, out, warnings = script
    assert out == f"{front[0].path}\n"
    assert front[0].path.is_relative_to(folder / "run" / "artifacts")
    assert front[0].path.name == "model.onnx"
    assert warnings.startswith("warning: training.epochs: a trial has ")
    assert warnings.count("\n") == 1


def test_a_network_has_the_figures_of_its_file(front: Front) -> None:
    (network,) = front
    row = read_finalists(front.folder).iloc[0]
    assert (network.trial, network.id) == (row["trial"], row["id"])
    assert (network.accuracy, network.test_accuracy) == (row["accuracy"], row["test_accuracy"])
    assert network.costs["size_bytes"] == network.path.stat().st_size
    assert network.candidate.id == network.id
    assert network.costs["macs"] == network.candidate.macs(10)


def test_a_network_predicts_what_its_file_does(front: Front) -> None:
    digits, network = load_digits(), front[0]
    images = (digits.images[:40] / 16).astype(np.float32)
    session = onnxruntime.InferenceSession(network.path)
    pixels = (np.round(images * 255) / 255).astype(np.float32)[:, None]
    (expected,) = session.run(None, {session.get_inputs()[0].name: pixels})
    np.testing.assert_allclose(network.logits(images), expected, rtol=1e-4, atol=1e-5)
    names = [f"digit {number}" for number in range(10)]
    assert network.predict(images).tolist() == [names[best] for best in expected.argmax(axis=1)]
    assert network.classes == tuple(names)


def test_a_network_is_exported_with_its_program(front: Front, tmp_path: Path) -> None:
    files = {file.name for file in front[0].export(tmp_path / "model")}
    assert {"model.onnx", "README.md", "classes.json", "candidate.json"} <= files
    assert (tmp_path / "model" / "model.onnx").read_bytes() == front[0].path.read_bytes()


def test_a_front_is_a_sequence_and_a_table(front: Front) -> None:
    assert list(front) == [front[0]]
    assert front[:1] == (front[0],)
    pd.testing.assert_frame_equal(front.to_frame()[["trial", "accuracy"]], pd.DataFrame(
        {"trial": [front[0].trial], "accuracy": [front[0].accuracy]}
    ))  # fmt: skip
    assert front.objectives == ("accuracy", "size_bytes")
    assert len(front.trials()) == 1
    assert repr(front).splitlines()[1].split() == ["accuracy", "test_accuracy", "size_bytes"]
    assert "<table" in front._repr_html_()


def test_a_front_has_a_page(front: Front) -> None:
    assert front.report().read_text(encoding="utf-8").startswith("<!")


# From here on workers evaluate by hand.

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8)
LABELS = np.arange(120) % 10
Call = Callable[..., Front]


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`run_search` in a folder of its own; `press` is Ctrl-C, by results so far."""
    monkeypatch.chdir(tmp_path)

    def call(press: dict[int, int] | None = None, **given: Any) -> Front:
        def workers(setup: ExecutorSetup) -> Workers:
            return Workers(setup.folder.path, setup.workers, setup.threads, press or {})

        monkeypatch.setitem(ENGINES, "local", OnThisMachine(workers))
        sections = {"search": {"sampler": "nsga2", "finalists": 2, "population": 4}}
        return run_search(**{"data": (IMAGES, LABELS), "space": SPACE, "trials": 4, "epochs": 2, **sections, **given})

    return call


def test_the_same_call_goes_on_and_more_trials_go_on(search: Call) -> None:
    front = search()
    assert front.folder.parent.name == "runs"
    again = search()
    assert again.folder == front.folder
    pd.testing.assert_frame_equal(again.trials(), front.trials())
    more = search(trials=6)
    assert more.folder == front.folder
    complete = more.trials()["state"] == "COMPLETE"
    assert complete.sum() == 6


def test_a_module_is_searched_and_kept_in_the_folder(search: Call) -> None:
    network, choices = own(seen=True), {"pruning_ratio": [0.0, 0.5], "weight_format": ["int8", "fp32"]}
    front = search(space=network, compression=choices)
    assert len(front)
    space = front.study.space
    assert isinstance(space, ExistingSpace)
    assert (space.weights, space.input_sizes) == ("own", (8,))
    assert front.study.compression.stage_widths
    kept = load_file(front.folder / "network.safetensors")
    torch.testing.assert_close(kept["second.weight"], network.second.weight.detach(), rtol=0, atol=0)
    assert search(space=own(seen=True), compression=choices).folder == front.folder
    assert search(space=own(seed=1, seen=True), compression=choices).folder != front.folder


def test_of_a_module_something_is_searched_where_nothing_is_said(search: Call) -> None:
    compression = search(space=own(seen=True)).study.compression
    assert (compression.pruning_ratio, compression.weight_format) == ((0.0, 0.25, 0.5, 0.75), ("int8", "int4"))
    told = search(space=own(seen=True), compression={"pruning_ratio": [0.0, 0.5]}).study.compression
    assert (told.pruning_ratio, told.weight_format, told.stage_widths) == ((0.0, 0.5), ("fp32",), True)


def test_other_images_are_another_run(search: Call) -> None:
    first, second = search(), search(data=(255 - IMAGES, LABELS))
    assert first.folder != second.folder
    search(folder="mine")
    with pytest.raises(InputError, match="holds a run on other images or labels; use another folder"):
        search(data=(255 - IMAGES, LABELS), folder="mine")


def test_another_study_in_the_same_folder_is_refused(search: Call) -> None:
    search(folder="mine")
    with pytest.raises(InputError, match=r"search.seed: 0 -> 1\n.* use another folder\."):
        search(folder="mine", seed=1)


def test_ctrl_c_ends_a_call_as_it_ends_a_program(search: Call, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Stopped, match=r"kept in mine, where the same call goes on") as stopped:
        search({2: 1}, folder="mine")
    assert isinstance(stopped.value, KeyboardInterrupt)
    said = capfd.readouterr()
    assert "Finishing what is running" in said.err
    assert not said.out
    assert 0 < (load_run("mine").trials()["state"] == "COMPLETE").sum() < 4
    with pytest.raises(Stopped):
        search({1: 2}, folder="mine")
    front = search(folder="mine")
    assert (front.trials()["state"] == "COMPLETE").sum() == 4


def test_progress_is_shown_where_it_is_asked_for(search: Call, capfd: pytest.CaptureFixture[str]) -> None:
    search(folder="mine")
    assert not capfd.readouterr().out
    search(folder="yours", progress=True)
    shown = capfd.readouterr().out
    assert "images of data.npz: 10 classes" in shown
    assert "finalists and baseline" in shown


def test_a_call_may_come_from_any_thread(search: Call) -> None:
    found: list[Front] = []
    thread = threading.Thread(target=lambda: found.append(search()))
    thread.start()
    thread.join()
    assert len(found[0])


def test_mistakes_are_told_before_anything_is_written(search: Call, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^objectives\[0\]: expected one of accuracy"):
        search(objectives=["acuracy"])
    with pytest.raises(InputError, match="expected as many labels as images"):
        search(data=(IMAGES, LABELS[1:]))
    assert not list(tmp_path.iterdir())


def test_what_is_no_run_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a run folder, which holds study\.yaml, got none"):
        load_run(tmp_path)
