"""Zeros among a network's weights in words and cells, and what they are not good for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compressors.formats import BITS
from nas.records import LayerReport
from nas.report.figures import NONE, per_cent, present
from nas.study import Study

SHOWN_FROM = 0.005  # of the parameters: fewer zeros are chance


def zeros_text(row: Mapping[str, Any]) -> str:
    """The share of zeros among a network's parameters in per cent."""
    share = row.get("sparsity")
    return per_cent(100 * share) if present(share) else NONE


def has_zeros(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a table has reason to tell of zeros."""
    return any(present(row.get("sparsity")) and row["sparsity"] >= SHOWN_FROM for row in rows)


def sparsity_words(layers: Iterable[LayerReport]) -> str:
    """How many weights are zero; empty where nothing was counted."""
    counted = [layer for layer in layers if layer.sparsity is not None]
    weights = [layer.parameters - layer.out_channels for layer in counted]
    if not (total := sum(weights)):
        return ""
    zeros = sum(count * (layer.sparsity or 0.0) for count, layer in zip(weights, counted, strict=True))
    return f"{per_cent(100 * zeros / total)} % of the weights are zero"


def idle_words(masks: bool, formats: Iterable[str]) -> str:
    """That a CPU gains no time from what a network has of zeros and narrow formats; empty where it has neither."""
    narrow = any(BITS[name] < 8 for name in formats)
    what = [*(["Single zero weights"] if masks else []), *(["formats below 8 bits"] if narrow else [])]
    if not what:
        return ""
    subject = " and ".join(what)
    subject = subject[0].upper() + subject[1:]
    return f"{subject} make a file smaller, not faster: a CPU computes with every weight, in 8 bits or as a float."


def idle_words_of(study: Study) -> str:
    """The same of what a study may choose."""
    compression = study.compression
    return idle_words(any(choice is not None for choice in compression.mask_choices), compression.weight_format)
