"""An existing network of a study: read from code beside the study file, and what begins anew of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from read_networks import of_torchvision
from safetensors.torch import save_file

from nas.errors import InputError
from nas.run_folder.network import begun_anew, code_of, keep_network, refuse_unreadable
from nas.run_folder.paths import RunFolder
from nas.study.file import load_study
from search_spaces.existing import known
from search_spaces.own_code import FOLDERS

STUDY = """
name: own
data: {{source: digits}}
space: {{base: {base}, input_size: {size}, trusted: {trusted}, weights: {weights}, stem: {stem}}}
"""
SOURCE = """
from torch import nn

def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
"""


def study_of(
    folder: Path, base: str, size: int = 8, trusted: str = "true", weights: str = "own", stem: str = "keep"
) -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(base=base, size=size, trusted=trusted, weights=weights, stem=stem))
    return path


def test_code_beside_the_study_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDERS, raising=False)
    name = f"beside_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    study = load_study(study_of(tmp_path, f"{name}:perceptron", trusted="false"))
    assert list(code_of(study)) == []
    with pytest.raises(InputError, match=rf"^space.base: {name}:perceptron would run code of your own"):
        refuse_unreadable(study)
    study = load_study(study_of(tmp_path, f"{name}:perceptron"))
    assert list(code_of(study)) == [f"space.base: runs the code of {name}:perceptron, which the study trusts"]
    refuse_unreadable(study)
    assert list(begun_anew(study, 3)) == []
    assert list(begun_anew(study, 10)) == [
        "space.weights: all but 3, whose shape is another in this network, begin with them"
    ]
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    keep_network(study, folder)
    found = study.space.known(1)  # type: ignore[union-attr]
    (tmp_path / f"{name}.py").unlink()
    for table in ("_blueprints", "_read", "_weights"):
        monkeypatch.setattr(known, table, {})
    again = known.remember_folder(folder.path)
    assert again is not None
    assert (again.blueprint, again.weights) == (found.blueprint, found.weights)
    assert known.weights_of(again.weights) == folder.network_weights


def test_layers_that_were_changed_begin_anew(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(of_torchvision("resnet18", 10).state_dict(), file)
    study = load_study(study_of(tmp_path, "torchvision.resnet18", 32, weights=str(file), stem="small"))
    assert list(begun_anew(study, 10)) == [
        "space.weights: all but conv1, whose shape is another in this network, begin with them"
    ]
    assert "conv1, fc," in next(begun_anew(study, 7))
    assert list(begun_anew(load_study(Path("studies/digits.yaml")), 10)) == []
