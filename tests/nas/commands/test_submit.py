"""`nas submit` as a user calls it: what is printed, what is refused, and who is handed the text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas import cli

STUDY = """\
name: tiny
data: {source: digits}
space: {preset: 8px}
search: {trials: 3}
"""
Nas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "a study.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nas:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", "submit", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        try:
            cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
        return (code or 0, *capfd.readouterr())

    return run


def test_a_dry_run_prints_the_text_alone(submit: Nas, study: Path) -> None:
    code, out, err = submit(study, "--to", "slurm", "search.trials=9", "--set", "cpus=3", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith("#!/bin/bash\n#SBATCH --job-name=tiny\n")
    assert f"nas run '{study}' search.trials=9 --out runs/tiny &" in out
    assert "#SBATCH --cpus-per-task=3" in out
    code, out, err = submit(study, "--to", "kubernetes", "--set", "image=a/b:1", "--dry-run")
    assert (code, err) == (0, "")
    assert [one["kind"] for one in yaml.safe_load_all(out)] == ["ConfigMap", "PersistentVolumeClaim", "RayJob"]


def test_the_study_travels_as_it_was_written(submit: Nas, study: Path) -> None:
    study.write_text(f"# why: it's ours\n{STUDY}")
    _, out, _ = submit(study, "--to", "ray", "--dry-run")
    assert "# why: it'\"'\"'s ours\n" in json.loads(out)["entrypoint"]


def test_a_cluster_is_used_as_far_as_it_goes_unless_the_study_says(submit: Nas, study: Path) -> None:
    _, out, _ = submit(study, "--to", "ray", "search.seed=3", "--dry-run")
    own = "search.engine=ray search.workers=auto search.ray.address=auto search.seed=3 --out"
    assert own in json.loads(out)["entrypoint"]
    study.write_text(STUDY.replace("{trials: 3}", "{trials: 3, workers: 5, engine: local}"))
    _, out, _ = submit(study, "--to", "ray", "--dry-run")
    assert "search.engine=ray search.ray.address=auto --out" in json.loads(out)["entrypoint"]
    _, out, _ = submit(study, "--to", "slurm", "--set", "nodes=2", "--dry-run")
    assert 'search.engine=ray search.ray.address="$address" --out' in out


def test_devices_of_targets_become_nodes(submit: Nas, study: Path) -> None:
    study.write_text(STUDY + "targets: [{name: cpu}, {name: pi, device: pi5}, {name: two, device: pi5, threads: 2}]\n")
    _, out, _ = submit(study, "--to", "kubernetes", "--set", "image=a", "--dry-run")
    *_, job = yaml.safe_load_all(out)
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [group.get("resources") for group in groups] == [None, {"CPU": "0", "pi5": "1"}]
    _, out, _ = submit(study, "--to", "kubernetes", "--set", "image=a", "search.ray.shared=true", "--dry-run")
    assert "ReadWriteMany" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "lsf"], "--to: expected one of ray, kubernetes, slurm, got 'lsf'"),
        ([], "--to: expected one of ray, kubernetes, slurm, got ''"),
        (["--to", "slurm", "--set", "node=2"], "--set node: unknown option, expected one of name, nodes, "),
        (["--to", "slurm", "search.trails=2"], "command line: search.trails: unknown key, expected one of sampler, "),
        (["--to", "slurm", "trials"], "command line: expected KEY=VALUE with a dotted key, got 'trials'"),
        (["--to", "ray", "search.engine=local"], "search.engine: expected ray with --to ray, got local"),
        (["--to", "slurm", "--set", "nodes=2", "search.engine=local"], "expected ray with --set nodes=2, got local"),
        (["--to", "kubernetes"], "--set image: expected an image with compact-nas"),
    ],
)
def test_a_mistake_is_a_line_and_exit_code_2(submit: Nas, study: Path, arguments: list[str], message: str) -> None:
    for more in ([], ["--dry-run"]):
        code, out, err = submit(study, *arguments, *more)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
        assert "Traceback" not in err


def test_a_file_that_is_not_there_and_no_file(submit: Nas, tmp_path: Path) -> None:
    code, _, err = submit(tmp_path / "none.yaml", "--to", "slurm")
    assert (code, err) == (2, f"{tmp_path}/none.yaml: cannot be read: No such file or directory\n")
    assert submit("--to", "slurm")[::2] == (2, "STUDY: expected a study file, got nothing\n")


def test_options_are_listed(submit: Nas) -> None:
    code, out, _ = submit("--to", "slurm", "--options")
    assert code == 0
    assert "notice_seconds" in out
    assert "120" in out
    assert submit("--to", "lsf", "--options")[0] == 2


def stand_in(folder: Path, name: str, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the cluster that keeps what it is given."""
    file = folder / name
    file.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\ncat > {folder}/text\n{does}\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("to", "name", "given", "arguments"),
    [("slurm", "sbatch", [], ""), ("kubernetes", "kubectl", ["--set", "image=a"], "apply -f -")],
)
def test_the_clusters_command_is_handed_the_text(
    submit: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    to: str, name: str, given: list[str], arguments: str,
) -> None:  # fmt: skip
    stand_in(tmp_path, name, "echo taken as 7", monkeypatch)
    code, out, _ = submit(study, "--to", to, *given)
    assert code == 0
    assert out.startswith("taken as 7\n")
    assert (tmp_path / "arguments").read_text().strip() == arguments
    assert (tmp_path / "text").read_text() == submit(study, "--to", to, *given, "--dry-run")[1]


def test_a_refusal_of_the_cluster_is_told_with_exit_code_1(
    submit: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "sbatch", "echo 'sbatch: error: no such partition' >&2; exit 3", monkeypatch)
    code, out, err = submit(study, "--to", "slurm", "--set", "partition=nowhere")
    assert (code, out) == (1, "")
    assert err == "sbatch ended with exit code 3: sbatch: error: no such partition\n"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    code, _, err = submit(study, "--to", "kubernetes", "--set", "image=a")
    assert (code, err) == (1, "kubectl: not found on this machine; --dry-run prints what it would get\n")


def test_a_job_that_was_there_already_says_how_to_go_on(
    submit: Nas, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, was_there in (("unchanged", True), ("configured", True), ("created", False)):
        stand_in(tmp_path, "kubectl", f"echo rayjob.ray.io/tiny {said}", monkeypatch)
        _, out, _ = submit(study, "--to", "kubernetes", "--set", "image=a", "--set", "namespace=team")
        assert ("kubectl delete rayjob tiny --namespace team" in out) is was_there
        assert ("kubectl get rayjob tiny --namespace team --watch" in out) is not was_there
