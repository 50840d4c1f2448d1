"""Reads the network that a study names: built, traced, edited, with the weights that it begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from search_spaces.existing import edits
from search_spaces.existing.bases import build_base
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.known import Known, Normalization, remember
from search_spaces.existing.reading.confirming import refuse_other_outputs
from search_spaces.existing.reading.given import given_as
from search_spaces.existing.reading.network import Read, read_network
from search_spaces.existing.space import TORCHVISION
from search_spaces.existing.weights import Fitted, digest_of, downloaded, fit, normalization_of, read_weights

T = TypeVar("T")
NONE, DEFAULT, OWN = "none", "DEFAULT", "own"


def read_space(asked: Mapping[str, Any], *, trusted: bool) -> Known:
    """Read the network that `ExistingSpace.asked` tells of, edited as it says, and remember it under that.

    Raises ValueError that begins with the key at fault, such as `space.base` or `space.weights`.
    """
    if (given := given_as(asked["base"])) is not None:
        return remember_read(given, asked)
    network = _for_key("base", lambda: build_base(asked["base"], trusted=trusted))
    read = _for_key("base", lambda: read_network(network))
    if not asked["base"].startswith(TORCHVISION):  # what those compute is tested
        _for_key("base", lambda: refuse_other_outputs(network, read, asked["small_images"]))
    return remember_read(read, asked)


def remember_read(read: Read, asked: Mapping[str, Any]) -> Known:
    """A network that was read already, edited as `asked` says, and remembered under that. Raises as `read_space`."""
    normalization = _for_key("pixels", lambda: _normalization(asked))
    blueprint = _for_key("base", lambda: _fitted_input(read.blueprint, asked["input_channels"], normalization))
    if asked["head"] == "linear":
        blueprint = _for_key("head", lambda: edits.with_linear_head(blueprint))
    blueprint = _for_key("stem", lambda: _with_stem(blueprint, asked))
    fitted = _for_key("weights", lambda: _weights(read, blueprint, asked))
    if fitted is None:
        return remember(asked, Known(blueprint, "", normalization))
    known = Known(blueprint, digest_of(fitted.state), normalization, fitted.anew)
    return remember(asked, known, fitted.state)


def _for_key(key: str, step: Callable[[], T]) -> T:
    """What a step gives; what it refuses begins with the key of the study that asked for it."""
    try:
        return step()
    except Unreadable as error:
        raise Unreadable(f"space.{key}: {error}") from None


def _normalization(asked: Mapping[str, Any]) -> Normalization | None:
    """How pixels are normalised; None: by the mean and deviation of the data."""
    pixels = asked["pixels"]
    if pixels == "auto":
        is_default = asked["weights"] == DEFAULT and asked["base"].startswith(TORCHVISION)
        return normalization_of(asked["base"]) if is_default else None
    if pixels == "data":
        return None
    if pixels == "none":
        return Normalization((0.0,), (1.0,))
    mean, std = tuple(pixels["mean"]), tuple(pixels["std"])
    if len(mean) != len(std) or len(mean) not in (1, 3):
        raise Unreadable(f"expected one or three numbers for both mean and std, got {list(mean)} and {list(std)}")
    if min(std) <= 0:
        raise Unreadable(f"expected a positive std, got {list(std)}")
    return Normalization(mean, std)


def _fitted_input(blueprint: Blueprint, channels: int, normalization: Normalization | None) -> Blueprint:
    """The network on images of so many channels. A normalisation of each channel repeats grey ones by itself."""
    own = blueprint.input_channels
    if own not in (1, 3):
        raise Unreadable(f"reads images of {own} channels, supported: 1 or 3")
    if own < channels:
        raise Unreadable(f"reads images of 1 channel, while the data's have {channels}")
    per_channel = 1 if normalization is None else len(normalization.mean)
    if per_channel > own:
        raise Unreadable(f"reads images of 1 channel, while space.pixels normalises {per_channel}")
    return edits.with_grey_input(blueprint) if own > channels and per_channel == 1 else blueprint


def _with_stem(blueprint: Blueprint, asked: Mapping[str, Any]) -> Blueprint:
    is_small = asked["stem"] == "small" or (
        asked["stem"] == "auto"
        and asked["weights"] == NONE
        and edits.prefers_small_stem(blueprint, asked["small_images"])
    )
    return edits.with_small_stem(blueprint) if is_small else blueprint


def _weights(read: Read, blueprint: Blueprint, asked: Mapping[str, Any]) -> Fitted | None:
    """What the network begins with; None: random weights."""
    choice, base = asked["weights"], asked["base"]
    if choice == NONE:
        return None
    if choice == OWN and base.startswith(TORCHVISION):
        raise Unreadable(f"expected none, DEFAULT or a file, got own: {base} comes with random ones")
    given = read.state if choice == OWN else downloaded(base) if choice == DEFAULT else read_weights(choice)
    return fit(given, read.blueprint, blueprint, unused=read.unused)
