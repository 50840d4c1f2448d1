"""What a study will train on, in numbers and words: before anything is decoded, and without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nas.data import listed
from nas.data.of_study import listed_of, sizes_of
from nas.data.reading import named
from nas.data.records import Array, DataSet, Listing, Split
from nas.study import Data, Study

PARTS = ("train", "validation", "test")
FAR_FROM_ASKED = 0.1  # of what was asked for: a split by groups that is further away is warned of


@dataclass(frozen=True)
class DataSummary:
    """Images of every part and class, and what was left out.

    title: what reports call the data. images: part (train, validation, test) -> images per class, in the order of
    `class_names`. cut: parts that were cut from train, with the share that was asked for. unreadable: images that
    cannot be read, each as "path: reason". left_out: files and folders that are no images of the set, by reason.
    cached_bytes: what decoded images take in the cache, all input sizes together; 0 where they stay in memory.
    groups: how many groups the training, validation and test images form; empty without groups. notes: what else was
    found, in sentences. uncut: images per class that training and the cut parts were taken from, also those that
    `train_images` leaves out. trial_images: how many images a trial of the search is trained on.
    """

    title: str
    class_names: tuple[str, ...]
    images: Mapping[str, tuple[int, ...]]
    cut: Mapping[str, float]
    unreadable: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cached_bytes: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    uncut: tuple[int, ...] = ()
    trial_images: int = 0

    def total(self, part: str) -> int:
        return sum(self.images[part])

    @property
    def imbalance(self) -> float:
        """Training images of the most frequent class over those of the rarest."""
        return max(self.images["train"]) / max(1, min(self.images["train"]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where a split by groups is far from what was asked for, a sentence each that begins with its key."""
        return tuple(_far_from_asked(self))


def describe(study: Study, finals: DataSet | None = None) -> DataSummary:
    """What a study's finalists are trained on, and how many images its trials have.

    `finals`: the finalists' data where they are read; else they are listed here. Raises InputError where they cannot
    be used.
    """
    if finals is not None and finals.listing is not None:
        listing, split, unreadable = finals.listing, finals.split, finals.skipped
    else:
        listing, split = listed_of(study, "finals")
        unreadable = named(listing, dict(listing.faults))
    summary = _summary(study.data, listing, split, unreadable, sizes_of(study))
    if study.search_images == study.final_images:
        return summary
    trials = sum(_per_class(listing, np.asarray(listed_of(study, "search", listing)[1].train)))
    each = summary.cached_bytes // sum(map(summary.total, PARTS))
    return replace(summary, trial_images=trials, cached_bytes=summary.cached_bytes + each * trials)


def summarize(
    data: Data, listing: Listing | None = None, *, seed: int = 0, input_sizes: Sequence[int] = ()
) -> DataSummary:
    """As `describe`, of the section `data` alone; the `listing` may be known."""
    listing, split = listed(data, seed=seed, listing=listing)
    return _summary(data, listing, split, named(listing, dict(listing.faults)), input_sizes)


def _summary(
    data: Data, listing: Listing, split: Split, unreadable: tuple[str, ...], input_sizes: Sequence[int]
) -> DataSummary:
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    indices = {part: np.asarray(own, np.int64) for part, own in parts.items()}
    images = {part: _per_class(listing, own) for part, own in indices.items()}
    in_cache = listing.identity is not None and data.cache
    pixels = data.input_channels * sum(size * size for size in input_sizes) if in_cache else 0
    return DataSummary(
        data.title,
        listing.class_names,
        images,
        {part: getattr(data, part) for part in PARTS[1:] if _given_name(part) not in listing.given},
        unreadable,
        listing.left_out,
        pixels * sum(map(sum, images.values())),
        {} if listing.groups is None else {part: _groups_of(listing.groups, own) for part, own in indices.items()},
        listing.notes,
        _per_class(listing, listing.given["train"]),
        sum(images["train"]),
    )


def _given_name(part: str) -> str:
    return "val" if part == "validation" else part


def _per_class(listing: Listing, indices: Array) -> tuple[int, ...]:
    sound = [index for index in indices.tolist() if index not in listing.faults]
    counts = np.bincount(listing.labels[sound], minlength=len(listing.class_names))
    return tuple(counts.tolist())


def _groups_of(groups: Array, indices: Array) -> int:
    return len(np.unique(groups[indices]))


def _far_from_asked(summary: DataSummary) -> Iterator[str]:
    if not summary.groups:
        return
    for part, asked in summary.cut.items():
        got = summary.total(part) / sum(summary.uncut)
        shares = np.asarray(summary.images[part]) / np.maximum(1, summary.uncut)
        low, high = int(np.argmin(shares)), int(np.argmax(shares))
        if abs(got - asked) > FAR_FROM_ASKED * asked or shares[high] > 1.5 * asked or shares[low] < asked / 1.5:
            names = summary.class_names
            yield (
                f"data.{part}: asked for {asked:.1%}, got {got:.1%} of the images, from {shares[low]:.1%} of class "
                f"{names[low]!r} to {shares[high]:.1%} of {names[high]!r}: groups stay whole"
            )
