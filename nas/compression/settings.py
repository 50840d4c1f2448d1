"""Wishes as a study: one whose every gene has a single choice, or one that searches the plan. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.compression.model import name_of
from nas.compression.wishes import Wishes
from nas.errors import InputError
from nas.first_study.choices import SECTIONS, Choice, Settings, overridden, settings_of
from nas.first_study.document import document
from nas.study import Study
from nas.study.file import override_settings, parse_study
from search_spaces.existing.space import ExistingSpace

# What a search of one network chooses from, where nothing is said.
SEARCHED_RATIOS, SEARCHED_FORMATS = (0.0, 0.25, 0.5, 0.75), ("int8", "int4")
SEARCHED: Mapping[str, Any] = {"pruning_ratio": list(SEARCHED_RATIOS), "weight_format": list(SEARCHED_FORMATS)}
DEFAULT_FORMAT = "int8"
DEFAULT_COSTS = ("size_bytes", "latency_ms")
MOST_FINALISTS, TRIALS_OF_A_FINALIST = 4, 6
# How a network with weights is trained on, where the user does not say. On digits, with five convolutions, half of the
# channels and 8 bits, means of two seeds after 4 and 10 epochs: 95.7 and 96.8 %; by the defaults of a training 94.6 and
# 96.7 %, with a learning rate of 0.01 93.7 and 96.4 %. With 4 bits after 4 epochs: 95.9, 94.6 and 94.3 %.
FINE_TUNING: Mapping[str, Any] = {
    "learning_rate": 0.03,
    "shares": {"dense": 0.1, "pruned": 0.5, "quantized": 0.4},
}
OWN_SECTIONS = ("name", "space", "data", "compression", "search", "constraints", "objectives", "baseline")
HEADING = (
    "Written by nas compress: one network, and {what}. Every key is described by nas schema; nas run searches by it."
)


def study_text(wishes: Wishes) -> str:
    """The study as YAML in which reasons stand above keys. Raises InputError where an override is no KEY=VALUE."""
    own = choices_of(wishes)
    choices = overridden(own, override_settings(settings_of(own), wishes.overrides))
    what = "one plan for it" if wishes.trials is None else "a search for its plan"
    return document(choices, HEADING.format(what=what))


def study_of(wishes: Wishes, path: Path) -> Study:
    """The study that the wishes come to; `path` is the file that it will have, for errors.

    Raises InputError where it is none, or searches another space than a network that exists.
    """
    own = choices_of(wishes)
    study = parse_study(document(own, name_of(wishes.space)), path, wishes.overrides)
    if not isinstance(study.space, ExistingSpace):
        raise InputError(f"space: expected a network that exists, got {study.space.words}")
    return study


def fine_tuning(wishes: Wishes) -> Wishes:
    """The wishes with FINE_TUNING in their training, but for what the user says; rates are those of sgd."""
    own = dict(wishes.sections.get("training", {}))
    asked = override_settings({"training": own}, wishes.overrides)["training"]
    is_sgd = asked.get("optimizer", "sgd") == "sgd"
    added = {key: value for key, value in FINE_TUNING.items() if key not in asked and (is_sgd or key == "shares")}
    return replace(wishes, sections={**wishes.sections, "training": {**added, **own}})


def choices_of(wishes: Wishes) -> list[Choice]:
    """What the study says besides the user's own overrides, in the order of its file."""
    return [
        Choice("name", name_of(wishes.space)),
        *_section("space", wishes.space),
        *_section("data", wishes.data),
        *(Choice("compression." + key, value, why) for key, value, why in _compression(wishes)),
        *_goals(wishes),
        *_search(wishes),
        *_others(wishes),
        Choice("baseline", False, "The network itself, uncompressed, is what it is compared with."),
    ]


def _section(name: str, settings: Settings) -> Iterator[Choice]:
    yield from (Choice(f"{name}.{key}", value) for key, value in settings.items())


def _compression(wishes: Wishes) -> Iterator[tuple[str, Any, str]]:
    searches = wishes.trials is not None
    ratios = wishes.ratio.choices or (SEARCHED_RATIOS if searches else (0.0,))
    formats = wishes.format.choices or (SEARCHED_FORMATS if searches else _lone_format(wishes))
    yield "pruning_ratio", _one_or_all(ratios), "The share of channels that go, of every layer that can be cut."
    yield "weight_format", _one_or_all(formats), ""
    if wishes.rank.choices:
        ranks = [None if one is None else one.decision() for one in wishes.rank.choices]
        yield "low_rank", _one_or_all(ranks), "How layers are factored."
    yield "stage_widths", True, "Widths that residual connections tie together are cut too, as one."
    yield "granularity", "block" if searches else "network", ""
    if wishes.importance is not None:
        yield "importance", wishes.importance, ""


def _lone_format(wishes: Wishes) -> tuple[str]:
    """Without a word about the plan, weights become 8-bit integers; with one about another step they stay floats."""
    says_else = wishes.ratio or wishes.rank or wishes.format
    return ("fp32",) if says_else and not wishes.finds_a_plan else (DEFAULT_FORMAT,)


def _one_or_all(choices: Sequence[Any]) -> Any:
    return choices[0] if len(choices) == 1 else list(choices)


def _goals(wishes: Wishes) -> Iterator[Choice]:
    costs = list(dict.fromkeys((*wishes.limits, *([] if wishes.limits else DEFAULT_COSTS))))
    yield Choice("objectives", ["accuracy", *costs])
    yield from (Choice(f"constraints.{name}", {"max": limit}) for name, limit in wishes.limits.items())


def _search(wishes: Wishes) -> Iterator[Choice]:
    if wishes.trials is None:
        yield Choice("search.trials", 1)
    else:
        yield Choice("search.trials", wishes.trials, "Plans that are tried.")
        finalists = max(1, min(MOST_FINALISTS, wishes.trials // TRIALS_OF_A_FINALIST))
        yield Choice("search.finalists", finalists, "The best are trained again, with another seed, and then tested.")
    yield Choice("search.seed", 0)


def _others(wishes: Wishes) -> Iterator[Choice]:
    """Sections that the user's own study has beside those that are written here."""
    sections = {name: given for name, given in wishes.sections.items() if name not in OWN_SECTIONS}
    if wishes.epochs is not None:
        sections["training"] = {**sections.get("training", {}), "epochs": wishes.epochs}
    for name, given in sections.items():
        if isinstance(given, Mapping) and name in SECTIONS:
            yield from _section(name, dict(given))
        else:
            yield Choice(name, given)
