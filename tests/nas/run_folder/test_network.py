"""An existing network of a study: read from code beside the study file, and what begins anew of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from drafts import dense, residual
from known_networks import study_about
from read_networks import of_torchvision
from safetensors.torch import save_file

from nas.candidates.baseline import baseline_candidate
from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.files import write_atomically
from nas.run_folder.network import begun_anew, code_of, keep_network, network_text, refuse_unreadable
from nas.run_folder.paths import RunFolder
from nas.study.file import dump_study, load_recorded, load_study
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


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process begins: it knows no network."""
    for table in ("_blueprints", "_read", "_weights"):
        monkeypatch.setattr(known, table, {})


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
    forget(monkeypatch)
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


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run folder of a network from code that is gone, in a process that knows none."""
    monkeypatch.delenv(FOLDERS, raising=False)
    name = f"kept_{abs(hash(tmp_path))}"
    code = tmp_path / f"{name}.py"
    code.write_text(SOURCE)
    study = load_study(study_of(tmp_path, f"{name}:perceptron"))
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    keep_network(study, folder)
    write_atomically(folder.study, dump_study(study))
    code.unlink()
    sys.modules.pop(name)
    forget(monkeypatch)
    return folder


def test_a_run_is_read_without_its_code(kept: RunFolder) -> None:
    study = load_recorded(kept.study)
    assert study.space.known(1).blueprint.head == "3"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["network.json", "network.safetensors"])
def test_a_run_without_its_network_is_named_and_no_code_is_run(kept: RunFolder, name: str) -> None:
    (kept.path / name).unlink()
    with pytest.raises(
        InputError, match=rf"^{kept.path}: expected network.json, with network.safetensors .*; got none$"
    ):
        load_recorded(kept.study)


def test_what_a_killed_run_left_is_not_taken_for_the_network(tmp_path: Path) -> None:
    """Its code may have changed before the same command was given again; workers read what is written here."""
    folder = RunFolder(tmp_path)
    keep_network(study_about(residual()), folder)
    study = study_about(dense())
    now = study.space.known(1)  # type: ignore[union-attr]
    keep_network(study, folder)
    again = known.remember_folder(tmp_path)
    assert again is not None
    assert again.blueprint == now.blueprint
    folder.study.write_text("begun")
    keep_network(study_about(residual()), folder)
    assert folder.network.read_text() == known.to_json(study.space.asked(1), now)  # type: ignore[union-attr]


def test_a_record_that_is_copied_alone_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a study names is still to be read: the weights that it begins with are not there."""
    study = study_about(residual())
    candidate = baseline_candidate(study)
    text = network_text(candidate)
    assert text is not None
    (tmp_path / "network.json").write_text(text)
    forget(monkeypatch)
    known.remember_folder(tmp_path)
    assert Candidate.from_json(candidate.to_json()) == candidate
    assert known.known_as(study.space.asked(1)) is None  # type: ignore[union-attr]
    assert network_text(baseline_candidate(load_study(Path("studies/digits.yaml")))) is None
