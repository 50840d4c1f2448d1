"""What a study asks of a Ray cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InputError
from nas.study.file import parse_study

STUDY = "name: t\ndata: {source: digits}\nspace: {preset: 8px}\ntargets: [{name: cpu}]\n"


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
