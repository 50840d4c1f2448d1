"""`nas schema`: the JSON schema of a study file, with which editors complete and check it."""

from __future__ import annotations

import copy
import json
from typing import Any

from nas.study.words import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> str:
    """The schema as JSON text: a description of every section, and of every key its meaning, bounds and default."""
    schema: dict[str, Any] = copy.deepcopy(dict(SCHEMA))
    for section in schema["$defs"].values():
        _or_a_preset(section)
    return json.dumps({"$schema": DIALECT, **schema}, indent=2)


def _or_a_preset(section: dict[str, Any]) -> None:
    """Keys that a preset fills are required only without one; `family` is required in any case."""
    if "preset" not in section["properties"]:
        return
    required = section.pop("required")
    section["anyOf"] = [{"required": ["preset"]}, {"required": required}]
    if "family" in required:
        section["required"] = ["family"]
