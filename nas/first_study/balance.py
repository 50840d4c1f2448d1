"""How evenly the classes occur, and how much is held back for validation and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.first_study.choices import Choice

UNEVEN = 3.0  # images of the most frequent class over those of the rarest, from which accuracy misleads
FEW, LARGER_SHARE, SHARE = 3000, 0.15, 0.1  # images that are split, below which a larger share is held back
LARGEST_HELD_BACK = 10_000  # images: more make accuracies hardly surer
PARTS = {"val": "validation", "test": "test"}


def choose_balance(class_names: Sequence[str], counts: Sequence[int]) -> list[Choice]:
    """Weights of the loss and the quality to search for, by the images of each class."""
    ratio = max(counts) / max(1, min(counts))
    if ratio < UNEVEN:
        return [Choice("objectives", ["accuracy"], "Traded off: accuracy on the validation images, and costs.")]
    many, few = class_names[int(np.argmax(counts))], class_names[int(np.argmin(counts))]
    why = f"Class {many!r} has {ratio:.0f} times the images of {few!r} ({max(counts):,} and {min(counts):,})"
    return [
        Choice("objectives", ["balanced_accuracy"], f"{why}: balanced accuracy is the mean over classes, which the "
               "rare ones count in as much as the frequent ones."),
        Choice("training.class_weights", "balanced", f"{why}; every class has the same weight in the loss."),
    ]  # fmt: skip


def choose_shares(given: Sequence[str], images: int) -> list[Choice]:
    """The shares of validation and test that do not come with the data; `images` are those to be split."""
    missing = [key for part, key in PARTS.items() if part not in given]
    share = LARGER_SHARE if images < FEW else min(SHARE, LARGEST_HELD_BACK / images)
    share = max(round(share, 2), 0.01)
    why = (
        f"No {' and no '.join(missing)} images are given, so a share of each class is held back; candidates are "
        "compared on validation, test is read once, after the search."
    )
    return [Choice(f"data.{key}", share, why if key == missing[0] else "") for key in missing]
