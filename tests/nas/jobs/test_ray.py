"""Ray's job API: the request, what is said where it is refused, and one real submission to a cluster with a token."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import JOB, LOCAL
from recorded import is_recorded

import nas
from nas.jobs.job import SubmitFailed
from nas.jobs.options import read_options
from nas.jobs.ray import RAY, RayOptions, request_of, request_text, send

RECORDED = Path(__file__).parent / "recorded"


def options(*given: str) -> RayOptions:
    return read_options(RayOptions, given)


def test_the_request_is_the_recorded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas, "__version__", "1.2.3")
    text = request_text(JOB, options("driver=quiet", "pip=psycopg[binary], mlflow", "id=digits-1"))
    assert is_recorded(text, RECORDED / "ray.json")


def test_the_driver_stays_on_the_head_unless_a_resource_is_named() -> None:
    assert (
        not {"entrypoint_num_cpus", "entrypoint_num_gpus", "entrypoint_resources"} & request_of(JOB, options()).keys()
    )
    assert request_of(JOB, options("driver=quiet"))["entrypoint_resources"] == {"quiet": 1.0}


def test_the_packages_of_this_installation_can_be_sent_along() -> None:
    modules = request_of(JOB, options("code=upload"))["runtime_env"]["py_modules"]
    assert [Path(module).name for module in modules] == ["nas", "compressors", "search_spaces"]
    assert all((Path(module) / "__init__.py").exists() for module in modules)
    assert "py_modules" not in request_of(JOB, options())["runtime_env"]


def test_what_cannot_be_is_refused() -> None:
    assert list(RAY.refused(LOCAL, options())) == ["search.engine: expected ray with --to ray, got local"]
    (told,) = RAY.refused(JOB, options("address=head:8265"))
    assert told == "--set address: expected the dashboard as http://HOST:PORT, got 'head:8265'"
    assert not list(RAY.refused(replace(JOB, devices=("pi5",)), options("address=https://ray.example")))


def test_nobody_at_the_address_is_one_sentence() -> None:
    with pytest.raises(SubmitFailed, match=r"^http://127.0.0.1:9 did not take the job: .*connect") as error:
        send("http://127.0.0.1:9", {"entrypoint": "true"})
    assert "Traceback" not in str(error.value)
    assert json.dumps(str(error.value)).count("\\n") <= 1
