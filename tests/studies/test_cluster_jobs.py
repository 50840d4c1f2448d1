"""Every job file of studies/cluster is what its command prints, and what its reader takes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from nas import cli
from nas.jobs.ray import RayOptions

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "studies" / "cluster"
ROW = re.compile(r"^\| \[(.+?)\]\((.+?)\) \| `nas (.+?)` \|", re.MULTILINE)
COMMANDS = {name: command for name, _, command in ROW.findall((FOLDER / "README.md").read_text())}
SCHEMA = json.loads((ROOT / "tests" / "nas" / "jobs" / "recorded" / "rayjob.schema.json").read_text())


def test_every_job_file_has_its_command() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".yml", ".sh")}
    assert files == set(COMMANDS)
    assert len(files) >= 6


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_what_the_command_prints(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["nas", *shlex.split(COMMANDS[name])])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    assert capsys.readouterr() == ((FOLDER / name).read_text(), "")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(".yml")])
def test_a_rayjob_is_one_to_kuberay(name: str) -> None:
    manifests = list(yaml.safe_load_all((FOLDER / name).read_text()))
    for manifest in manifests:
        jsonschema.validate(manifest, SCHEMA)
    assert manifests[-1]["kind"] == "RayJob"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(".sh")])
def test_bash_reads_a_script(name: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / name], check=True)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(".json")])
def test_a_request_has_an_entrypoint_that_a_shell_reads(name: str) -> None:
    request = json.loads((FOLDER / name).read_text())
    subprocess.run(["sh", "-n", "-c", request["entrypoint"]], check=True)
    assert RayOptions().runs == "~/runs"
    assert "$HOME" in request["entrypoint"]
