"""`nas schema`: the JSON schema of a study file, with which editors complete and check it."""

from __future__ import annotations

import copy
import json
from typing import Any

from nas.study.words import SCHEMA
from search_spaces.mixes import AUTO

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> str:
    """The schema as JSON text: a description of every section, and of every key its meaning, bounds and default."""
    schema: dict[str, Any] = copy.deepcopy(dict(SCHEMA))
    for section in schema["$defs"].values():
        _or_a_preset(section)
    _without_a_family(schema)
    return json.dumps({"$schema": DIALECT, **schema}, indent=2)


def _or_a_preset(section: dict[str, Any]) -> None:
    """Keys that a preset fills are required only without one; a `family` that has no default in any case."""
    if "preset" not in section["properties"]:
        return
    required = section.pop("required")
    section["anyOf"] = [{"required": ["preset"]}, {"required": required}]
    if "family" in required:
        section["required"] = ["family"]


def _without_a_family(schema: dict[str, Any]) -> None:
    """A space of the family auto, or of a preset alone, is a mixed one, which may look like a mobile one as well."""
    mixed, space = schema["$defs"]["MixedSpace"], schema["properties"]["space"]
    del mixed["required"], mixed["properties"]["family"]["const"]
    mixed["properties"]["family"]["enum"] = ["mixed", AUTO]
    space["anyOf"] = space.pop("oneOf")
