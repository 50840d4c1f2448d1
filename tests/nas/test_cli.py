"""The command line: every mistake is one message and exit code 2; a run from the study file to the exported network."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from agents import TOKEN, MadeUp, server
from PIL import Image

from nas import cli
from nas.command_line.ending import there
from nas.commands import preparation
from nas.errors import InputError
from nas.executors.stopping import Interrupted
from nas.files import sha256_of, sole_holder
from nas.measuring.agent.server import AgentServer
from nas.measuring.latency import PROTOCOL
from nas.records import State
from nas.run_folder.rows import TrialRow
from nas.runtimes.onnx.control import control_file
from nas.study.file import CHANGEABLE

STUDIES = Path(__file__).parents[2] / "studies"
STUDY = """\
name: tiny
data: {source: digits, train_images: 150}
space: {preset: 8px, kernels: [3], expansions: [1, 2], squeeze_excite: [false], activations: [relu]}
compression: {pruning_ratio: [0.0, 0.5], weight_format: [int8, fp32], granularity: network}
objectives: [accuracy, parameters, size_bytes]
search: {sampler: random, trials: 3, workers: 2, finalists: 2}
training: {epochs: 2, batch_size: 32}
baseline: false
"""


@dataclass
class Said:
    code: int
    out: str
    err: str


Nas = Callable[..., Said]


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nas:
    """The command within this process, entered where the installed script enters."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capfd.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
        said = capfd.readouterr()
        return Said(code or 0, said.out, said.err)

    return run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY)
    return file


def assert_wrong_input(said: Said, *expected: str) -> None:
    assert (said.code, said.out) == (2, "")
    assert "Traceback" not in said.err
    for words in expected:
        assert words in said.err


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


# Single commands


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, MadeUp]]:
    """The address of an agent whose measuring is made up, with its token in the environment."""
    monkeypatch.setenv("COMPACT_NAS_AGENT_TOKEN", TOKEN)
    monkeypatch.setattr(AgentServer, "note", lambda *_: None)  # its log is of another process
    bench = MadeUp()
    with server(bench) as found:
        yield f"http://127.0.0.1:{found.server_address[1]}", bench


def test_a_file_is_measured_on_a_device(nas: Nas, tmp_path: Path, device: tuple[str, MadeUp]) -> None:
    url, bench = device
    (file := tmp_path / "model.onnx").write_bytes(control_file())
    fingerprint = {
        "device": "Cortex-A76", "instruction_sets": [], "runtime": "r", "provider": "p", "threads": 2, "batch": 1
    }  # fmt: skip
    latency = {"latency_ms": 12.5, "stable": True, "control_ms": 1.0, "fingerprint": fingerprint, "passes_us": [[1.0]]}
    bench.answers.append({"sha256": sha256_of(file), "latency": {**latency, "protocol": PROTOCOL}})
    said = nas("measure", file, "--agent", url, "--threads", 2, "--format", "json")
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    assert (told["latency_ms"], told["fingerprint"]["device"], told["macs"]) == (12.5, "Cortex-A76", 589824)
    assert bench.asked == [("/measure", file.read_bytes())]
    bench.answers.append({"sha256": sha256_of(file), "refused": "no kernel"})
    refused = nas("measure", file, "--agent", url)
    assert_wrong_input(refused, f"{file}: the agent's runtime cannot run it: on cpu: no kernel")
    assert_wrong_input(nas("measure", file, "--agent", "cam:1"), "--agent: expected http://host:port")


def test_an_agent_that_cannot_be_used_is_a_warning_of_check_and_the_end_of_a_run(
    nas: Nas, study: Path, tmp_path: Path, device: tuple[str, MadeUp], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = device
    study.write_text(f"{STUDY}targets: [{{name: cpu}}, {{name: cam, agent: '{url}'}}]\n")
    monkeypatch.setenv("COMPACT_NAS_AGENT_TOKEN_CAM", "another-token-than-the-agents")
    words = f"the agent at {url} does not know the token"
    checked = nas("check", study)
    assert (checked.code, checked.err) == (0, "")
    assert f"warning: targets[1].agent: {words}" in checked.out
    ended = nas("run", study, "--out", tmp_path / "run")
    assert (ended.code, ended.err.strip()) == (1, words)
    assert not (tmp_path / "run" / "study.log").exists()
    monkeypatch.delenv("COMPACT_NAS_AGENT_TOKEN_CAM")
    monkeypatch.delenv("COMPACT_NAS_AGENT_TOKEN")
    assert_wrong_input(nas("run", study, "--out", tmp_path / "run"), "target 'cam': set COMPACT_NAS_AGENT_TOKEN_CAM or")


def test_check(nas: Nas, study: Path) -> None:
    said = nas("check", study, "search.trials=7", "training.batch_size=4", "training.epochs=20")
    assert (said.code, said.err) == (0, "")
    for words in (
        "tiny: about 10^",
        "7 trials",
        "smallest",
        "middle",
        "largest",
        "(scikit-learn): 10 classes",
        "validation",
    ):
        assert words in said.out
    assert "a trial: " in said.out
    assert "warning" not in said.out


def test_threads_are_told_before_a_network_is_read(nas: Nas, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading imports torch, which takes them from the environment then."""
    told: list[str | None] = []

    def read(_: object) -> None:
        told.append(os.environ.get("OMP_NUM_THREADS"))
        raise InputError("seen")

    monkeypatch.setattr("nas.run_folder.network.refuse_unreadable", read)
    for options in ([], ["--probe"]):
        monkeypatch.setenv("OMP_WAIT_POLICY", "active")
        monkeypatch.setenv("OMP_NUM_THREADS", "99")
        assert_wrong_input(nas("check", study, *options), "seen")
    assert told == ["99", "1"]  # images of 8 pixels


def test_check_warns(nas: Nas, study: Path) -> None:
    said = nas("check", study, "objectives=[accuracy]", "constraints.parameters.max=10")
    assert said.code == 0
    assert said.out.count("warning:") == 3
    assert "training.epochs: a trial has" in said.out
    assert "compression.weight_format: no objective or constraint rewards fewer bits" in said.out
    assert "constraints.parameters.max: 10 is below the smallest network's" in said.out


def test_check_says_whom_a_quality_binds(nas: Nas, study: Path) -> None:
    least = "constraints.accuracy.min=0.9"
    assert "constraints" not in nas("check", study, least).out
    said = nas("check", study, least, "search.epochs=1")
    assert said.code == 0
    assert "warning: constraints.accuracy.min: holds for finalists alone" in said.out


@pytest.mark.parametrize(("objectives", "trials", "warned"), [(3, 10, False), (4, 199, True), (4, 200, False)])
def test_check_warns_of_a_crowded_front(nas: Nas, study: Path, objectives: int, trials: int, warned: bool) -> None:
    names = ["accuracy", "parameters", "size_bytes", "macs"][:objectives]
    wanted = f"objectives=[{','.join(names)}]", f"search.trials={trials}", "training.batch_size=4", "training.epochs=20"
    said = nas("check", study, *wanted)
    assert said.code == 0
    assert ("warning: objectives: with 4 of them and 199 trials nearly every candidate" in said.out) == warned
    assert ("warning" in said.out) == warned


def test_check_refuses_what_a_run_would(nas: Nas, study: Path, tmp_path: Path) -> None:
    said = nas("check", study, f"search.warm_start=[{tmp_path}]", "search.sampler=pareto")
    assert said.code == 2
    assert "search.warm_start[0]: expected a run folder" in said.err
    assert "smallest" in said.out


def test_cache(nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "[bold]odd"
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(folder))
    folder.mkdir()
    (folder / f"latency-{0:024}.json").write_bytes(bytes(2_000_000))
    said = nas("cache").out
    assert said.startswith(f"Cache: {folder}\n")
    assert "2.0 MB" in said
    assert "Removed 2.0 MB." in nas("cache", "--clear").out
    assert not list(folder.iterdir())


def test_probe(nas: Nas, study: Path) -> None:
    said = nas("check", "--probe", study)
    assert said.code == 0
    for words in ("latency ms", "dense images/s", "3 trials of 2 epochs, 2 worker(s)", "2 of 2 epochs", "the study"):
        assert words in said.out


def test_a_cache_of_somebody_elses_is_one_message(nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path))
    (tmp_path / f"latency-{0:024}.json").touch()

    def forbidden(self: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    monkeypatch.setattr(Path, "unlink", forbidden)
    said = nas("cache", "--clear")
    assert (said.code, said.err) == (2, f"{tmp_path / f'latency-{0:024}.json'}: no permission\n")


def test_a_network_that_fails_when_it_is_trained_on_is_a_failure(
    nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, as there is nothing that a script could go on with."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "study.yaml").write_text(study.read_text())
    (folder / "trials.csv").touch()
    monkeypatch.setattr("nas.commands.report.report_and_front", lambda *_: None)
    for state, code, err in ((State.FAILED, 1, "The training failed: no [luck]\n"), (State.COMPLETE, 0, "")):
        row = TrialRow(0, state, "x", reason="no [luck]")
        monkeypatch.setattr("nas.commands.train.train", lambda *_, row=row: row)
        said = nas("train", folder, "0")
        assert (said.code, said.err) == (code, err)


@pytest.mark.parametrize(("style", "out"), [("table", None), ("csv", "trial,id,"), ("json", "[]")])
def test_a_front_without_members_says_why(nas: Nas, study: Path, tmp_path: Path, style: str, out: str | None) -> None:
    """On standard error where standard output is for a program."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "study.yaml").write_text(study.read_text())
    rows = "0,INFEASIBLE,parameters=0.1,x\n1,INFEASIBLE,parameters=0.2,x\n"
    (folder / "trials.csv").write_text(f"number,state,violation,artifact\n{rows}")
    said = nas("front", folder, "--format", style)
    why = "The front is empty: no trial is complete (2 infeasible; constraints.parameters is broken by 2).\n"
    assert said.code == 0
    if out is None:
        assert (said.out, said.err) == (why, "")
    else:
        assert said.err == why
        assert said.out.startswith(out)


@pytest.mark.parametrize("command", [["check"], ["check", "--probe"], ["run"]])
def test_a_gpu_that_is_not_there_is_one_error(
    nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said = nas(*command, study, "training.device=cuda", *(["--out", tmp_path / "run"] if command == ["run"] else []))
    assert said.code == 2
    assert said.err.startswith("command line: training.device: got cuda, but the installed torch ")
    assert len(said.err.splitlines()) == 1


def test_version(nas: Nas) -> None:
    said = nas("--version")
    assert (said.code, said.out.split()) == (0, ["compact-nas", version("compact-nas")])


def test_schema(nas: Nas) -> None:
    said = nas("schema")
    assert said.code == 0
    assert "workers" in json.loads(said.out)["$defs"]["Search"]["properties"]
    assert nas("schema", "--markdown").out == (STUDIES / "reference.md").read_text(encoding="utf-8")


def test_measure_of_no_model(nas: Nas, study: Path, tmp_path: Path) -> None:
    assert_wrong_input(nas("measure", tmp_path / "none.onnx"), "none.onnx: cannot be read: No such file")
    assert_wrong_input(nas("measure", study), "tiny.yaml: expected an ONNX file, got something else")
    assert_wrong_input(nas("measure", study, "--threads", "0"), "Usage: ")


def test_a_run_that_measures_again_is_continued_so(
    nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

    def stopped(*_: object, remeasures: bool) -> bool:
        given.append(remeasures)
        raise Interrupted

    monkeypatch.setattr("nas.commands.run.run", stopped)
    for options in ((), ("--remeasure",)):
        said = nas("run", study, "--out", tmp_path / "run", *options)
        again = shlex.join(["nas", "run", str(study), "--out", str(tmp_path / "run"), *options])
        assert said.code == 130
        assert said.out.endswith(f"Go on with:  {again}\n")
    assert given == [False, True]


def test_a_full_disk_is_one_message(nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(preparation, "write_atomically", full)
        said = nas("run", study, "--out", tmp_path / "run")
    assert said.code == 1
    expected = f"{tmp_path / 'run'}: No space left on device; nothing finished is lost, the same command goes on\n"
    assert said.err.replace("\r", "").endswith(expected)
    with monkeypatch.context() as patched:
        patched.setattr("nas.commands.report.write_html", full)
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "study.yaml").write_text(STUDY)
        (tmp_path / "there" / "trials.csv").touch()
        said = nas("report", tmp_path / "there")
    assert (said.code, said.err) == (1, f"No space left on device ({tmp_path / 'there'})\n")


def test_a_read_only_disk_is_told_before_any_work(
    nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system of an existing folder, and of the one that a new folder would stand in."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda _, mode: mode != os.W_OK)
        assert_wrong_input(nas("run", study, "--out", tmp_path), f"--out: {tmp_path}: no permission to write, or")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    expected = f"--out: cannot make the folder {tmp_path / 'new'}: Read-only file system"
    assert_wrong_input(nas("run", study, "--out", tmp_path / "new"), expected)


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("name: tiny", "name:\ttiny\n\tx: 1"), ["tiny.yaml:", "tab"]),
        (("name: tiny", "name: tiny\nname: again"), ["tiny.yaml:2: name", "twice"]),
        (("trials: 3", "trails: 3"), ["tiny.yaml:6: search.trails: unknown key", "did you mean 'trials'?"]),
        (("[0.0, 0.5]", "[0.0, -1]"), ["tiny.yaml:4: compression.pruning_ratio[1]", "got -1"]),
        (("[int8, fp32]", "[int9, fp32]"), ["tiny.yaml:4: compression.weight_format[0]", "got 'int9'"]),
        (("sampler: random", "sampler: nsga9"), ["tiny.yaml:6: search.sampler", "grid, got 'nsga9'"]),
        (("kernels: [3]", "input_size: 2"), ["tiny.yaml:3: space.input_size", "got 2"]),
        (
            ("preset: 8px, kernels: [3]", "preset: 96px, input_size: 8, kernels: [3]"),
            ["tiny.yaml:3: space.input_size: expected at least the total stride 32, got 8"],
        ),
        (("epochs: 2", "epochs: 0, batch_size: 1.5"), ["training.epochs", "training.batch_size"]),
    ],
    ids=lambda value: value[1][:30] if isinstance(value, tuple) else "",
)
def test_wrong_study(
    nas: Nas, study: Path, tmp_path: Path, command: str, change: tuple[str, str], expected: Sequence[str]
) -> None:
    assert change[0] in STUDY
    study.write_text(STUDY.replace(*change))
    out = () if command == "check" else ("--out", tmp_path / "run")
    assert_wrong_input(nas(command, study, *out), *expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["check", "run"])
def test_missing_study(nas: Nas, tmp_path: Path, command: str) -> None:
    assert_wrong_input(nas(command, tmp_path / "no.yaml"), "no.yaml: cannot be read: No such file")


def test_wrong_override(nas: Nas, study: Path) -> None:
    assert_wrong_input(nas("check", study, "search.trials=0"), "command line: search.trials", "got 0")
    assert_wrong_input(nas("check", study, "search.trials"), "command line: expected KEY=VALUE", "'search.trials'")


@pytest.mark.parametrize("command", [["front"], ["report"], ["export", "1"], ["retry"], ["sensitivity", "1"]])
@pytest.mark.parametrize("there", [False, True])
def test_commands_that_need_a_run_folder(nas: Nas, tmp_path: Path, command: list[str], there: bool) -> None:
    folder = tmp_path / "[bold]odd"
    if there:
        folder.mkdir()
    options = ("--to", tmp_path / "out") if command[0] == "export" else ()
    name, *rest = command
    said = nas(name, folder, *rest, *options)
    assert_wrong_input(said, f"{folder}: expected a run folder, with study.yaml in it")
    assert not (tmp_path / "out").exists()
    if there:
        (folder / "study.yaml").write_text(STUDY)
        assert_wrong_input(nas(name, folder, *rest, *options), "holds no trials.csv yet")


@pytest.mark.parametrize("arguments", [["front"], ["fly"], ["front", "x", "--format", "xml"], ["export", "x", "1"]])
def test_wrong_usage(nas: Nas, arguments: list[str]) -> None:
    assert_wrong_input(nas(*arguments), "Usage: ")


# Folders that `nas run` refuses


def test_foreign_folder(nas: Nas, study: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("")
    said = nas("run", study, "--out", tmp_path / "thesis")
    assert_wrong_input(said, "thesis: is no run folder, but not empty either (it holds 'chapter1.tex')")


def test_out_is_a_file(nas: Nas, study: Path, tmp_path: Path) -> None:
    assert_wrong_input(nas("run", study, "--out", study), "--out: cannot make the folder", "File exists")
    assert_wrong_input(nas("run", study, "--out", study / "x"), "--out: cannot make the folder", "Not a directory")


def test_folder_of_another_study(nas: Nas, study: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "study.yaml").write_text(STUDY)
    said = nas("run", study, "search.seed=1", "training.epochs=9", "search.trials=9", "--out", tmp_path / "run")
    assert_wrong_input(said, "holds a run of another study", "search.seed: 0 -> 1", "training.epochs: 2 -> 9")
    assert all(key[-1] in said.err.rpartition("Only")[2] for key in CHANGEABLE)
    assert "search.trials:" not in said.err
    assert (tmp_path / "run" / "study.yaml").read_text() == STUDY


def test_folder_in_use(nas: Nas, study: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with sole_holder(tmp_path / "run" / "study.lock"):
        said = nas("run", study, "--out", tmp_path / "run")
    assert_wrong_input(said, f"another `nas run` (process {os.getpid()}) works in this folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(nas: Nas, study: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o555)
    assert_wrong_input(nas("run", study, "--out", tmp_path / "run"), "run: no permission to write")
    assert_wrong_input(nas("run", study, "--out", tmp_path / "run" / "deeper"), "cannot make the folder")


def test_missing_data(nas: Nas, study: Path, tmp_path: Path) -> None:
    options = ("data.source=image_folder", f"data.path={tmp_path / 'none'}", "--out", tmp_path / "run")
    said = nas("run", study, *options)
    assert said.code == 2
    assert said.err.startswith("command line: data.path: expected a folder")
    assert not (tmp_path / "run" / "study.yaml").exists()


def test_what_turns_out_to_be_wrong_is_told_with_its_line(nas: Nas, study: Path) -> None:
    text = study.read_text()
    assert text.count("source: digits") == 1
    study.write_text(text.replace("source: digits", "source: image_folder, path: nowhere"))
    (line,) = [number for number, words in enumerate(study.read_text().splitlines(), 1) if "nowhere" in words]
    expected = f"{study}:{line}: data.path: expected a folder, got 'nowhere', which does not exist in {Path.cwd()}"
    for command in ("run", "check"):
        assert_wrong_input(nas(command, study), expected)


def test_workers_that_never_start(nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No endless loop of new processes: the last line of what they said, and exit code 1."""
    broken = tmp_path / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libtorch is not what it was')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(broken.parent), os.environ.get("PYTHONPATH", "")]))
    said = nas("run", study, "--out", tmp_path / "run")
    assert said.code == 1
    assert said.err.startswith("workers do not start: worker exited with code 1")
    assert "libtorch is not what it was" in said.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell what a process holds")
def test_less_memory_than_a_worker_needs_anyway(nas: Nas, study: Path, tmp_path: Path) -> None:
    said = nas("run", study, "search.trial_gigabytes=0.1", "--out", tmp_path / "run")
    assert said.code == 2
    assert said.err.startswith("command line: search.trial_gigabytes: expected at least")


# A whole run


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-m", "nas.cli", *map(str, arguments)]


def check_status_and_logs(nas: Nas, out: Path) -> None:
    told = json.loads(nas("status", out, "--json").out)
    assert (told["life"], told["states"]["complete"], told["further"]["finalists"]["complete"]) == ("over", 3, 2)
    assert told["driver"]["pid"] == os.getpid()
    assert "3 of 3 trials complete" in nas("status", out).out
    said = nas("logs", out).out
    assert said.count("is complete after") == 5
    assert said.splitlines()[-1].endswith("the driver ended: all is done")
    own = nas("logs", out, "--trial", "0").out.splitlines()
    assert own[0].endswith("begins")
    assert len(own) < len(said.splitlines())


def test_a_run_from_end_to_end(nas: Nas, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    leftover = out / ".split.json.123.tmp"  # of a run that was killed at once
    leftover.parent.mkdir(parents=True)
    leftover.write_text("{")
    said = nas("run", study, "--out", out)
    assert (said.code, said.err) == (0, "")
    for file in ("study.yaml", "study.log", "split.json", "report.html", "front.png"):
        assert (out / file).stat().st_size > 0
    trials, finalists, front = (rows_of(out / f"{name}.csv") for name in ("trials", "finalists", "front"))
    complete = [row for row in trials if row["state"] == "COMPLETE"]
    assert (len(complete), len(finalists)) == (3, 2)
    check_against_artifacts(out, complete, front)
    check_front_command(nas, out, front)
    check_export(nas, out, front[0], tmp_path)
    check_sensitivity(nas, out, front[0])
    check_status_and_logs(nas, out)

    again = nas("run", study, "--out", out)
    assert again.code == 0
    assert [rows_of(out / f"{name}.csv") for name in ("trials", "finalists", "front")] == [trials, finalists, front]

    table = out / "trials.csv"
    table.write_text(table.read_text()[:-5])  # torn: rebuilt from the journal, by number
    more = nas("run", study, "search.trials=4", "search.warm_start=sensitivity", "--out", out)
    assert more.code == 0
    later = rows_of(table)
    assert later[: len(trials)] == sorted(trials, key=lambda row: int(row["number"]))
    assert sum(row["state"] == "COMPLETE" for row in later) == 4
    assert rows_of(out / "finalists.csv")[:2] == finalists


def test_a_run_on_a_folder_with_an_unreadable_image(
    nas: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPACT_NAS_CACHE", str(tmp_path / "cache"))
    for label in range(3):
        (tmp_path / "d" / f"class{label}").mkdir(parents=True)
        for i in range(40):
            shade = np.full((8, 8), 80 * label + i, np.uint8)
            Image.fromarray(shade).save(tmp_path / "d" / f"class{label}" / f"film{i // 4}_{i}.png")
    (tmp_path / "d" / "class1" / "film3_13.png").write_text("no image")
    text = STUDY.replace(
        "source: digits, train_images: 150", f"source: image_folder, path: {tmp_path / 'd'}, channels: 1"
    )
    study.write_text(text.replace("[accuracy,", "[macro_f1, balanced_accuracy,"))
    options = ("search.trials=1", "search.finalists=1", "search.workers=1", "data.group_pattern=^film[0-9]+")
    said = nas("run", study, *options, "--out", tmp_path / "run")
    assert (said.code, said.err) == (0, "")
    assert "warning: 1 unreadable image file(s) left out" in said.out
    assert f"{tmp_path}/d/class1/film3_13.png: not an image" in said.out.replace("\n", "")
    assert "macro F1" in said.out
    assert float(rows_of(tmp_path / "run" / "front.csv")[0]["test_macro_f1"]) >= 0
    refused = nas("run", study, *options, "data.unreadable=error", "--out", tmp_path / "other")
    assert_wrong_input(refused, "data.path: 1 unreadable image file(s):", "film3_13.png: not an image")


BARE = {
    "PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "error", "COLUMNS": "200",
}  # fmt: skip
UNKNOWN_USER = """
import pwd
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
"""


def test_an_environment_without_comforts(tmp_path: Path) -> None:
    """No home, a user that the system does not know, an ASCII terminal, warnings that are errors, a run folder that is
    no text, and modules of the user's own beside the study."""
    users, site, out = tmp_path / "users", tmp_path / "site", os.fsdecode(os.fsencode(tmp_path) + b"/r\xff\xe9n")
    for folder in (users / "nas", site):
        folder.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(UNKNOWN_USER)
    for name in ("random", "onnx", "nas/__init__"):
        (users / f"{name}.py").write_text("raise SystemExit('the file of the user was run')")
    for label in range(3):
        (users / "images" / f"class{label}").mkdir(parents=True)
        for i in range(40):
            shade = np.full((8, 8), 80 * label + i, np.uint8)
            Image.fromarray(shade).save(users / "images" / f"class{label}" / f"{i}.png")
    images = STUDY.replace("source: digits, train_images: 150", "source: image_folder, path: images, channels: 1")
    (users / "study.yaml").write_text(images)
    environment = {
        **BARE,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
    }

    def said(*arguments: str) -> str:
        ran = subprocess.run(command(*arguments), env=environment, cwd=users, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr.decode()
        assert b"Traceback" not in ran.stderr
        return ran.stdout.decode("ascii")

    keys = ("search.trials=1", "search.finalists=1", "search.workers=1", "training.epochs=1")
    assert "Report:" in said("run", "study.yaml", *keys, "--out", out)
    assert "+-" in said("front", out)
    assert "model.onnx" in said("export", out, "0", "--to", str(tmp_path / "model"))
    assert "latency" in said("measure", f"{out}/{rows_of(Path(out) / 'front.csv')[0]['artifact']}/model.onnx")


def check_against_artifacts(out: Path, trials: Sequence[dict[str, str]], front: Sequence[dict[str, str]]) -> None:
    """Every number of the tables is the one that was recorded beside the file."""
    for row, phase in [*((row, "search") for row in trials), *((row, "final") for row in front)]:
        folder = out / row["artifact"]
        recorded = json.loads((folder / "evaluation.json").read_text())
        measurement = recorded["measurement"]
        assert (recorded["phase"], recorded["candidate_id"]) == (phase, row["id"])
        for name in ("parameters", "macs", "size_bytes", "peak_memory_bytes"):
            assert row[name] == str(measurement[name])
        assert row["size_bytes"] == str((folder / "model.onnx").stat().st_size)
        assert float(row["latency_ms"]) == measurement["latency"]["cpu"]["latency_ms"]
        assert float(row["accuracy"]) == recorded["validation"]["accuracy"]
        assert float(row["accuracy_se"]) == recorded["validation"]["se"]
        for name in ("balanced_accuracy", "macro_f1", "log_loss"):
            assert float(row[name]) == recorded["validation"][name]
        assert sum(map(sum, recorded["validation"]["confusion"])) == recorded["validation"]["images"]
        assert (recorded["test"] is not None) == (phase == "final")
        if phase == "final":
            assert float(row["test_accuracy"]) == recorded["test"]["accuracy"]
            assert float(row["test_balanced_accuracy"]) == recorded["test"]["balanced_accuracy"]
            assert float(row["test_macro_f1"]) == recorded["test"]["macro_f1"]


def check_front_command(nas: Nas, out: Path, front: Sequence[dict[str, str]]) -> None:
    ids = [row["id"] for row in front]
    assert [row["id"] for row in csv.DictReader(nas("front", out, "--format", "csv").out.splitlines())] == ids
    assert [row["id"] for row in json.loads(nas("front", out, "--format", "json").out)] == ids
    assert all(identity in nas("front", out).out for identity in ids)
    smallest = json.loads(nas("front", out, "--format", "json", "--objectives", "parameters").out)
    final = rows_of(out / "finalists.csv")
    assert smallest[0]["parameters"] == min(int(row["parameters"]) for row in final)
    assert_wrong_input(nas("front", out, "--objectives", "beauty"), "objectives: expected some of", "got beauty")
    (out / "report.html").unlink()
    assert nas("report", out).out.splitlines()[-1] == str(out / "report.html")
    assert (out / "report.html").exists()


def check_sensitivity(nas: Nas, out: Path, best: dict[str, str]) -> None:
    asked = ("sensitivity", out, best["trial"], "--ratios", "0.5", "--images", "40", "--formats")
    said = nas(*asked, "int4")
    assert (said.code, said.err) == (0, "")
    assert "classifier" in said.out
    (scan,) = json.loads((out / "sensitivity.json").read_text())["scans"]
    assert {point["value"] for point in scan["points"]} == {"int4", 0.5}
    assert best["artifact"] == scan["artifact"]
    assert "What each layer bears" in (out / "report.html").read_text()
    assert_wrong_input(nas(*asked, "int9"), "--formats: expected some of", "'int9'")


def check_export(nas: Nas, out: Path, best: dict[str, str], tmp_path: Path) -> None:
    to = tmp_path / "model"
    said = nas("export", out, best["trial"], "--to", to)
    assert said.code == 0
    files = {"model.onnx", "candidate.json", "evaluation.json", "README.md", "classes.json"}
    assert {Path(line).name for line in said.out.splitlines()} == {file.name for file in to.iterdir()} == files
    assert json.loads((to / "classes.json").read_text()) == [str(digit) for digit in range(10)]
    for file in files - {"README.md", "classes.json"}:
        assert (to / file).read_bytes() == (out / best["artifact"] / file).read_bytes()
    card = (to / "README.md").read_text()
    assert f"{100 * float(best['test_accuracy']):.1f}" in card
    assert f"{best['size_bytes']} bytes of model.onnx" in card
    check_snippet(card, to)

    assert_wrong_input(nas("export", out, best["trial"], "--to", to), f"--to: {to} exists and is not an empty folder")
    within = out / "study.yaml" / "model"
    assert_wrong_input(nas("export", out, best["trial"], "--to", within), f"{within}: Not a directory")
    by_id = tmp_path / "by-id"
    assert nas("export", out, best["id"][:10], "--to", by_id).code == 0
    assert (by_id / "model.onnx").read_bytes() == (to / "model.onnx").read_bytes()
    assert_wrong_input(nas("export", out, "99", "--to", tmp_path / "none"), "TRIAL: expected a complete trial", "'99'")
    assert_wrong_input(nas("export", out, "", "--to", tmp_path / "none"), "TRIAL: ''")
    assert not (tmp_path / "none").exists()


def check_snippet(card: str, to: Path) -> None:
    """The card's own program classifies an image."""
    from PIL import Image
    from sklearn.datasets import load_digits

    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    (to / "classify.py").write_text(snippet[1])
    Image.fromarray((load_digits().images[0] * 15).astype("uint8")).save(to / "digit.png")
    ran = subprocess.run(
        [sys.executable, "classify.py", "digit.png"], cwd=to, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert len(lines) == 5
    assert {name for _, name in lines} <= set("0123456789")
    (to / "classify.py").unlink()
    (to / "digit.png").unlink()


def test_exhausted_space_ends_early_and_all_rows_are_there(nas: Nas, study: Path, tmp_path: Path) -> None:
    small = [
        "space={input_size: 8, stem_widths: [8], head_widths: [8], kernels: [3], expansions: [1], "
        "squeeze_excite: [false], activations: [relu], stages: [{depths: [1], widths: [8]}]}",
        "compression={}", "search.trials=5", "search.finalists=0", "training.epochs=1", "search.workers=1",
    ]  # fmt: skip
    said = nas("run", study, *small, "--out", tmp_path / "run")
    assert said.code == 0
    assert "The search ended early: none of 20 random draws was new after 1 different candidates" in said.out
    states = [row["state"] for row in rows_of(tmp_path / "run" / "trials.csv")]
    assert states == ["COMPLETE"] + ["DUPLICATE"] * 10


def test_a_search_cut_by_its_hours_says_how_to_go_on(nas: Nas, study: Path, tmp_path: Path) -> None:
    command = ["nas", "run", str(study), "search.hours=1e-9", "compression.weight_format=[int8, fp32]", "--out"]
    said = nas(*command[1:], tmp_path / "run")
    assert said.code == 0
    (words,) = re.findall(r"Stopped before the end\. Go on with:  (.*)", said.out)
    assert shlex.split(words) == [*command, str(tmp_path / "run")]


def test_a_reader_that_has_read_enough_ends_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        with pytest.raises(typer.Exit) as ended, there(tmp_path):
            raise BrokenPipeError
    assert ended.value.exit_code == 0


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_and_continued(nas: Nas, study: Path, tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C once finishes what is running and is no failure; kill -9 loses nothing that was finished."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        command("run", study, "search.trials=6", "--out", out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: (out / "trials.csv").exists() and len(rows_of(out / "trials.csv")) >= 2)
    process.send_signal(how)
    said, errors = process.communicate(timeout=120)
    before = rows_of(out / "trials.csv")
    if how == signal.SIGINT:
        assert (process.returncode, errors) == (0, "")
        assert "Finishing what is running" in said
        assert "Stopped before the end. Go on with:" in said
        assert len(before) < 6
        assert "holds" not in nas("front", out).err
        assert json.loads(nas("status", out, "--json").out)["life"] == "stopped"
    if how == signal.SIGKILL:
        assert json.loads(nas("status", out, "--json").out)["life"] == "lost"
    assert nas("run", study, "search.trials=6", "--out", out).code == 0
    after = rows_of(out / "trials.csv")
    assert after[: len(before)] == before
    assert [int(row["number"]) for row in sorted(after, key=lambda row: int(row["number"]))] == list(range(len(after)))
    assert sum(row["state"] == "COMPLETE" for row in after) == 6
    assert len(rows_of(out / "finalists.csv")) == 2
