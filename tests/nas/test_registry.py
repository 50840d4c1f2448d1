"""Registries: rows are imported when they are used, names are checked, and every row of the project is there."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, ValidationError

from nas.registry import ENGINES, RUNTIMES, Registry


def test_a_row_is_imported_when_it_is_asked_for() -> None:
    rows = Registry({"pi": "math:pi", "absent": "no_such_module:it"})
    assert list(rows) == ["pi", "absent"]
    assert "absent" in rows
    assert rows["pi"] == pytest.approx(3.14159, abs=1e-5)
    with pytest.raises(ModuleNotFoundError):
        rows["absent"]
    with pytest.raises(KeyError):
        rows["other"]


def test_a_row_may_be_the_thing_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Registry({})
    with monkeypatch.context() as patched:
        patched.setitem(rows, "toy", len)
        assert rows["toy"] is len
    assert len(rows) == 0


def test_a_key_of_a_study_takes_the_names_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Registry({"pi": "math:pi"})

    class Section(BaseModel):
        thing: Annotated[str, AfterValidator(rows.known), rows.schema]

    assert Section(thing="pi").thing == "pi"
    with pytest.raises(ValidationError, match="expected one of pi, got 'toy'"):
        Section(thing="toy")
    monkeypatch.setitem(rows, "toy", len)
    assert Section(thing="toy").thing == "toy"
    assert Section.model_json_schema()["properties"]["thing"]["enum"] == ["pi"]


@pytest.mark.parametrize("registry", [RUNTIMES, ENGINES])
def test_every_row_of_the_project_is_there(registry: Registry) -> None:
    for name in registry:
        assert registry[name] is not None


def test_names_are_known_without_importing_any_engine() -> None:
    code = "import sys, nas.registry; print({'onnxruntime', 'openvino', 'torch'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
