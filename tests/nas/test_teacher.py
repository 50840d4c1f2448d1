"""The reference teacher: trained once per run folder, continued after a death; no measurement waits for a pupil."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import nas.teacher
import nas.training.stage_run
from compressors.pipeline import folded
from compressors.plan import CompressionPlan
from nas.built_teacher import bare_teacher
from nas.candidates.corners import extreme_candidates
from nas.commands.refusals import refuse_teachers
from nas.data import load
from nas.errors import InputError, TrainingDiverged
from nas.evaluate import evaluate_safely
from nas.records import Evaluation, State
from nas.run_folder.paths import RunFolder
from nas.runtimes.runtime import runtime_of
from nas.shipping import emit_files, ship
from nas.study import Distillation, Study
from nas.study.file import dump_study
from nas.study.finals import teacher_changes
from nas.tasks import Task
from nas.teacher import teacher_logits, teacher_network, untrained_teacher
from nas.workbench import Workbench, build
from search_spaces.spaces import PRESETS

SPACE = {
    **PRESETS["8px"], "stem_widths": (8,), "head_widths": (8,), "kernels": (3,), "expansions": (1, 2),
    "squeeze_excite": (False,), "activations": ("relu",),
    "stages": ({"depths": (1,), "widths": (8,), "stride": 2},),
}  # fmt: skip


def make_study(*sizes: int, **distillation: Any) -> Study:
    training = {
        "epochs": 2, "batch_size": 64, "ema": {"low": 0.5, "high": 0.9},
        "distillation": {"teacher": "reference", **distillation},
    }  # fmt: skip
    data = {"source": "digits", "train_images": 200}
    space = {**SPACE, **({"input_size": sizes} if sizes else {})}
    return Study.model_validate({"name": "t", "data": data, "space": space, "training": training})


def bench(folder: Path) -> Workbench:
    study = make_study()
    return Workbench(study, load(study.data, input_size=8, seed=0), folder=RunFolder(folder))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(nas.training.stage_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_trained_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = bench(tmp_path)
    logits = teacher_logits(own)
    assert logits.shape == (len(own.data.train), 10)
    assert sorted(file.name for file in (tmp_path / "reference").iterdir()) == [
        "candidate.json", "lock", "logits.npy", "weights.safetensors",
    ]  # fmt: skip
    assert load_file(tmp_path / "reference" / "weights.safetensors")["classifier.weight"].shape[0] == 10
    monkeypatch.setattr(nas.teacher, "train_teacher", lambda *_: pytest.fail("trained twice"))
    assert torch.equal(teacher_logits(bench(tmp_path)), logits)


def test_a_killed_teacher_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = teacher_logits(bench(tmp_path / "whole")) if (tmp_path / "whole").mkdir() is None else None
    (tmp_path / "killed").mkdir()
    steps: list[None] = []

    @contextmanager
    def dying() -> Iterator[Any]:
        def give_way() -> None:
            steps.append(None)
            if len(steps) == 6:  # in the second epoch of four batches each
                raise KeyboardInterrupt

        yield give_way

    monkeypatch.setattr(nas.teacher, "pausing_for_measurements", dying)
    with pytest.raises(KeyboardInterrupt):
        teacher_logits(bench(tmp_path / "killed"))
    assert not (tmp_path / "killed" / "reference" / "logits.npy").exists()
    continued = teacher_logits(bench(tmp_path / "killed"))
    assert len(steps) == 6 + 4
    assert torch.equal(continued, whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["nothing", "weights.safetensors", "candidate.json"])
def test_a_teacher_killed_while_it_is_recorded_is_recorded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """Its logits come last, so that whoever finds them finds all; its last checkpoint saves the training."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = teacher_logits(bench(tmp_path / "whole"))
    write = nas.teacher.write_atomically

    def killed(path: Path, content: Any) -> None:
        if written != "nothing":
            write(path, content)
        if written in ("nothing", path.name):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(nas.teacher, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            teacher_logits(bench(tmp_path / "killed"))
    assert not (tmp_path / "killed" / "reference" / "logits.npy").exists()
    assert torch.equal(teacher_logits(bench(tmp_path / "killed")), whole)
    found = {file.name for file in (tmp_path / "killed" / "reference").iterdir()}
    assert found == {"candidate.json", "lock", "logits.npy", "weights.safetensors"}


# A worker that asks for the teacher when it is told to, and says so when it trains one.
ASKING = """
import sys, time
from pathlib import Path
import numpy as np
import torch
import nas.teacher
from nas.data import load
from nas.run_folder.paths import RunFolder
from nas.study.file import load_study
from nas.workbench import Workbench

def logged(*arguments):
    print("trained", flush=True)
    train(*arguments)
    time.sleep(0.5)

torch.set_num_threads(1)
train, nas.teacher.train_teacher = nas.teacher.train_teacher, logged
folder = RunFolder(Path(sys.argv[1]))
study = load_study(folder.study)
bench = Workbench(study, load(study.data, input_size=8, seed=0), folder=folder)
print("ready", flush=True)
sys.stdin.readline()
np.save(sys.argv[2], nas.teacher.teacher_logits(bench).numpy())
"""


def test_of_two_processes_that_ask_one_trains(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.study.write_text(dump_study(make_study()), encoding="utf-8")
    answers = [tmp_path / f"{name}.npy" for name in ("first", "second")]
    workers = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", ASKING, str(tmp_path), str(answer)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for answer in answers
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("ask\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(said) == ["", "trained\n"]
    first, second = map(np.load, answers)
    assert np.array_equal(first, second)


def test_logits_that_are_not_finite_teach_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    folder.mkdir()
    for poison in (np.nan, np.inf, -np.inf):
        logits = np.zeros((3, 10), np.float32)
        logits[1, 4] = poison
        np.save(folder / "logits.npy", logits)
        with pytest.raises(TrainingDiverged, match="NaN or infinity in the teacher's logits on the training images"):
            teacher_logits(bench(tmp_path))


def test_logits_that_are_not_finite_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite weights may still overflow on an image."""
    monkeypatch.setattr(nas.teacher, "predict", lambda _, images: torch.full((len(images), 10), torch.inf))
    with pytest.raises(TrainingDiverged, match="the teacher's logits"):
        teacher_logits(bench(tmp_path))
    assert not (tmp_path / "reference" / "logits.npy").exists()


def test_a_teacher_that_diverges_leaves_no_logits(tmp_path: Path) -> None:
    own = bench(tmp_path)
    training = own.study.training.model_copy(update={"learning_rate": 1e36})
    own.study = own.study.model_copy(update={"training": training})
    with pytest.raises(TrainingDiverged):
        teacher_logits(own)
    assert not (tmp_path / "reference" / "logits.npy").exists()


def test_who_waits_does_not_hold_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another worker trains the teacher, this one must not stand in the way of a measurement."""
    folder = tmp_path / "reference"
    folder.mkdir()
    np.save(folder / "logits.npy", np.zeros((3, 10), np.float32))
    monkeypatch.setattr(nas.teacher, "pausing_for_measurements", lambda: pytest.fail("gave way with nothing to do"))
    assert teacher_logits(bench(tmp_path)).shape == (3, 10)


def test_a_teacher_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object) -> None:
        raise TrainingDiverged("loss is nan in epoch 3 of the dense stage")

    monkeypatch.setattr(nas.teacher, "train_teacher", diverge)
    own = bench(tmp_path)
    task = Task(
        0, extreme_candidates(own.study)["smallest"], "search", 0, 1, tmp_path / "artifact", training={"ema": 0.5}
    )
    evaluation = evaluate_safely(task, own)
    assert evaluation.state is State.FAILED
    assert evaluation.reason == (
        "the reference teacher failed: training diverged: loss is nan in epoch 3 of the dense stage"
    )
    assert set(evaluation.seconds) >= {"build", "prune", "emit", "measure", "teach"}


def test_other_images_have_a_teacher_of_their_own(tmp_path: Path) -> None:
    """As has another recipe; how much a teacher counts makes no other one."""
    own = bench(tmp_path)
    own.study = make_study(architecture=None)
    few = own._beside(8, 100)
    logits = teacher_logits(few, {"train_images": 100, "teacher_weight": 0.9})
    assert logits.shape == (100, 10)
    assert not (tmp_path / "reference").exists()
    assert teacher_changes({"train_images": 100, "teacher": "reference", "teacher_temperature": 2.0}) == {
        "train_images": 100
    }
    assert torch.equal(teacher_logits(few, {"train_images": 100, "teacher": "reference"}), logits)
    assert len(list(tmp_path.glob("reference*/logits.npy"))) == 1


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_a_finished_file_teaches_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Of the run folder, or anywhere; what it answers on the training images are its logits, and nothing is trained."""
    (tmp_path / "run").mkdir()
    own = bench(tmp_path / "run")
    candidate = extreme_candidates(own.study)["smallest"]
    network = folded(build(candidate, own, seed=1, dropout=0.0).eval(), ())
    artifact = tmp_path / ("run/artifacts/x/final-1" if place == "inside" else "exported")
    files = emit_files(network.cpu(), artifact, own.header, own.study.targets)
    named = "artifacts/x/final-1" if place == "inside" else str(artifact)
    monkeypatch.setattr(nas.teacher, "train_teacher", lambda *_: pytest.fail("trained"))
    logits = teacher_logits(own, {"teacher": named})
    images = own.data.train.images[:7].astype(np.float32) / 255
    runner = runtime_of(own.study.target).open(next(iter(files.values())), own.study.target)
    assert torch.allclose(logits[:7], torch.from_numpy(runner.predict(images)), atol=1e-5)
    assert len(logits) == 200


def test_a_folder_without_a_file_does_not_teach(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"finals.teacher: expected a folder that holds model.onnx, got .*empty"):
        teacher_logits(bench(tmp_path), {"teacher": "empty"})


def guided(folder: Path, **distillation: Any) -> Workbench:
    study = make_study(features_weight=1.0, attention_weight=10.0, **distillation)
    return Workbench(study, load(study.data, input_size=8, seed=0), folder=RunFolder(folder))


def evaluated(own: Workbench, folder: Path) -> Evaluation:
    candidate = extreme_candidates(own.study)["smallest"]
    task = Task(0, candidate, "search", 0, 1, folder, training={"ema": 0.5}, is_constrained=False)
    return evaluate_safely(task, own)


def test_a_trained_teacher_is_itself_again_for_what_it_holds(tmp_path: Path) -> None:
    own = guided(tmp_path)
    logits = teacher_logits(own)
    images = torch.from_numpy(own.data.train.images[:9]) / 255
    network = teacher_network(own)
    assert not network.training
    assert torch.allclose(network(images), logits[:9], atol=1e-5)
    evaluation = evaluated(own, tmp_path / "artifact")
    assert evaluation.state is State.COMPLETE, evaluation.reason


def test_a_finished_float_network_shows_what_it_holds(tmp_path: Path) -> None:
    """One of integers cannot: it is named before a step is made."""
    run = tmp_path / "run"
    run.mkdir()
    plain = bench(run)
    candidate = extreme_candidates(plain.study)["largest"]
    network = folded(build(candidate, plain, seed=1, dropout=0.0).eval(), ()).cpu()
    ship(network, candidate, tmp_path / "exported", header=plain.header, targets=plain.study.targets)
    own = guided(run, teacher=str(tmp_path / "exported"))
    teacher_logits(own)
    images = torch.rand(3, 1, 8, 8)
    assert torch.allclose(teacher_network(own)(images), network(images), atol=1e-6)
    refuse_teachers(own.study, own.folder)
    integers = candidate.model_copy(update={"plan": CompressionPlan(formats={"classifier": "int8"})})
    (tmp_path / "exported" / "candidate.json").write_text(json.dumps(integers.to_json()))
    evaluation = evaluated(own, tmp_path / "artifact")
    assert evaluation.state is State.FAILED
    assert evaluation.reason is not None
    assert "the reference teacher failed: " in evaluation.reason
    assert "expected a float network, whose feature maps can teach, got " in evaluation.reason
    with pytest.raises(InputError, match=r"training.distillation.architecture: expected a float network, .* with int8"):
        refuse_teachers(own.study, own.folder)


@pytest.mark.parametrize("is_finished", [False, True])
def test_a_network_of_torchvision_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_finished: bool) -> None:
    """It is trained as any reference, from its checkpoint on, unless all its weights were given."""
    options = {"teacher": "torchvision.squeezenet1_1", "weights": "none"}
    if is_finished:
        given = bare_teacher(Distillation(**options), 10, 8).network.state_dict()
        save_file(given, tmp_path / "given.safetensors")
        options["weights"] = str(tmp_path / "given.safetensors")
        monkeypatch.setattr(nas.teacher, "train_teacher", lambda *_: pytest.fail("trained"))
    own = guided(tmp_path, **options)
    logits = teacher_logits(own)
    assert logits.shape == (len(own.data.train), 10)
    network = teacher_network(own)
    assert torch.allclose(network(torch.from_numpy(own.data.train.images[:9]) / 255), logits[:9], atol=1e-5)
    if is_finished:
        return
    evaluation = evaluated(own, tmp_path / "artifact")
    assert evaluation.state is State.COMPLETE, evaluation.reason
    assert {file.name for file in (tmp_path / "reference").iterdir()} == {"lock", "logits.npy", "weights.safetensors"}


@pytest.mark.parametrize("teacher", ["reference", "torchvision.squeezenet1_1"])
def test_before_there_is_a_teacher_one_of_its_shape_is_timed(tmp_path: Path, teacher: str) -> None:
    own = guided(tmp_path, teacher=teacher, **({} if teacher == "reference" else {"weights": "none"}))
    network = untrained_teacher(own)
    teacher_logits(own)
    taught = teacher_network(own)
    assert network(torch.rand(2, 1, 8, 8)).shape == taught(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    weights = [{name: p.shape for name, p in net.named_parameters() if p.dim() > 1} for net in (network, taught)]
    assert weights[0] == weights[1]


def of_sizes(folder: Path, *sizes: int, **distillation: Any) -> tuple[Workbench, Workbench]:
    """Benches of students of the larger and of the smaller size."""
    study = make_study(*sizes, features_weight=1.0, **distillation)
    large = Workbench(study, load(study.data, input_size=sizes[-1], seed=0), folder=RunFolder(folder))
    return large, large.at(sizes[0])


def test_smaller_students_are_taught_at_the_teacher_s_own_size(tmp_path: Path) -> None:
    """Its answers to small images are those to the same images, enlarged."""
    large, small = of_sizes(tmp_path, 8, 16)
    logits = teacher_logits(small)
    assert torch.equal(teacher_logits(large), logits)
    images = torch.rand(4, 1, 8, 8)
    enlarged = torch.nn.functional.interpolate(images, size=(16, 16), mode="bilinear")
    network = teacher_network(small)
    assert torch.equal(network(images), network(enlarged))
    assert torch.equal(teacher_network(large)(enlarged), network(images))
    original = torch.from_numpy(large.data.train.images[:9]) / 255
    assert torch.allclose(network(original), logits[:9], atol=1e-5)
    assert evaluated(small, tmp_path / "artifact").state is State.COMPLETE


def test_a_network_of_torchvision_is_the_same_whoever_asks_first(tmp_path: Path) -> None:
    given = bare_teacher(Distillation(teacher="torchvision.squeezenet1_1", weights="none"), 10, 8).network.state_dict()
    save_file(given, tmp_path / "given.safetensors")
    options = {"teacher": "torchvision.squeezenet1_1", "weights": str(tmp_path / "given.safetensors")}
    logits = list[torch.Tensor]()
    for asks in range(2):
        folder = tmp_path / str(asks)
        folder.mkdir()
        benches = of_sizes(folder, 32, 48, **options)
        logits.append(teacher_logits(benches[asks]))
        assert [teacher_network(bench).get_submodule("fitted").size for bench in benches] == [48, 48]
    assert torch.equal(*logits)
