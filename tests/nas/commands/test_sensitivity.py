"""`nas sensitivity` on a run folder made by hand: what it writes, how it goes on, what it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from by_hand import evaluated, make_study
from rich.console import Console
from safetensors.torch import save_file

import nas.commands.sensitivity as command
from compressors.folding import fold_batch_norm
from nas.candidates.candidate import Candidate
from nas.commands.sensitivity import Wishes, changes_of, print_scan, sensitivity
from nas.errors import InputError
from nas.records import State
from nas.run_folder.paths import write_evaluation
from nas.run_folder.sensitivity import CSV_FILE, JSON_FILE, read_scans
from nas.scanning import Changes
from nas.shipping import stored_weights
from nas.study import Compression, Study
from nas.study.file import dump_study
from nas.tasks import Task
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.network import build_network

torch.set_num_threads(1)

ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=8, stride=2, blocks=(InvertedResidualConfig(kernel=3, expansion=2),)),),
    head=None,
)
FEW = Wishes(formats=("int4",), ratios=(0.5,), images=100)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    candidate = Candidate(architecture=ARCHITECTURE)
    artifact = tmp_path / "artifacts" / candidate.id / "search-0"
    task = Task(0, candidate, "search", 0, 8, artifact)
    write_evaluation(artifact, evaluated(task, make_study()))
    (artifact / "candidate.json").write_text(json.dumps(candidate.to_json()))
    save_file(
        stored_weights(fold_batch_norm(build_network(ARCHITECTURE, 10, seed=0))), artifact / "weights.safetensors"
    )
    (tmp_path / "study.yaml").write_text(dump_study(make_study()))
    row = f"0,COMPLETE,{candidate.id},artifacts/{candidate.id}/search-0,16,"
    head = "number,state,id,artifact,params_head.width,params_stage1.depth"
    (tmp_path / "trials.csv").write_text(f"{head}\n{row}\n")
    return tmp_path


def test_every_layer_and_group_is_written(run: Path) -> None:
    told: list[tuple[int, int]] = []
    found = sensitivity(run, "0", FEW, tell=lambda done, total: told.append((done, total)))
    names = [layer.name for layer in Candidate(architecture=ARCHITECTURE).layers(10)]
    assert [(p.kind, p.name, p.value) for p in found.points] == [
        *(("format", name, "int4") for name in names),
        ("ratio", "stage1.block1.inner", 0.5),
    ]
    assert told == [(n + 1, len(names) + 1) for n in range(len(names) + 1)]
    assert read_scans(run / JSON_FILE) == [found]
    assert (run / CSV_FILE).read_text().count("\n") == len(found.points) + 1
    assert (found.trial, found.genes) == ("0", {"head.width": "16"})
    assert found.images <= 100


def test_after_ctrl_c_it_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensitivity(run, "0", FEW, tell=press)
    (half,) = read_scans(run / JSON_FILE)
    assert len(half.points) == 2
    writes: list[int] = []
    monkeypatch.setattr(command, "write_scan", lambda _, scan: writes.append(len(scan.points)))
    found = sensitivity(run, "0", FEW)
    assert found.points[:2] == half.points
    assert writes == [*range(3, len(found.points) + 1), len(found.points)]  # the first two are not made again
    assert sensitivity(run, "0", Wishes(("int4",), (0.5,), 50)).images <= 50


def test_of_a_study_that_searches_numbers(run: Path) -> None:
    searched = {"optimizer": {"choices": ("sgd", "adamw")}, "batch_size": {"choices": (32, 64)}}
    (run / "study.yaml").write_text(dump_study(make_study(training=searched)))
    assert sensitivity(run, "0", FEW).points


def test_a_scan_says_the_trial_s_number_however_it_was_named(run: Path) -> None:
    assert sensitivity(run, Candidate(architecture=ARCHITECTURE).id[:6], FEW).trial == "0"


def test_what_is_asked_for_twice_is_tried_once(run: Path) -> None:
    once, twice = (Wishes(("int4",) * times, (0.5,) * times, 50) for times in (1, 2))
    assert sensitivity(run, "0", twice) == sensitivity(run, "0", once)


def test_the_tables_say_points(run: Path) -> None:
    text = io.StringIO()
    found = sensitivity(run, "0", FEW)
    print_scan(Console(file=text, width=100), found, run)
    printed = text.getvalue()
    assert "stage1.block1.depthwise" in printed
    assert f"{100 * found.accuracy:.2f} %" in printed
    loss = found.loss(found.points[-1])
    assert f"{-100 * loss:+.1f}" in printed or "0.0" in printed


def test_many_values_are_shown_whole(run: Path) -> None:
    text, formats = io.StringIO(), ("int8", "int6", "int5", "int4", "int3", "int2")
    print_scan(Console(file=text, width=60), sensitivity(run, "0", Wishes(formats, (0.5,), 20)), run)
    assert all(f" {fmt} " in text.getvalue() for fmt in formats)
    assert text.getvalue().count("Accuracy by") == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("int9", None), r"--formats: expected some of int8, .*, got 'int9'"),
        (("fp32", None), "got 'fp32'"),
        ((None, "1.0"), r"--ratios: expected numbers above 0, at most 0\.875, got 1"),
        ((None, "0"), "got 0"),
        ((None, "half"), "--ratios: expected numbers, got 'half'"),
    ],
)
def test_impossible_wishes_are_named(run: Path, given: tuple[str | None, str | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sensitivity(run, "0", Wishes.of(*given, 100))


def test_a_trial_that_is_not_there(run: Path) -> None:
    with pytest.raises(InputError, match="TRIAL: expected a complete trial's number"):
        sensitivity(run, "7", FEW)


def test_an_artifact_without_weights(run: Path) -> None:
    next(run.glob("artifacts/*/*/weights.safetensors")).unlink()
    with pytest.raises(InputError, match=r"expected a finished network with its weights\.safetensors"):
        sensitivity(run, "0", FEW)
    assert not (run / JSON_FILE).exists()


def test_an_infeasible_state_is_no_network(run: Path) -> None:
    artifact = next(run.glob("artifacts/*/*"))
    task = Task(0, Candidate(architecture=ARCHITECTURE), "search", 0, 8, artifact)
    write_evaluation(artifact, evaluated(task, make_study(), State.FAILED))
    with pytest.raises(InputError, match="expected a finished network"):
        sensitivity(run, "0", FEW)


def study_with(**compression: object) -> Study:
    study = make_study()
    return study.model_copy(update={"compression": Compression.model_validate(compression)})


@pytest.mark.parametrize(
    ("compression", "formats", "ratios"),
    [
        ({}, ("int8", "int4", "int2"), (0.25, 0.5, 0.75)),
        ({"weight_format": ("int8",)}, ("int8", "int4", "int2"), (0.25, 0.5, 0.75)),
        ({"weight_format": ("fp32", "codebook3")}, ("int8", "int4", "codebook3", "int2"), (0.25, 0.5, 0.75)),
        ({"weight_format": ("int2", "fp32", "int6"), "pruning_ratio": (0.5, 0.0)}, ("int6", "int2"), (0.5,)),
    ],
)
def test_by_default_what_the_study_searches(
    compression: dict[str, object], formats: tuple[str, ...], ratios: tuple[float, ...]
) -> None:
    found = changes_of(study_with(**compression), Candidate(architecture=ARCHITECTURE), Wishes())
    assert found == Changes(formats, ratios, ("stage1.block1.inner",), make_study().space.width_grid)
