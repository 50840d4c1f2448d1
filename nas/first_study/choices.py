"""A study as a list of choices, each with its reason: what is written into the file and said on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Settings = dict[str, Any]  # of a study file: sections, keys, plain values
AS_ASKED = "As asked for on the command line."


@dataclass(frozen=True)
class Choice:
    """A value for a key of the study and, in words, why; without words it needs no explanation.

    key: `name`, or section and key as in `data.flip`. is_suggestion: it stands in the file as a comment, to be switched
    on by hand. is_timed: it follows from the speed of this machine, so another one may be given another value.
    """

    key: str
    value: Any
    why: str = ""
    is_suggestion: bool = False
    is_timed: bool = False


def settings_of(choices: Iterable[Choice]) -> Settings:
    """The choices as the data of a study file; the later of two for one key counts, suggestions do not."""
    settings = Settings()
    for choice in choices:
        if not choice.is_suggestion:
            section, _, key = choice.key.partition(".")
            if key:
                settings.setdefault(section, {})[key] = choice.value
            else:
                settings[section] = choice.value
    return settings


def overridden(choices: Sequence[Choice], wanted: Settings) -> list[Choice]:
    """The choices with the values of `wanted`, which are `settings_of(choices)` after the user's overrides.

    A choice that the user changed, or switched on, says so; what is new stands at the end; what is gone is dropped.
    """
    before, after = _entries(settings_of(choices)), _entries(wanted)
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    kept = list[Choice]()
    for choice in choices:
        if choice.key in changed:
            value = changed.pop(choice.key)
            kept.append(Choice(choice.key, value, AS_ASKED))
        elif choice.is_suggestion or choice.key in after:
            kept.append(choice)
    known = {choice.key for choice in kept if not choice.is_suggestion}
    asked = {choice.key for choice in kept if choice.why == AS_ASKED}
    kept = [choice for choice in kept if not (choice.is_suggestion and choice.key in asked)]
    return [*kept, *(Choice(key, value, AS_ASKED) for key, value in changed.items() if key not in known)]


def _entries(settings: Settings) -> dict[str, Any]:
    """Values by key and by section.key: what one line of the file says."""
    entries = dict[str, Any]()
    for section, value in settings.items():
        if isinstance(value, dict) and value and section in SECTIONS:
            entries |= {f"{section}.{key}": inner for key, inner in value.items()}
        else:
            entries[section] = value
    return entries


SECTIONS = ("data", "space", "compression", "constraints", "search", "training", "finals", "report", "artifacts")
