"""What is read of a checkpoint: tensors and plain values of a known version, never code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.training.checkpoint import VERSION, load_checkpoint


class Code:
    def __reduce__(self) -> Any:
        return print, ("code of a checkpoint ran",)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_checkpoint_with_code_is_refused(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, state = tmp_path / "checkpoint.pt", {"stage": 0, "epoch": 1, "network": Code()}
    if how == "torch":
        buffer = io.BytesIO()
        torch.save(state, buffer)
        file.write_bytes(buffer.getvalue())
    else:
        file.write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(file)
    assert capsys.readouterr().out == ""


def test_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None


def saved(path: Path, **changes: Any) -> Path:
    """A file with the content of today's checkpoints."""
    names = ("network", "optimizer", "average", "stopping", "teacher")
    content = {"version": VERSION, "stage": 1, "epoch": 2, "steps": [4], "precision": "fp32", **dict.fromkeys(names)}
    torch.save({**content, **changes}, path)
    return path


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    found = load_checkpoint(saved(tmp_path / "a.pt", network={"weight": torch.arange(3)}))
    assert found is not None
    assert (found["stage"], found["epoch"], found["steps"], found["precision"]) == (1, 2, [4], "fp32")
    assert found["network"]["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("version", [0, 1, VERSION + 1, None])
def test_another_version_is_no_checkpoint(tmp_path: Path, version: int | None) -> None:
    assert load_checkpoint(saved(tmp_path / "a.pt", version=version)) is None


def test_version_2_named_the_stage_otherwise(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.pt")
    state = torch.load(file, weights_only=True)
    torch.save({**{k: v for k, v in state.items() if k != "stage"}, "phase": 1, "version": 2}, file)
    assert load_checkpoint(file) == load_checkpoint(saved(tmp_path / "b.pt"))
