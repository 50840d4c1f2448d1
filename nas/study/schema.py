"""`nas schema`: the JSON schema of a study file, so that editors complete and check what is typed."""

from __future__ import annotations

import copy
import json
from typing import Any

from nas.study.words import SCHEMA

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> str:
    """The schema as JSON text: sections with what they are for, every key with its meaning, bounds and default."""
    schema: dict[str, Any] = copy.deepcopy(dict(SCHEMA))
    for section in schema["$defs"].values():
        _or_a_preset(section)
    return json.dumps({"$schema": DIALECT, **schema}, indent=2)


def _or_a_preset(section: dict[str, Any]) -> None:
    """What is required is so only where no preset fills it; which family it is no preset says."""
    if "preset" not in section["properties"]:
        return
    required = section.pop("required")
    section["anyOf"] = [{"required": ["preset"]}, {"required": required}]
    if "family" in required:
        section["required"] = ["family"]
