"""A network compressed from end to end: what is written, and that its figures are those of the files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from small_network import DATA, SPACE, Small, know_small
from typer.testing import CliRunner

import nas.commands.compress
import nas.compression.evaluating
import nas.compression.work
from nas import cli
from nas.candidates.candidate import Candidate
from nas.commands.compress import compress
from nas.commands.compress_view import print_comparison
from nas.compression.comparison import Comparison
from nas.compression.evaluating import apart
from nas.compression.folder import ResultFolder
from nas.compression.settings import study_of
from nas.compression.wishes import Asked, Wishes
from nas.compression.work import Work
from nas.data import DataSet, load
from nas.errors import InputError
from nas.run_folder.paths import read_evaluation
from nas.study import Data, Study
from nas.workbench import Workbench
from search_spaces.existing.weights import digest_of

WISHES = Wishes(
    space=SPACE,
    data=DATA,
    ratio=Asked((0.5,)),
    format=Asked(("int8",)),
    epochs=1,
    overrides=["training.batch_size=32", "training.precision=fp32"],
)


@pytest.fixture(autouse=True, scope="module")
def _known() -> None:
    know_small()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, _known: None) -> tuple[Comparison, ResultFolder]:
    folder = tmp_path_factory.mktemp("compressed") / "to"
    found = compress(WISHES, folder, Console(quiet=True), html=True)
    assert found is not None
    return found, ResultFolder(folder)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load(Data.model_validate(DATA), input_size=8, seed=0)


def artifacts(folder: ResultFolder) -> tuple[Path, Path]:
    """The artifact folders of the whole and of the compressed network."""
    found = sorted(folder.work.path.glob("artifacts/*/*/candidate.json"), key=lambda file: len(file.read_text()))
    assert len(found) == 2
    return found[0].parent, found[1].parent


def answers(file: Path, images: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"image": images.astype(np.float32) / np.float32(255)})[0]  # type: ignore[type-arg]
    return found


def test_everything_that_ships_is_there(done: tuple[Comparison, ResultFolder]) -> None:
    _, folder = done
    names = {entry.name for entry in folder.path.iterdir()}
    expected = {"model.onnx", "README.md", "predict.py", "classes.json", "candidate.json", "evaluation.json"}
    assert names == expected | {"network.json", "table.json", "table.html", "study.yaml", "work"}
    compile((folder.path / "predict.py").read_text(), "predict.py", "exec")


def test_the_tables_accuracies_are_those_of_the_files(done: tuple[Comparison, ResultFolder], data: DataSet) -> None:
    """Read by onnxruntime alone."""
    _, folder = done
    told = json.loads(folder.table.read_text())
    parts = {"accuracy": data.validation, "test_accuracy": data.load_test()}
    before, _ = artifacts(folder)
    for when, file in (("before", before / "model.onnx"), ("after", folder.path / "model.onnx")):
        for name, part in parts.items():
            right = (answers(file, part.images).argmax(1) == part.labels).mean()
            assert told[when][name] == pytest.approx(right)
        assert told[when]["size_bytes"] == file.stat().st_size


def test_distances_are_those_of_the_files(done: tuple[Comparison, ResultFolder], data: DataSet) -> None:
    comparison, folder = done
    images = data.validation.images
    before, after = (answers(file / "model.onnx", images) for file in artifacts(folder))
    assert comparison.distance.mse == pytest.approx(((before - after) ** 2).mean(), rel=1e-4)
    first, second = (torch.from_numpy(logits).double().log_softmax(1) for logits in (before, after))
    kl = torch.nn.functional.kl_div(second, first, log_target=True, reduction="batchmean")
    assert comparison.distance.kl == pytest.approx(kl.item(), rel=1e-4)
    assert comparison.distance.images == len(images)


def test_before_is_the_network_with_its_weights(done: tuple[Comparison, ResultFolder], data: DataSet) -> None:
    """The file that was measured answers as torch's own module does with the weights that were kept."""
    _, folder = done
    network = Small()
    weights = load_file(folder.whole)
    assert set(weights) == set(network.state_dict())
    network.load_state_dict(weights)
    mean, std = data.mean_std
    images = torch.from_numpy(data.validation.images).float() / 255
    expected = network.eval()((images - mean) / std).detach().numpy()
    np.testing.assert_allclose(
        answers(artifacts(folder)[0] / "model.onnx", data.validation.images), expected, atol=1e-3
    )


def test_the_compressed_network_begins_with_them(done: tuple[Comparison, ResultFolder]) -> None:
    _, folder = done
    for artifact in artifacts(folder):
        candidate = Candidate.from_json(json.loads((artifact / "candidate.json").read_text()))
        assert candidate.architecture.weights == digest_of(load_file(folder.whole))  # type: ignore[union-attr]


def test_shapes_are_those_that_were_asked_for(done: tuple[Comparison, ResultFolder]) -> None:
    """Convolutions of 16, 32 and 32 channels, halved: by hand."""
    comparison, _ = done
    before, after = comparison.figures
    assert before["parameters"] == 16 * 9 + 16 + 32 * 16 * 9 + 32 + 32 * 32 * 9 + 32 + 330
    assert after["parameters"] == 8 * 9 + 8 + 16 * 8 * 9 + 16 + 16 * 16 * 9 + 16 + 170
    assert after["macs"] == 64 * 8 * 9 + 16 * 16 * 8 * 9 + 16 * 16 * 16 * 9 + 160
    assert [layer.channels for layer in comparison.layers] == [(16, 8), (32, 16), (32, 16), (10, 10)]
    assert {layer.formats for layer in comparison.layers} == {"int8"}
    assert comparison.before.epochs == 0
    assert comparison.after.epochs == 1


def test_the_same_command_does_nothing_again(
    done: tuple[Comparison, ResultFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, folder = done
    monkeypatch.setattr(nas.compression.evaluating, "evaluate_safely", None)
    monkeypatch.setattr(nas.compression.evaluating, "shipped", None)
    again = compress(WISHES, folder.path, Console(quiet=True))
    assert again is not None
    assert again == comparison


def test_after_a_death_the_same_command_goes_on(done: tuple[Comparison, ResultFolder], tmp_path: Path) -> None:
    """What was done before, the training of the whole network and its evaluation, is not done again."""
    comparison, old = done
    folder = ResultFolder(tmp_path / "to")
    shutil.copytree(old.path, folder.path)
    folder.table.unlink()
    first, second = artifacts(folder)
    shutil.rmtree(second)
    kept = {file: file.stat().st_mtime_ns for file in (folder.whole, first / "evaluation.json")}
    again = compress(WISHES, folder.path, Console(quiet=True))
    assert again is not None
    assert folder.table.exists()
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert again.before == comparison.before
    assert again.after.validation == comparison.after.validation  # the same seed, the same network


@pytest.fixture
def begun(done: tuple[Comparison, ResultFolder]) -> Wishes:
    """Wishes for the same network with the weights that it has by now."""
    return replace(WISHES, space={**SPACE, "weights": str(done[1].whole), "stem": "keep"})


def test_one_click_finds_a_plan_that_keeps_to_the_limit(begun: Wishes, tmp_path: Path) -> None:
    wishes = replace(begun, ratio=Asked(), format=Asked(), limits={"size_bytes": 6000.0})
    found = compress(wishes, tmp_path / "to", Console(quiet=True))
    assert found is not None
    _, after = found.figures
    assert 0 < (after["size_bytes"] or 0) <= 6000
    assert {layer.formats for layer in found.layers} == {"int8"}
    folder = ResultFolder(tmp_path / "to")
    assert not folder.whole.exists()  # it had weights: nothing was trained first
    plan = json.loads(folder.plan.read_text())
    assert (plan["format"], plan["rank"]) == ("int8", None)
    assert 0 < plan["ratio"] < 0.75


def test_a_plan_that_breaks_a_limit_is_refused_before_training(begun: Wishes, tmp_path: Path) -> None:
    wishes = replace(begun, limits={"macs": 1000.0})
    with pytest.raises(InputError, match=r"^--max: the plan that is given, int8, 0.5 of .*macs is 60,064 of at"):
        compress(wishes, tmp_path / "to", Console(quiet=True))
    with pytest.raises(InputError, match=r"^--max: no plan keeps to it: with int8, 0.875 of channels"):
        compress(replace(wishes, ratio=Asked()), tmp_path / "to", Console(quiet=True))  # which nothing was begun in


def test_a_plan_that_changes_nothing_is_refused_before_training(tmp_path: Path) -> None:
    wishes = replace(WISHES, ratio=Asked(), format=Asked(("fp32",)))
    given: tuple[dict[str, float], ...] = ({}, {"macs": 1e9}, {})  # in the folder that the one before leaves
    for limits in given:
        with pytest.raises(InputError, match="the plan changes nothing"):
            compress(replace(wishes, limits=limits), tmp_path / "to", Console(quiet=True))
    assert not ResultFolder(tmp_path / "to").whole.exists()


def at_work(wishes: Wishes, folder: ResultFolder, data: DataSet) -> Work:
    folder.work.path.mkdir(parents=True)
    return Work(wishes, folder, Workbench(study_of(wishes, folder.study), data, folder=folder.work))


def test_work_that_was_begun_goes_on_whatever_a_cost_is_measured_as_now(tmp_path: Path, data: DataSet) -> None:
    """A latency is never measured twice alike."""
    work = at_work(replace(WISHES, limits={"macs": 1000.0}), ResultFolder(tmp_path), data)
    with pytest.raises(InputError, match="breaks it"):
        work.planned()
    work.folder.study.touch()
    assert work.planned() is work


def test_files_have_the_last_word_where_forecasts_find_no_plan(
    tmp_path: Path, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.compression.work, "foretold_costs", lambda *_: {"size_bytes": 1e9})
    work = at_work(replace(WISHES, ratio=Asked(), limits={"size_bytes": 6000.0}), ResultFolder(tmp_path), data)
    (ratio,) = work.planned().wishes.ratio.choices
    assert 0 < ratio < 0.75
    assert not (work.folder.work.path / "tried").exists()


def test_logits_are_of_images_in_the_networks_own_size(done: tuple[Comparison, ResultFolder]) -> None:
    """A search may choose a network of another size than that of the network before."""
    comparison, folder = done
    study = study_of(WISHES, folder.study)
    bench = Workbench(study, load(study.data, input_size=16, seed=0))
    assert apart(*artifacts(folder), bench) == comparison.distance


def test_of_a_searchs_front_one_member_is_copied(
    done: tuple[Comparison, ResultFolder], begun: Wishes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search itself is that of `nas run`; here a finished one is put in its place."""
    first, second = artifacts(done[1])
    asked: list[Study] = []

    def search(study: Study, path: Path, _: Console) -> bool:
        asked.append(study)
        for name, artifact in (("whole", first), ("small", second)):
            shutil.copytree(artifact, path / name)
        return True

    members = pd.DataFrame(
        {
            "trial": [0, 1], "id": ["a", "b"], "artifact": ["whole", "small"], "accuracy": [0.9, 0.895],
            "accuracy_se": [0.01, 0.01], "size_bytes": [58000, 7000],
        }
    )  # fmt: skip
    monkeypatch.setattr(nas.commands.compress, "run_study", search)
    monkeypatch.setattr(nas.commands.compress, "write_report", lambda *_: None)
    monkeypatch.setattr(nas.commands.compress, "front_rows", lambda _: members)
    wishes = replace(begun, ratio=Asked((0.0, 0.5)), format=Asked(), trials=6)
    found = compress(wishes, tmp_path / "to", Console(quiet=True))
    assert found is not None
    assert (asked[0].search.trials, asked[0].compression.pruning_ratio) == (6, (0.0, 0.5))
    assert asked[0].training.learning_rate == 0.03  # it begins with weights
    assert (tmp_path / "to" / "model.onnx").read_bytes() == (second / "model.onnx").read_bytes()
    assert found.after.candidate_id == second.parent.name


def test_a_search_that_was_stopped_leaves_no_table(
    begun: Wishes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.commands.compress, "run_study", lambda *_: False)
    wishes = replace(begun, ratio=Asked(), format=Asked(), trials=2)
    assert compress(wishes, tmp_path / "to", Console(quiet=True)) is None
    assert not ResultFolder(tmp_path / "to").table.exists()


def test_the_table_is_whole_on_a_narrow_terminal(done: tuple[Comparison, ResultFolder]) -> None:
    console = Console(width=40, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    print_comparison(console, done[0], layers=True)
    text = console.export_text()
    assert "…" not in text
    for word in ("validation accuracy (%)", "file size (KB)", "conv3", "9\u202f248 -> 2\u202f320"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["net.onnx", "--data", "digits", "--to", "to"], "MODEL: net.onnx: expected the name of a network"),
        (["torchvision.resnet18", "--to", "to"], "--data: expected what to train on"),
        (["torchvision.resnet18", "--data", "digits"], "--to: expected a folder"),
        (["a:b", "--data", "digits", "--to", "to", "--ratio", "2"], "--ratio: expected the share of channels"),
        (["a:b", "--data", "digits", "--to", "to", "--max", "bytes=2"], "--max: expected COST=NUMBER"),
        (["os.path:join", "--data", "digits", "--to", "to"], "space.base: os.path:join would run code of your own"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_clear_error(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(cli.app, ["compress", *arguments])
    assert isinstance(found.exception, InputError)
    assert str(found.exception).startswith(words)
    assert "\n" not in str(found.exception)
    assert not list(tmp_path.iterdir())


def test_evaluations_are_records_like_any_other(done: tuple[Comparison, ResultFolder]) -> None:
    """The test split is read once by each."""
    for artifact in artifacts(done[1]):
        found = read_evaluation(artifact)
        assert found is not None
        assert found.test is not None
        assert found.parity is not None
        assert found.phase == "final"
