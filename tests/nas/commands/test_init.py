"""`nas init` on folders of pictures, with a probe that answers at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import nas.commands.probe
from nas import cli
from nas.candidates.corners import extreme_candidates
from nas.commands.check import check_table, warnings_of
from nas.commands.init import Wishes, init
from nas.commands.steps import few_steps
from nas.data.describe import describe
from nas.errors import InputError
from nas.estimate.speed import USUAL, Known, Line, Speed
from nas.executors.environment import worker_environment
from nas.first_study.spaces import Base
from nas.study import Study
from nas.study.file import load_study
from search_spaces.existing.space import ExistingSpace
from search_spaces.own_code import FOLDERS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    for name, own in worker_environment(1).items():  # what init tells torch is not told to other tests
        monkeypatch.setenv(name, own)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def speed_of(study: Study, *, factor: float = 1.0) -> Speed:
    known = tuple(Known(name, one, 0.5) for name, one in extreme_candidates(study).items())
    return Speed({stage: factor * rates for stage, rates in USUAL.items()}, Line(0.5), Line(0.8), known=known)


def draw(root: Path, *, classes: int = 3, count: int = 40) -> Path:
    random = np.random.default_rng(0)
    for label in range(classes):
        (root / f"shape {label}").mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 256, (12, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"shape {label}" / f"{i:03}.png")
    return root


def written(given: str, **options: Any) -> tuple[str, Study, str]:
    """The text of the file, the study it is, and what the terminal showed."""
    out, force = Path(options.pop("out", "study.yaml")), options.pop("force", False)
    probe = options.pop("speed_of", speed_of)
    console = Console(width=120)
    with console.capture() as shown:
        study = init(Wishes(given, out, **options), force=force, console=console, speed_of=probe)
    return out.read_text(encoding="utf-8"), study, shown.get()


def test_a_folder_becomes_a_study_that_check_accepts(here: Path) -> None:
    draw(here / "my shapes")
    text, study, shown = written("my shapes")
    assert load_study(here / "study.yaml") == study
    check_table(study)
    assert not warnings_of(study)
    assert not list(few_steps(study, describe(study)))
    assert study.name == "my-shapes"
    assert (study.data.source, study.data.path) == ("image_folder", "my shapes")
    assert (study.data.channels, study.data.resize, study.data.validation) == (3, "stretch", 0.15)
    assert study.space.input_sizes == (32,)
    for words in ("shape 2", "20 x 12 pixels each, in colour", "A run takes about", "nas run study.yaml", "data.flip"):
        assert words in shown
    assert text.startswith("# Written by nas init for my shapes, 60 min, effort normal")


def test_only_what_is_marked_follows_from_the_machine(here: Path) -> None:
    draw(here / "d")
    first = written("d")[0]
    assert written("d", force=True)[0] == first
    slower = written("d", force=True, speed_of=lambda study: speed_of(study, factor=20))[0]
    assert slower != first

    def without_marked(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.endswith("# (machine)")]

    assert without_marked(slower) == without_marked(first)


def test_a_file_that_is_there_is_left_alone(here: Path) -> None:
    (here / "study.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.yaml: is there already; --force replaces it"):
        written("no such folder")  # said before anything is looked at
    assert (here / "study.yaml").read_text(encoding="utf-8") == "mine"
    written("digits", force=True)
    assert "digits" in (here / "study.yaml").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_said_first(here: Path) -> None:
    (here / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"file/x\.yaml: expected a file that can be written"):
        written("no such folder", out="file/x.yaml")
    with pytest.raises(InputError, match="expected a file that can be written"):
        written("no such folder", out=".", force=True)


@pytest.mark.parametrize("minutes", [float("nan"), float("inf")])
def test_minutes_are_a_number(minutes: float) -> None:
    with pytest.raises(InputError, match=rf"--minutes: expected a number of minutes, got {minutes}"):
        written("no such folder", minutes=minutes)


def test_what_cannot_run_here_is_refused_before_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=r"^training\.device: got cuda"):
        written("digits", overrides=("training.device=cuda",), speed_of=lambda _: pytest.fail("probed"))


def test_a_set_that_is_not_there(here: Path) -> None:
    with pytest.raises(InputError, match=r"^MNIST: expected a folder 'data' that holds MNIST.*data\.path=FOLDER"):
        written("MNIST")
    with pytest.raises(InputError, match=r"^MNIST: expected a folder 'elsewhere'"):
        written("MNIST", overrides=("data.path=elsewhere",))


@pytest.mark.parametrize(
    ("classes", "count", "message"),
    [(0, 0, "got an empty folder"), (1, 5, "pictures"), (2, 0, "without a picture"), (2, 2, "too few images")],
)
def test_data_that_nothing_can_be_learnt_from(here: Path, classes: int, count: int, message: str) -> None:
    (here / "d").mkdir()
    draw(here / "d", classes=classes, count=count)
    with pytest.raises(InputError, match=message) as caught:
        written("d")
    assert not str(caught.value).startswith("data")
    assert not (here / "study.yaml").exists()


def test_damaged_pictures_are_named(here: Path) -> None:
    root = draw(here / "d")
    for i in range(30):
        (root / "shape 1" / f"{i:03}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="30 unreadable image file"):
        written("d")


def test_what_is_asked_for_is_written(here: Path) -> None:
    draw(here / "d")
    text, study, _ = written("d", overrides=("search.trials=3", "data.test=0.3"), effort="quick", out="x/y.yaml")
    assert (study.search.trials, study.data.test) == (3, 0.3)
    assert "# As asked for on the command line.\n  trials: 3\n" in text
    with pytest.raises(InputError, match=r"command line: data\.tset: unknown key"):
        written("d", overrides=("data.tset=0.3",))


def test_a_table_of_labels(here: Path) -> None:
    root = draw(here / "d")
    lines = [f"{file.relative_to(root)};{file.parent.name}" for file in sorted(root.rglob("*.png"))]
    (root / "labels.csv").write_text("\n".join(["file;kind", *lines]), encoding="utf-8")
    _, study, shown = written("d/labels.csv")
    assert (study.data.columns.image, study.data.columns.label) == ("file", "kind")
    assert study.name == "labels"
    assert "Columns as they are understood: image 'file', label 'kind'" in shown


def test_arrays(here: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(here / "a.npz", images=random.integers(0, 256, (90, 28, 28)).astype(np.uint8), labels=np.arange(90) % 3)
    _, study, _ = written("a.npz")
    assert (study.data.source, study.data.channels, study.space.input_sizes) == ("npz", 1, (32,))


def test_groups_are_counted_in_what_is_shown(here: Path) -> None:
    root = draw(here / "d", count=36)
    for file in root.rglob("*.png"):
        number = int(file.stem)
        file.rename(file.with_name(f"patient{number // 4}_{number % 4}.png"))
    _, study, shown = written("d")
    assert study.data.group_scope == "all"
    assert re.search(r"groups: \d in train", shown)


def test_the_command_probes(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(nas.commands.probe, "measure_speed", lambda study, say: speed_of(study))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(
        "sys.argv", ["nas", "init", "digits", "search.finalists=2", "--minutes", "5", "--out", "d.yaml"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    assert "Next:     nas run d.yaml" in capsys.readouterr().out
    assert load_study(here / "d.yaml").search.finalists == 2
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.WRONG_INPUT
    assert capsys.readouterr().err == "d.yaml: is there already; --force replaces it, --out FILE writes another\n"


def test_a_network_that_exists_is_compressed_on_images_that_it_takes(here: Path) -> None:
    draw(here / "shapes")
    text, study, _ = written("shapes", base=Base("torchvision.squeezenet1_1"))
    assert isinstance(study.space, ExistingSpace)
    assert (study.space.base, study.space.weights) == ("torchvision.squeezenet1_1", "none")
    assert study.compression.stage_widths
    assert "\n  # weights: DEFAULT\n" in text
    _, larger, _ = written(
        "shapes", base=Base("torchvision.squeezenet1_1"), overrides=("space.input_size=64",), force=True
    )
    assert larger.space.input_sizes == (64,)


def test_a_network_of_one_size_says_why_it_has_that(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """28 is less than what the pictures suggest, so that it is not the least that the network takes."""
    monkeypatch.setenv(FOLDERS, "")
    (here / "perceptrons_of_28.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))\n"
    )
    draw(here / "shapes")
    base = Base("perceptrons_of_28:net", trusted=True)
    text, study, _ = written("shapes", base=base, overrides=("data.channels=1",))
    assert study.space.input_sizes == (28,)
    assert "the network takes none of 32." in text


def test_threads_are_told_before_the_network_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading imports torch, which takes them from the environment then; the probe comes later."""
    told: list[str | None] = []

    def fitted(*_: object, **__: object) -> int:
        told.append(os.environ.get("OMP_WAIT_POLICY"))
        raise InputError("seen")

    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setattr("nas.commands.init.fitted_size", fitted)
    with pytest.raises(InputError, match="seen"):
        written("digits", base=Base("torchvision.resnet18"))
    assert told == ["passive"]


def test_code_of_the_users_is_not_run_unasked(here: Path) -> None:
    draw(here / "shapes")
    with pytest.raises(InputError, match=r"nets:mine would run code of your own"):
        written("shapes", base=Base("nets:mine"))
    assert not (here / "study.yaml").exists()
