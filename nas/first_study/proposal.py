"""Everything that was found, put together: the choices of a whole study, in the order of its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from nas.data.records import Listing
from nas.estimate import Known
from nas.first_study.balance import choose_balance, choose_shares
from nas.first_study.budget import Numbers
from nas.first_study.choices import Choice
from nas.first_study.groups import choose_groups
from nas.first_study.pictures import Looks, choose_form, preset_size
from nas.first_study.places import ARRAYS, TABLES
from nas.first_study.spaces import Base, space_choices
from nas.first_study.targets import choose_target, target_named
from nas.study import Data
from nas.study.effort import Effort

RATIOS, FORMATS = [0.0, 0.25, 0.5], ["int4", "int8"]
MIRRORS = (
    "What a mirror image means cannot be told from pixels. Switch it on where a mirrored picture stays what it is "
    "(animals, plants, food, textures); off for characters, signs, hands, left and right."
)


@dataclass(frozen=True)
class Found:
    """The data as they were found: where, as the study says it, every picture, and how some of them look."""

    place: tuple[Choice, ...]
    data: Data
    listing: Listing
    looks: Looks

    @property
    def counts(self) -> list[int]:
        """Training images of every class."""
        labels = self.listing.labels[self.listing.given["train"]]
        return [int(count) for count in np.bincount(labels, minlength=len(self.listing.class_names))]


@dataclass(frozen=True)
class Sized:
    """An input size, and why it is not what the pictures would have; is_timed: for this machine's speed."""

    size: int
    reason: str = ""
    is_timed: bool = False


def data_choices(found: Found, *, seed: int) -> list[Choice]:
    """The section `data`: where, in which form, how split, what stays together; the rest as comments."""
    split = choose_shares(tuple(found.listing.given), sum(found.counts))
    data = found.data.model_copy(update={choice.key.partition(".")[2]: choice.value for choice in split})
    return [
        *found.place,
        *choose_form(found.looks),
        *split,
        *choose_groups(data, found.listing, seed=seed),
        Choice("data.flip", False, "Training images are not mirrored."),
        Choice("data.flip", True, MIRRORS, is_suggestion=True),
    ]


def suited_size(found: Found, effort: Effort) -> Sized:
    """The input size that suits the pictures, as far as the effort goes."""
    suited = preset_size(found.looks)
    size = preset_size(found.looks, effort.most_pixels)
    return Sized(size, "" if size == suited else f"; {suited} would show more of it, and take a larger --effort")


def study_choices(
    name: str, found: Found, data: Sequence[Choice], *, sized: Sized, numbers: Numbers, target: str, workers: int,
    known: Sequence[Known] = (), base: Base | None = None,
) -> list[Choice]:  # fmt: skip
    """All choices of a study, in the order of its file; `known` are networks whose latency was measured.

    `base` is the network that is searched, where it exists already.
    """
    balance = choose_balance(found.listing.class_names, found.counts)
    quality, *weights = balance
    return [
        Choice("name", name),
        *data,
        *_image_limit("data", numbers.train_images, "finalists"),
        *space_choices(sized.size, found.looks, sized.reason, base=base, is_timed=sized.is_timed),
        *_compression(base),
        _objectives(quality, target),
        *_latency_limit(known, target),
        *_search(numbers, workers),
        *_training(numbers),
        *weights,
        choose_target(target),
    ]


def study_name(given: str) -> str:
    """A study's name from that of its folder, file or data set."""
    path = PurePath(given)
    own = path.stem if path.suffix.lower() in (*TABLES, *ARRAYS) else path.name
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", own).strip("-._")
    return name[:80] or "study"


def _compression(base: Base | None) -> list[Choice]:
    ties = "Channels that go from one part of the network to the next are pruned too, in all layers that have them."
    return [
        Choice("compression.pruning_ratio", RATIOS, "The share of channels that a block may lose."),
        *([] if base is None else [Choice("compression.stage_widths", True, ties)]),
        Choice("compression.weight_format", FORMATS, "Integers of 8 bits are the fastest; 4 bits halve the file."),
        Choice("compression.granularity", "block", "Every block has its own ratio and format."),
    ]


def _objectives(quality: Choice, target: str) -> Choice:
    costs = target_named(target).costs
    return replace(quality, value=[*quality.value, *costs])


def _latency_limit(known: Sequence[Known], target: str) -> list[Choice]:
    """A limit on latency as a comment, where it counts and is known of some networks."""
    if not known or "latency_ms" not in target_named(target).costs:
        return []
    shown = ", ".join(f"{one.latency_ms:.2g} ms ({one.name})" for one in known)
    middle = sorted(one.latency_ms for one in known)[(len(known) - 1) // 2]
    why = f"Latencies measured here: {shown}. A limit leaves out what is slower before it is trained."
    limit = {"max": float(f"{middle:.2g}")}
    return [Choice("constraints.latency_ms", limit, why, is_suggestion=True, is_timed=True)]


def _image_limit(section: str, images: int | None, who: str) -> list[Choice]:
    """A limit on the training images where the time does not allow all of them."""
    why = f"More images would take {who} longer than the time allows."
    return [] if images is None else [Choice(f"{section}.train_images", images, why, is_timed=True)]


def _search(numbers: Numbers, workers: int) -> list[Choice]:
    return [
        Choice("search.trials", numbers.trials, "Candidates that are trained and compared.", is_timed=True),
        Choice("search.epochs", numbers.epochs, "A trial's training is shorter than a finalist's.", is_timed=True),
        *_image_limit("search", numbers.search_images, "trials"),
        Choice(
            "search.finalists", numbers.finalists,
            "The best are trained again, longer, with another seed, and then tested.", is_timed=True,
        ),
        Choice("search.workers", workers, "Trainings at a time: one per core, eight at most.", is_timed=True),
        Choice("search.seed", 0),
    ]  # fmt: skip


def _training(numbers: Numbers) -> list[Choice]:
    return [
        Choice("training.epochs", numbers.final_epochs, "Of a finalist, and of the baseline beside it.", is_timed=True),
        Choice("training.batch_size", numbers.batch_size),
    ]
