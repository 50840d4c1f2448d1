"""A GPU that is not there is one error of the study, wherever the study is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_hand import make_study
from rich.console import Console

from nas.commands.run import run
from nas.data import load
from nas.errors import InputError
from nas.training.device import device_of, refuse_missing_device
from nas.workbench import Workbench


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of("auto").type == ("cuda" if there else "cpu")
    assert device_of("cpu").type == "cpu"


def test_a_gpu_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    refuse_missing_device("cuda")
    assert device_of("cuda").type == "cuda"


@pytest.mark.parametrize(("version", "why"), [("12.8", "finds no GPU"), (None, "is built without CUDA")])
def test_a_gpu_that_is_not_there_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, version: str | None, why: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", version)
    for asked in (device_of, refuse_missing_device):
        with pytest.raises(InputError, match=rf"^training\.device: got cuda, but .* {why}; expected auto or cpu here$"):
            asked("cuda")
    refuse_missing_device("auto")
    refuse_missing_device("cpu")


def test_a_run_and_a_worker_refuse_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    study = make_study(training={"device": "cuda"})
    with pytest.raises(InputError, match=r"training\.device"):
        run(study, tmp_path / "run", Console())
    assert not (tmp_path / "run" / "study.yaml").exists()
    with pytest.raises(InputError, match=r"training\.device"):
        _ = Workbench(study, load(study.data, input_size=8, seed=0)).device
