"""Reads a study file into a `Study`, every mistake at once with its line and key; compares two studies."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nas.errors import InputError
from nas.study import Study
from nas.study.located_yaml import Document, KeyPath, Problem, ProblemError, dump_yaml, read_yaml
from nas.study.words import KEY, SCHEMA, describe, dotted, explain, is_integer_choice, schema_at, show
from search_spaces.existing.known import NETWORK_FILE, WEIGHTS_FILE, Known, known_as, remember_folder, weights_of
from search_spaces.existing.space import ExistingSpace
from search_spaces.own_code import make_importable

COMMAND_LINE = 0
PRESET = "preset"  # the key that fills others
ANY = "*"  # an index
CHANGEABLE = (
    ("search", "trials"),
    ("search", "hours"),
    ("search", "epoch_budget"),
    ("search", "workers"),
    ("search", "engine"),
    ("search", "ray"),
    ("search", "storage"),
    ("tracking",),
    ("search", "trial_minutes"),
    ("search", "trial_gigabytes"),
    ("search", "finalists"),
    ("search", "repeat_share"),
    ("search", "stop_when_gain_below"),
    ("finals",),
    ("baseline",),
    ("data", "cache"),
    ("data", "split_seed"),
    ("data", "group_scope"),  # the split itself is compared with the recorded one
    ("artifacts",),
    ("report",),
    ("targets", ANY, "device"),  # whether it measures as the others did is seen by its fingerprint
    ("targets", ANY, "agent"),
    ("space", "trusted"),  # what it lets be read was read
)


@dataclass(frozen=True, slots=True)
class Before:
    """What was done in run folders that do not hold a key yet; with `beside` only where that key is given too."""

    section: str
    key: str
    value: Any
    beside: str | None = None


BEFORE = (
    Before("training", "batch_norm", "folded"),
    Before("data", "group_scope", "all", beside="group_pattern"),
)


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file; each override `KEY=VALUE` replaces the value of a dotted key.

    Code that the study names, and trusts, is looked for in its folder too. Of a run folder its existing network is
    known from then on, and none of its code is run again.
    """
    _recall(path.parent)
    return _validate(_document(path, overrides), path)


def parse_study(text: str, path: Path, overrides: Sequence[str] = ()) -> Study:
    """As `load_study`, of the text that the file at `path` has or will have."""
    return _validate(_read(text, path, overrides), path)


def study_of(settings: Mapping[str, Any]) -> Study:
    """The study of plain data that stands in no file.

    Raises InputError, a line per mistake that begins with its key.
    """
    return _validate(Document(copy.deepcopy(dict(settings))), None)


def frozen_settings(study: Study) -> dict[str, Any]:
    """What must not differ where a run goes on, by dotted key, as plain data."""
    settings = _settings(study.model_dump(mode="json"))
    return {dotted(key): value for key, value in settings if not any(_begins(key, prefix) for prefix in CHANGEABLE)}


def override_settings(settings: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain data of a study file after its overrides. Raises InputError where one is not KEY=VALUE."""
    document = Document(copy.deepcopy(settings))
    for override in overrides:
        _override(document, override)
    if document.problems:
        raise InputError("\n".join(_line(problem, Path()) for problem in document.problems))
    data: dict[str, Any] = document.data
    return data


def load_recorded(path: Path, overrides: Sequence[str] = ()) -> Study:
    """A run folder's study, which holds every key there was: those that came later mean what was done before.

    The run's existing network, if it is about one, is known from then on: its code is never run again.
    """
    document = _document(path, ())
    for before in BEFORE:
        section = document.data.get(before.section)
        if isinstance(section, dict) and (before.beside is None or section.get(before.beside)):
            section.setdefault(before.key, before.value)
    for override in overrides:
        _override(document, override)
    study = _validate(document, path)
    recall_network(study, path.parent)
    return study


def recall_network(study: Study, folder: Path) -> None:
    """Make the existing network of a run known here, if it is about one, out of its folder alone.

    Raises InputError where it is not there: read again, it could be another one.
    """
    _recall(folder)
    space = study.space
    if isinstance(space, ExistingSpace) and not _is_whole(known_as(space.asked(study.data.input_channels))):
        raise InputError(
            f"{folder}: expected {NETWORK_FILE}, with {WEIGHTS_FILE} where it begins with weights, of {space.words}, "
            "which this run is about; got none"
        )


def _is_whole(known: Known | None) -> bool:
    """Whether a network is known, and so are the weights that it begins with."""
    weights = weights_of(known.weights) if known is not None and known.weights else None
    return known is not None and (not isinstance(weights, Path) or weights.exists())


def _recall(folder: Path) -> None:
    """Make known what is recorded of a network in this folder."""
    try:
        remember_folder(folder)
    except ValueError as error:
        raise InputError(str(error)) from None


def placed(message: str, path: Path, overrides: Sequence[str] = ()) -> str:
    """A message whose lines begin with a key of the study, with file and line of each value; other lines as they are.

    For mistakes that are found only when the study runs: no such folder, too few images of a class.
    """
    return "\n".join(_placed(line, path, overrides) for line in message.split("\n"))


def _placed(line: str, path: Path, overrides: Sequence[str]) -> str:
    found = re.match(rf"({KEY}(?:\[\d+\]|\.{KEY})*): ", line)
    if found is None:
        return line
    key: KeyPath = tuple(int(part) if part.isdigit() else part for part in re.findall(rf"{KEY}|\d+", found[1]))
    if key[0] not in SCHEMA["properties"]:
        return line
    return _line(Problem(_document(path, overrides).line_of(key), key, line[found.end() :]), path)


def dump_study(study: Study) -> str:
    """The study as YAML with every default written out; loading it gives an equal study."""
    return dump_yaml(study.model_dump(mode="json"))


def difference(old: Study, new: Study) -> list[str]:
    """Lines like `search.seed: 0 -> 1` for the keys that differ."""
    return _changes(old, new, ignore=())


def frozen_difference(old: Study, new: Study, *, also: Sequence[KeyPath] = ()) -> list[str]:
    """`difference` without the keys that may change in a run folder that exists, and without some `also`."""
    return _changes(old, new, ignore=(*CHANGEABLE, *also))


def _document(path: Path, overrides: Sequence[str]) -> Document:
    """What the file and the overrides say, and the line of each key."""
    return _read(_read_text(path), path, overrides)


def _read(text: str, path: Path, overrides: Sequence[str]) -> Document:
    try:
        document = read_yaml(text)
    except ProblemError as error:
        raise InputError(_line(error.problem, path)) from None
    if not isinstance(document.data, dict):
        came = "an empty file" if document.data is None else show(document.data)
        raise InputError(f"{path}: expected a mapping with {', '.join(SCHEMA['properties'])}, got {came}")
    for override in overrides:
        _override(document, override)
    return document


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, got byte 0x{error.object[error.start]:02x}") from None


def _line(problem: Problem, path: Path | None) -> str:
    if path is None:
        return f"{dotted(problem.key)}: {problem.text}" if problem.key else problem.text
    place = "command line" if problem.line == COMMAND_LINE else f"{path}:{problem.line}"
    return f"{place}: {dotted(problem.key)}: {problem.text}" if problem.key else f"{place}: {problem.text}"


def _override(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().replace("[", ".").replace("]", "").split(".")
    if not equals or not all(parts):
        wrong = Problem(COMMAND_LINE, (), f"expected KEY=VALUE with a dotted key, got {override!r}")
        document.problems.append(wrong)
        return
    try:
        value = read_yaml(text)
    except ProblemError as error:
        document.problems.append(Problem(COMMAND_LINE, tuple(parts), error.problem.text))
        return
    document.problems += [Problem(COMMAND_LINE, (*parts, *p.key), p.text) for p in value.problems]
    _put(document, parts, value.data)


def _put(document: Document, parts: Sequence[str], value: Any) -> None:
    """Set the value at a dotted key and create missing sections; lines of what it replaces are forgotten."""
    here = document.data
    key: KeyPath = ()
    for i, part in enumerate(parts):
        try:
            slot = _slot(here, part)
        except LookupError as error:
            document.problems.append(Problem(COMMAND_LINE, (*key, part), str(error.args[0])))
            return
        key = (*key, slot)
        is_last = i == len(parts) - 1
        if is_last or not _holds(here, slot):
            here[slot] = value if is_last else _opened(key)
            document.lines = {k: line for k, line in document.lines.items() if k[: len(key)] != key}
            document.lines[key] = COMMAND_LINE
        here = here[slot]


def _slot(here: Any, part: str) -> str | int:
    """The key or index of `here` that `part` stands for."""
    if isinstance(here, dict):
        return part
    if not isinstance(here, list):
        raise LookupError(f"expected a mapping or list to set it in, got {show(here)}")
    if not part.isdecimal() or int(part) >= len(here):
        raise LookupError(f"expected an index below {len(here)}, got {part!r}")
    return int(part)


def _holds(here: Any, slot: Any) -> bool:
    return isinstance(here, list) or here.get(slot) is not None


def _opened(key: KeyPath) -> Any:
    """What an override of an entry begins with where the file leaves the key out: its default list or mapping."""
    schema = schema_at(key)
    has_entries = isinstance(schema.get("default"), list) or "propertyNames" in schema
    return copy.deepcopy(schema.get("default", {})) if has_entries else {}


def _validate(document: Document, path: Path | None) -> Study:
    problems = [*document.problems, *_loose_integers(document)]
    if _is_trusted(document.data):  # its code may lie beside it, or where the user is
        make_importable(Path.cwd() if path is None else path.parent, Path.cwd())
    try:
        study = Study.model_validate(_tuples(document.data), strict=True)
    except ValidationError as error:
        problems += _explained(error, document)
    if problems:
        ordered = sorted(problems, key=lambda p: (p.line == COMMAND_LINE, p.line))
        raise InputError("\n".join(dict.fromkeys(_line(problem, path) for problem in ordered)))
    return study


def _is_trusted(data: Any) -> bool:
    """Whether the study says that code of its space may be run."""
    space = data.get("space")
    return isinstance(space, dict) and space.get("trusted") is True


def _tuples(data: Any) -> Any:
    """Lists as tuples: strict validation takes nothing else for one."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(_tuples(value) for value in data) if isinstance(data, list) else data


def _explained(error: ValidationError, document: Document) -> Iterator[Problem]:
    """One problem per mistake: pydantic also calls a list with wrong entries too short, or no number."""
    errors = error.errors()
    found = [explain(details) for details in errors]
    keys = [key for key, _ in found]
    for details, (key, text) in zip(errors, found, strict=True):
        is_parent = any(key == other[: len(key)] != other for other in keys)
        if not is_parent and not (details["type"] == "missing" and _is_explained(key, errors, keys)):
            yield Problem(document.line_of(key), key, text)


def _is_explained(missing: KeyPath, errors: Sequence[ErrorDetails], keys: Sequence[KeyPath]) -> bool:
    """Whether a mistake beside a missing key says why it is missing: it is misspelled, or a preset would fill it."""
    for details, key in zip(errors, keys, strict=True):
        if details["type"] == "missing" or key[:-1] != missing[:-1]:
            continue
        if key[-1] == PRESET or difflib.get_close_matches(str(key[-1]), [str(missing[-1]), PRESET]):
            return True
    return False


def _loose_integers(document: Document) -> Iterator[Problem]:
    """A choice of integers given as true or 1.0."""
    for key, value in _leaves(document.data):
        schema = schema_at(key)
        if isinstance(value, bool | float) and is_integer_choice(schema):
            yield Problem(document.line_of(key), key, f"expected {describe(schema)}, got {show(value)}")


def _leaves(data: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    if not isinstance(data, dict | list):
        yield key, data
        return
    for name, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield from _leaves(value, (*key, name))


def _changes(old: Study, new: Study, *, ignore: Sequence[KeyPath]) -> list[str]:
    before, after = dict(_settings(old.model_dump(mode="json"))), dict(_settings(new.model_dump(mode="json")))
    changed = [key for key in dict.fromkeys([*before, *after]) if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    frozen = [key for key in changed if not any(_begins(key, prefix) for prefix in ignore)]
    return [f"{dotted(key)}: {_setting(before, key)} -> {_setting(after, key)}" for key in frozen]


def _begins(key: KeyPath, prefix: KeyPath) -> bool:
    """Whether a key is `prefix` or below it."""
    return len(key) >= len(prefix) and all(own in (part, ANY) for part, own in zip(key, prefix, strict=False))


_ABSENT = object()


def _setting(settings: dict[KeyPath, Any], key: KeyPath) -> str:
    return show(settings[key], text=str) if key in settings else "nothing"


def _settings(data: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value with its key; a list of scalars is one value."""
    is_table = isinstance(data, list) and any(isinstance(item, dict) for item in data)
    if not isinstance(data, dict) and not is_table:
        yield key, data
        return
    for name, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield from _settings(value, (*key, name))
