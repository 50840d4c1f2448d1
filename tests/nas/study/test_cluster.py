"""The section `search.ray`: what Ray would refuse later is refused when the study is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nas.errors import InputError
from nas.study.cluster import RayOptions
from nas.study.file import parse_study

STUDY = "name: t\ndata: {source: digits}\nspace: {preset: 8px}\ntargets: [{name: cpu}]\n"


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.1:1", "[::1]:6379"])
def test_addresses(address: str) -> None:
    assert RayOptions(address=address).address == address


@pytest.mark.parametrize("address", ["", "local", "head", "ray://head:10001", "head:0", "head:70000", ":6379", "a b:1"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="expected auto or HOST:PORT of the head, got"):
        RayOptions(address=address)


def test_no_error_repeats_a_password_of_an_address() -> None:
    with pytest.raises(ValidationError, match="expected auto or HOST:PORT of the head") as told:
        RayOptions(address="user:secret@head:6379")
    assert "got" not in told.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cpus": 0.33333}, "expected at most 4 decimals, got 0.33333"),
        ({"gpus": 1e-5}, "expected at most 4 decimals"),
        ({"resources": {"a100": 0.12345}}, "expected at most 4 decimals"),
    ],
)
def test_amounts(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RayOptions.model_validate(given)
    assert RayOptions(cpus=0.3333, gpus=0.25, resources={"a100": 1.5}).resources == {"a100": 1.5}


@pytest.mark.parametrize("name", ["CPU", "GPU", "memory", "object_store_memory"])
def test_what_ray_counts_itself_is_no_custom_resource(name: str) -> None:
    """Ray would refuse it, in the middle of a run, or a node that trains would measure."""
    for key, given in (("search.ray.resources", f"{{{name}: 1}}"), ("targets[0].device", name)):
        with pytest.raises(InputError, match="expected a custom resource, other than CPU, ") as error:
            parse_study(STUDY, Path("t.yaml"), [f"{key}={given}"])
        assert str(error.value).startswith(f"command line: {key}: ")
    taken = parse_study(STUDY, Path("t.yaml"), [f"search.ray.resources={{a{name}: 0.5}}", f"targets[0].device={name}1"])
    assert taken.search.ray.resources == {f"a{name}": 0.5}
    assert taken.targets[0].device == f"{name}1"
