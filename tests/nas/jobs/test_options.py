"""Options of jobs: what is taken, and the one line that each mistake gets."""

from __future__ import annotations

import pytest

from nas.errors import InputError
from nas.jobs.kubernetes_options import KubernetesOptions
from nas.jobs.options import Options, option_rows, read_options
from nas.jobs.ray import RayOptions
from nas.jobs.slurm import SlurmOptions
from nas.registry import JOBS


def said(record: type[Options], *given: str) -> str:
    with pytest.raises(InputError) as error:
        read_options(record, given)
    return str(error.value)


def test_text_becomes_what_the_option_holds() -> None:
    read = read_options(SlurmOptions, ["nodes=4", "time=60", "exclusive=true", "modules=cuda/12, gcc", "account=123"])
    assert (read.nodes, read.time, read.exclusive, read.modules, read.account) == (
        4,
        "60",
        True,
        ("cuda/12", "gcc"),
        "123",
    )
    assert read_options(KubernetesOptions, ["labels=a=b,c=d=e"]).labels == {"a": "b", "c": "d=e"}
    assert read_options(KubernetesOptions, ["namespace=1" + "a" * 62]).namespace == "1" + "a" * 62


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    text = said(SlurmOptions, "node=4")
    assert text.startswith("--set node: unknown option, expected one of name, nodes, cpus, ")
    assert text.endswith("; did you mean 'nodes'?")
    assert all(name in text for name in SlurmOptions.model_fields)
    assert "did you mean" not in said(SlurmOptions, "zzz=4")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nodes", "--set: expected OPTION=VALUE, got 'nodes'"),
        ("nodes=", "--set nodes: expected an integer of at least 1, got ''"),
        ("nodes=two", "--set nodes: expected an integer of at least 1, got 'two'"),
        ("nodes=0", "--set nodes: expected an integer of at least 1, got '0'"),
        ("exclusive=perhaps", "--set exclusive: expected true or false, got 'perhaps'"),
        ("partition=a b", "--set partition: expected text of at most 500 characters (Partition.), got 'a b'"),
        ("partition=a\n#SBATCH --uid=0", "(Partition.), got 'a\\n#SBATCH --uid=0'"),
        ("name=--wrap", "--set name: expected a value, not an option, got '--wrap'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(given: str, message: str) -> None:
    assert message in said(SlurmOptions, given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("submission_mode=InteractiveMode", "expected one of K8sJobMode, HTTPMode, SidecarMode, got 'InteractiveMode'"),
        ("labels=a", "--set labels: expected NAME=VALUE,NAME=VALUE, got 'a'"),
        ("memory=8GB", "--set memory: expected text (Memory of a node that trains, as 8Gi.), got '8GB'"),
        ("name=Digits", "--set name: expected text of at most 47 characters"),
        ("name=" + "a" * 48, "--set name: expected text of at most 47 characters"),
        ("name=1", "--set name: expected text of at most 47 characters"),
        ("namespace=" + "a" * 64, "--set namespace: expected text of at most 63 characters"),
        ("pip=a$(id)", "--set pip: expected no $ and no `, which a shell on the way would expand, got 'a$(id)'"),
        ("working_dir=https://x/`id`.zip", "--set working_dir: expected no $ and no `"),
    ],
)
def test_kubernetes_has_rules_of_its_own(given: str, message: str) -> None:
    assert message in said(KubernetesOptions, given)


def test_every_mistake_is_told_at_once_and_a_repeated_option_is_one() -> None:
    assert said(SlurmOptions, "nodes=0", "x=1").count("\n") == 1
    assert said(SlurmOptions, "nodes=1", "nodes=2") == "--set nodes: expected once, got '1' and '2'"


@pytest.mark.parametrize("to", JOBS)
def test_every_option_says_what_it_is_for(to: str) -> None:
    rows = list(option_rows(JOBS[to].options))
    assert len(rows) > 5
    assert all(name and meaning.endswith(".") for name, _, meaning in rows)
    assert {name: default for name, default, _ in rows}["runs"]


def test_defaults_are_shown_as_they_would_be_written() -> None:
    shown = {name: default for name, default, _ in option_rows(RayOptions)}
    assert shown["notice_seconds"] == "120"
    assert shown["code"] == "installed"
    assert shown["pip"] == shown["id"] == ""
