"""A whole study from what was found, and its numbers from what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data.records import Listing
from nas.errors import InputError
from nas.estimate import Line, Speed
from nas.first_study.budget import Numbers, numbers_at
from nas.first_study.choices import AS_ASKED, Choice
from nas.first_study.document import document
from nas.first_study.draft import Draft, fit_into
from nas.first_study.pictures import Looks
from nas.first_study.proposal import Found, Sized, data_choices, study_name, suited_size
from nas.study import Data, Study
from nas.study.effort import EFFORTS
from nas.study.file import parse_study

SpeedOf = Callable[[Study], Speed]
COUNT = 1000


@pytest.fixture
def draft() -> Draft:
    labels = np.arange(COUNT) % 2
    listing = Listing(("a", "b"), labels, {"train": np.arange(COUNT)}, lambda _: Image.new("L", (30, 30)), str)
    place = (Choice("data.source", "npz", "A file."), Choice("data.path", "x.npz"))
    found = Found(place, Data(source="npz", path="x.npz"), listing, Looks((300,), (300,), (0.0,)))
    return Draft("x", found, data_choices(found, seed=0), EFFORTS["normal"], "cpu", 2, Path("x.yaml"))


def fitted(draft: Draft, minutes: float, speed_of: SpeedOf, size: int = 96) -> tuple[int, Study]:
    timed = fit_into(draft, Sized(size), 60 * minutes, images=700, num_classes=2, speed_of=speed_of)
    return timed.sized.size, draft.study(timed.sized, timed.fitted.numbers)


def test_the_text_is_the_study(draft: Draft, speed_of: SpeedOf) -> None:
    timed = fit_into(draft, Sized(32), 3600, images=700, num_classes=2, speed_of=speed_of)
    text = document(draft.choices(timed.sized, timed.fitted.numbers, timed.speed), "x")
    study = parse_study(text, Path("x.yaml"))
    assert study == draft.study(timed.sized, timed.fitted.numbers)
    assert study.data.augments_flip is False
    assert "# flip: true\n" in text
    assert "# constraints: {latency_ms: {max: 0.34}}" in text
    assert "0.1 ms (smallest), 0.34 ms (middle), 2 ms (largest)" in text
    for number in (study.search.trials, study.search.epochs, study.search.finalists, study.training.epochs):
        assert f": {number}  # (machine)\n" in text


def test_more_time_is_more_of_everything(draft: Draft, speed_of: SpeedOf) -> None:
    _, short = fitted(draft, 20, speed_of, size=32)
    _, long = fitted(draft, 120, speed_of, size=32)
    assert short.search.trials < long.search.trials
    assert (short.search.epochs or 0) <= (long.search.epochs or 0)
    assert short.search.finalists < long.search.finalists


def test_smaller_images_where_the_time_is_short(draft: Draft, speed_of: SpeedOf) -> None:
    probed: list[int] = []

    def slower_when_larger(study: Study) -> Speed:
        probed.append(study.space.input_sizes[0])
        return replace(speed_of(study), around=Line(30.0 if study.space.input_sizes[0] > 32 else 0.1))

    size, study = fitted(draft, 10, slower_when_larger)
    assert size == study.space.input_sizes[0] == 32
    assert probed == [96, 32]  # 64 could not fit by what 96 took
    assert fitted(replace(draft, overrides=("space.preset=96px",)), 1, slower_when_larger)[0] == 96
    timed = fit_into(draft, Sized(96), 600, images=700, num_classes=2, speed_of=slower_when_larger)
    why = {choice.key: choice for choice in draft.choices(timed.sized, timed.fitted.numbers)}["space.preset"]
    assert "the least that makes sense takes about" in why.why
    assert why.is_timed


def test_the_least_is_given_where_nothing_fits(draft: Draft, speed_of: SpeedOf) -> None:
    size, study = fitted(draft, 0.1, speed_of)
    assert size == 32
    assert study.search.trials == EFFORTS["normal"].trials[0]


def test_what_is_asked_for_goes_first(draft: Draft, speed_of: SpeedOf) -> None:
    asking = replace(draft, overrides=("search.trials=5", "data.flip=true", "constraints.size_bytes.max=9e4"))
    _, study = fitted(asking, 30, speed_of, size=32)
    assert (study.search.trials, study.data.flip, study.limits) == (5, True, {"size_bytes": 90_000.0})
    said = {choice.key: choice.why for choice in asking.choices(Sized(32), _least())}
    assert said["search.trials"] == said["constraints.size_bytes"] == said["data.flip"] == AS_ASKED


@pytest.mark.parametrize(
    ("override", "trial", "final"),
    [
        ("training.epochs=3", 3, 3),
        ("finals.epochs=2", 2, 2),
        ("search.epochs=400", 400, 400),
        ("data.test=0.2", 15, 75),
    ],
)
def test_epochs_agree_with_those_asked_for(draft: Draft, override: str, trial: int, final: int) -> None:
    numbers = Numbers(1, 15, None, 1, 75, None, 16)
    study = replace(draft, overrides=(override,)).study(Sized(32), numbers)
    assert (study.search_epochs, study.final_epochs) == (trial, final)


def test_a_wrong_key_is_one_message(draft: Draft) -> None:
    with pytest.raises(InputError, match=r"command line: search\.trial: unknown key"):
        replace(draft, overrides=("search.trial=5",)).study(Sized(32), _least())
    with pytest.raises(InputError, match="command line: expected KEY=VALUE"):
        replace(draft, overrides=("search.trials",)).study(Sized(32), _least())


def test_uneven_classes_change_objective_and_loss(draft: Draft) -> None:
    labels = (np.arange(COUNT) % 10 == 0).astype(np.int64)
    uneven = replace(draft, found=replace(draft.found, listing=replace(draft.found.listing, labels=labels)))
    study = uneven.study(Sized(32), _least())
    assert study.objectives == ("balanced_accuracy", "latency_ms", "size_bytes")
    assert study.training.class_weights == "balanced"
    assert draft.study(Sized(32), _least()).objectives == ("accuracy", "latency_ms", "size_bytes")


def test_large_pictures_wait_for_a_larger_effort(draft: Draft) -> None:
    large = suited_size(draft.found, EFFORTS["thorough"])
    assert (large.size, large.reason) == (224, "")
    less = suited_size(draft.found, EFFORTS["normal"])
    assert less.size < 224
    assert "; 224 would show more of it" in less.reason
    (size,) = (choice for choice in draft.choices(less, _least()) if choice.key == "space.preset")
    assert less.reason in size.why
    assert not size.is_timed  # the effort says so, whatever the machine


def test_elsewhere_latency_does_not_count(draft: Draft, speed_of: SpeedOf) -> None:
    away = replace(draft, target="elsewhere")
    study = away.study(Sized(32), _least())
    assert "latency_ms" not in study.objectives
    assert not [c for c in away.choices(Sized(32), _least(), speed_of(study)) if c.key == "constraints.latency_ms"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a/my photos/", "my-photos"),
        ("x.npz", "x"),
        ("photos.v2", "photos.v2"),
        ("CIFAR10", "CIFAR10"),
        (".", "study"),
        ("é", "study"),
    ],
)
def test_names(given: str, name: str) -> None:
    assert study_name(given) == name


def _least() -> Numbers:
    return numbers_at(0, EFFORTS["normal"], 700)
