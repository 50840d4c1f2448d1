"""The schema that editors read: every key with its meaning, and shipped studies pass it while mistakes do not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nas.study import Study
from nas.study.file import CHANGEABLE
from nas.study.located_yaml import read_yaml
from nas.study.schema import study_schema

ROOT = Path(__file__).parents[3]
STUDIES = sorted((ROOT / "studies").rglob("*.yaml"))
SCHEMA = json.loads(study_schema())
KINDS = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}


def faults(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What JSON Schema says against a value; as much of it as the schema uses, and a KeyError for the rest."""
    known = {"title", "description", "default", "$schema", "$defs", "discriminator", *CHECKS}
    assert set(schema) <= known, set(schema) - known
    for keyword, check in CHECKS.items():
        if keyword in schema:
            yield from check(value, schema[keyword], schema, where)


def _type(value: Any, kind: str, _: Any, where: str) -> Iterator[str]:
    is_number = kind in ("number", "integer") and isinstance(value, bool)
    if kind == "null":
        if value is not None:
            yield f"{where}: not null"
    elif is_number or not isinstance(value, KINDS[kind]):
        yield f"{where}: no {kind}"


def _any(value: Any, options: list[Any], _: Any, where: str) -> Iterator[str]:
    if all(list(faults(value, option, where)) for option in options):
        yield f"{where}: fits none"


def _one(value: Any, options: list[Any], _: Any, where: str) -> Iterator[str]:
    fitting = sum(not list(faults(value, option, where)) for option in options)
    if fitting != 1:
        yield f"{where}: fits {fitting or 'none'}"


def _properties(value: Any, properties: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for key, part in value.items():
        matching = [own for pattern, own in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        if key in properties:
            yield from faults(part, properties[key], f"{where}.{key}")
        elif matching:
            for own in matching:
                yield from faults(part, own, f"{where}.{key}")
        elif schema.get("additionalProperties") is False:
            yield f"{where}.{key}: unknown"


def _mapping(value: Any, part: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if isinstance(value, dict) and part is not False and "properties" not in schema:
        for key, each in value.items():
            yield from faults(each, part, f"{where}.{key}")


def _items(value: Any, part: Any, _: Any, where: str) -> Iterator[str]:
    if isinstance(value, list) and part is not False:
        for i, each in enumerate(value):
            yield from faults(each, part, f"{where}[{i}]")


def _names(value: Any, part: Any, _: Any, where: str) -> Iterator[str]:
    for key in value if isinstance(value, dict) else ():
        yield from faults(key, part, f"{where}.{key}")


def _prefix(value: Any, parts: list[Any], _: Any, where: str) -> Iterator[str]:
    for i, (each, part) in enumerate(zip(value, parts, strict=False)):
        yield from faults(each, part, f"{where}[{i}]")


def _reference(value: Any, name: str, _: Any, where: str) -> Iterator[str]:
    yield from faults(value, SCHEMA["$defs"][name.rpartition("/")[2]], where)


def _when(wrong: Any) -> Any:
    def check(value: Any, bound: Any, _: Any, where: str) -> Iterator[str]:
        try:
            if wrong(value, bound):
                yield f"{where}: {value!r} against {bound!r}"
        except TypeError:
            yield f"{where}: {value!r}"

    return check


CHECKS = {
    "patternProperties": lambda *_: (),  # beside `properties`, which looks at them
    "type": _type, "anyOf": _any, "oneOf": _one, "properties": _properties, "additionalProperties": _mapping,
    "items": _items, "propertyNames": _names, "prefixItems": _prefix, "$ref": _reference,
    "enum": _when(lambda v, b: v not in b), "const": _when(lambda v, b: v != b),
    "minimum": _when(lambda v, b: v < b), "maximum": _when(lambda v, b: v > b),
    "exclusiveMinimum": _when(lambda v, b: v <= b), "exclusiveMaximum": _when(lambda v, b: v >= b),
    "minItems": _when(lambda v, b: len(v) < b), "maxItems": _when(lambda v, b: len(v) > b),
    "minProperties": _when(lambda v, b: len(v) < b),
    "maxLength": _when(lambda v, b: len(v) > b), "minLength": _when(lambda v, b: len(v) < b),
    "pattern": _when(lambda v, b: not re.search(b, v)),
    "required": _when(lambda v, b: not set(b) <= set(v)),
}  # fmt: skip


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_pass(path: Path) -> None:
    assert list(faults(read_yaml(path.read_text()).data, SCHEMA)) == []


ONLY_WITH_A_SOURCE = ("path", "dataset")
MIXED: dict[str, Any] = {"family": "mixed", "preset": "8px"}
BASE: dict[str, Any] = {"name": "x", "data": {"source": "digits"}, "space": {"preset": "8px"}}


WIDE = {
    "data": {"source": "torchvision", "dataset": "CIFAR10", "path": "d", "resize": "crop"},
    "space": {**MIXED, "input_size": [8, 16], "blocks": {"residual": {"kernels": [3], "expansions": [1]}}},
    "compression": {"learned_step_sizes": ["int4"], "stage_widths": True},
    "objectives": ["macro_f1", "macs"],
    "constraints": {"macs": {"max": 1e6}},
    "training": {"ema": {"choices": [0.0, 0.99]}, "l1": {"low": 1e-6, "high": 1e-3, "log": True}, "randaugment": {}},
    "targets": [{"name": "cpu"}],
}


@pytest.mark.parametrize("family", ["mobile", "shuffle", "mixed", "auto"])
def test_a_space_is_of_one_family(family: str) -> None:
    assert list(faults({**BASE, "space": {"family": family, "preset": "8px"}}, SCHEMA)) == []


@pytest.mark.parametrize("space", [{"preset": "32px", "blocks": {"plain": {"kernels": [3]}}}, {"preset": "32px"}])
def test_a_space_without_a_family(space: dict[str, Any]) -> None:
    """With a preset it is a mixed one."""
    assert list(faults({**BASE, "space": space}, SCHEMA)) == []


def test_the_breadth_of_a_study_passes() -> None:
    assert list(faults({**BASE, **WIDE}, SCHEMA)) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"search": {"trails": 3}}, ".search.trails: unknown"),
        ({"search": {"trials": 0}}, ".search.trials: 0"),
        ({"search": {"workers": 1.5}}, ".search.workers: fits none"),
        ({"search": {"hours": 0}}, ".search.hours: fits none"),
        ({"objectives": ["speed"]}, ".objectives[0]: fits none"),
        ({"objectives": ["macs@cpu"]}, ".objectives[0]: fits none"),
        ({"constraints": {"macs@cpu": {"max": 1}}}, ".constraints.macs@cpu: unknown"),
        ({"constraints": {"latency_ms@cpu": {"max": 0}}}, ".constraints.latency_ms@cpu.max: 0"),
        ({"constraints": {"accuracy": {"max": 1}}}, ".constraints.accuracy: fits none"),
        ({"space": {"kernels": [3]}}, ".space: fits none"),
        ({"name": "a b"}, ".name: 'a b'"),
        ({"artifacts": {"keep": "none"}}, ".artifacts.keep: 'none'"),
        ({"space": {**MIXED, "blocks": {"residual": {"kernels": [4], "expansions": [1]}}}}, ".space: fits none"),
        ({"space": {**MIXED, "blocks": {}}}, ".space: fits none"),
        ({"training": {"ema": 1.0}}, ".training.ema: fits none"),
        ({"training": {"ema": {"low": 0.5, "high": 1.0}}}, ".training.ema: fits none"),
        ({"training": {"ema": {"choices": [0.5, 1.0]}}}, ".training.ema: fits none"),
        ({"training": {"randaugment": {"operations": 9}}}, ".training.randaugment: fits none"),
    ],
)
def test_mistakes_do_not(change: dict[str, Any], where: str) -> None:
    assert list(faults(BASE, SCHEMA)) == []
    found = list(faults({**BASE, **change}, SCHEMA))
    assert len(found) == 1
    assert found[0].startswith(where)


SECTIONS = {"Study": SCHEMA, **SCHEMA["$defs"]}
KEYS = [(name, key) for name, section in SECTIONS.items() for key in section["properties"]]


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_says_what_it_is_for(name: str) -> None:
    assert re.fullmatch(r"[A-Z].+\.", SECTIONS[name]["description"], re.DOTALL)


@pytest.mark.parametrize(("name", "key"), KEYS, ids=map(".".join, KEYS))
def test_every_key_says_what_it_means(name: str, key: str) -> None:
    """Or means what its section is for; with the default where the schema's own word for it is null."""
    part = SECTIONS[name]["properties"][key]
    section = SCHEMA["$defs"].get(part.get("$ref", "").rpartition("/")[2], {})
    means = part.get("description") or section.get("description", "")
    assert re.fullmatch(r"\S.{9,}\.", means, re.DOTALL), f"{name}.{key} has no description"
    if "default" in part and part["default"] is None and key not in ONLY_WITH_A_SOURCE:
        assert "default" in means


def test_names_of_sections_are_words() -> None:
    for name in SECTIONS:
        assert re.fullmatch(r"[A-Za-z]{4,30}", name)
        assert SECTIONS[name]["title"] == name


FILES = {"yaml", "png", "csv", "html", "md", "json", "py"}  # study.yaml is a file, search.yaml would be
PAGES = ("README.md", "studies/how-it-works.md", "studies/extending.md")


def test_pages_name_keys_that_there_are() -> None:
    """`search.trials`, `constraints.size_bytes.max=50000`, `finals.*`: every section's key that a page names."""
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    sections = "|".join(key for key, part in SCHEMA["properties"].items() if "$ref" in part)
    named = set(re.findall(rf"\b(?:{sections})\.([a-z_]+)\b(?!\.(?:json|py|csv)|/)", text)) - FILES
    assert named <= set(re.findall(r'"(\w+)"', json.dumps(SCHEMA)))
    assert len(named) >= 8


def test_the_readme_names_what_may_change() -> None:
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `nas run "))
    assert all(f"{key[-1]}`" in row for key in CHANGEABLE)


def test_searched_numbers_keep_their_bounds() -> None:
    """Each of the three ways to write one has the bounds of the plain number."""
    training = SCHEMA["$defs"]["Training"]["properties"]
    searched = {key: part for key, part in training.items() if "Range" in json.dumps(part)}
    assert set(searched) == {
        "learning_rate", "momentum", "weight_decay", "l1", "bn_sparsity", "rate_weight", "gamma", "label_smoothing",
        "dropout", "ema", "mixup", "cutout",
    }  # fmt: skip
    for part in searched.values():
        ways = part.get("oneOf") or part["anyOf"][0]["oneOf"]
        number, among, choices = ways[0], *(SCHEMA["$defs"][way["$ref"].rpartition("/")[2]] for way in ways[1:])
        for spelled in (
            *(among["properties"][key] for key in ("low", "high")),
            choices["properties"]["choices"]["items"],
        ):
            assert {key: spelled[key] for key in number} == number


def test_defaults_are_those_of_the_records() -> None:
    assert set(SCHEMA["properties"]) == set(Study.model_fields)
    search = SCHEMA["$defs"]["Search"]["properties"]
    assert (search["trials"]["default"], search["sampler"]["default"], search["hours"]["default"]) == (
        24,
        "pareto",
        None,
    )
    assert SCHEMA["properties"]["objectives"]["default"] == ["accuracy", "parameters", "latency_ms", "size_bytes"]
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
