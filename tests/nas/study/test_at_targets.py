"""Objectives and constraints on several targets: names, the short way to write them, and those that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from by_hand import make_study

from nas.errors import InputError
from nas.study import Study
from nas.study.at_targets import is_at_target, renamed, short_names, unknown_target
from nas.study.file import difference, dump_study, parse_study
from nas.study.targets import Target

CPU, OV, TWO = Target(name="cpu"), Target(name="o.v", runtime="openvino"), Target(name="two", threads=2)
TARGETS = "targets: [{name: cpu}, {name: ov, runtime: openvino}, {name: two, threads: 2}]\n"
BASE = "name: t\ndata: {source: digits}\nspace: {preset: 8px}\n"


def read(text: str, *overrides: str) -> Study:
    return parse_study(BASE + text, Path("t.yaml"), overrides)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("latency_ms@pi.5", True),
        ("size_bytes@a", True),
        ("macs@a", False),
        ("latency_ms", False),
        ("latency_ms@", False),
    ],
)
def test_two_costs_are_at_targets(name: str, is_one: bool) -> None:
    assert is_at_target(name) is is_one


def test_the_first_target_needs_no_name_and_one_of_its_runtime_no_size() -> None:
    assert short_names([CPU, OV, TWO]) == {
        "latency_ms@cpu": "latency_ms", "size_bytes@cpu": "size_bytes", "size_bytes@two": "size_bytes"
    }  # fmt: skip
    with pytest.raises(ValueError, match="k: expected one of a and b, which are the same, got both"):
        renamed({"a": 1, "b": 2}, {"b": "a"}, "k")
    assert renamed({"b": 1, "a": None, "c": None}, {"b": "a"}, "k") == {"a": 1, "c": None}
    assert unknown_target("latency_ms@o.v", [CPU, OV]) == unknown_target("macs", [CPU]) == ""


def test_what_is_the_first_targets_is_written_in_short() -> None:
    long = read(
        f"{TARGETS}objectives: [accuracy, latency_ms@cpu, latency_ms@ov, size_bytes@two]\n"
        "constraints: {latency_ms@cpu: {max: 3}, size_bytes@ov: {max: 9}}\n"
        "report: {hypervolume_reference: "
        "{accuracy: 0.5, latency_ms@cpu: 3, latency_ms@ov: 4, size_bytes@two: 5}}\n"
    )
    assert long.objectives == ("accuracy", "latency_ms", "latency_ms@ov", "size_bytes")
    assert long.limits == {"latency_ms": 3.0, "size_bytes@ov": 9.0}
    assert set(long.report.hypervolume_reference) == set(long.objectives)
    assert {name: target.name for name, target in long.latencies.items()} == {
        "latency_ms": "cpu",
        "latency_ms@ov": "ov",
    }
    assert long.needed_latencies == ("latency_ms@ov",)
    assert parse_study(dump_study(long), Path("again.yaml")) == long
    assert Study.model_validate_json(long.model_dump_json()) == long  # as a worker gets it
    assert Study.model_validate(long.model_dump()) == long


def test_a_limit_on_a_target_is_a_setting_like_others() -> None:
    study = read(TARGETS, "constraints.latency_ms@ov.max=3")
    assert study.constraints.limits == study.cost_limits == {"latency_ms@ov": 3.0}
    assert difference(read(TARGETS), study) == ["constraints.latency_ms@ov.max: nothing -> 3.0"]
    assert "latency_ms@ov" not in dump_study(read(TARGETS))


def test_python_may_give_sections() -> None:
    given: dict[str, Any] = make_study().model_dump()
    study = Study(**{**given, "constraints": read(TARGETS, "constraints.latency_ms@ov.max=3").constraints,
                     "targets": (CPU, Target(name="ov"))})  # fmt: skip
    assert study.limits == {"latency_ms@ov": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "objectives: [accuracy, latency_ms@twoo]\n",
            "t.yaml:5: objectives[1]: expected a target behind @, one of cpu, ov, two, got 'latency_ms@twoo'; "
            "did you mean 'two'?",
        ),
        (
            "constraints: {latency_ms@pi5: {max: 1}}\n",
            "t.yaml:5: constraints.latency_ms@pi5: expected a target behind @, one of cpu, ov, two, "
            "got 'latency_ms@pi5'",
        ),
        (
            "objectives: [accuracy, latency_ms, latency_ms@cpu]\n",
            "t.yaml:5: objectives: every objective once, got ['accuracy', 'latency_ms', 'latency_ms']",
        ),
        (
            "constraints: {latency_ms: {max: 1}, latency_ms@cpu: {max: 2}}\n",
            "t.yaml:5: constraints: expected one of latency_ms and latency_ms@cpu, which are the same, got both",
        ),
        ("constraints: {latency_ms@ov: {max: 1, min: 1}}\n", "t.yaml:5: constraints.latency_ms@ov.min: unknown key, "),
        (
            "constraints: {macs@ov: {max: 1}}\n",
            "t.yaml:5: constraints.macs@ov: unknown key, expected one of accuracy, ",
        ),
        (
            "report: {hypervolume_reference: {latency@ov: 1}}\n",
            "t.yaml:5: report.hypervolume_reference.latency@ov: unknown key, expected one of accuracy, ",
        ),
    ],
)
def test_what_is_not_there_is_told_with_what_is(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(TARGETS + text)
    assert str(refused.value).startswith(message)
