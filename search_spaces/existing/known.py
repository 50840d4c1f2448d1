"""The existing networks that this process knows: blueprints by digest and by what named them, and weights. No torch.

A candidate's record names its network by a digest. What that stands for is read once: from a run folder's
`network.json`, or by `reading` where a study names a network that was not read yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.existing.blueprint import Blueprint

NETWORK_FILE = "network.json"  # in a run folder: what was read
WEIGHTS_FILE = "network.safetensors"  # beside it: the weights it begins with, if it begins with any
SCHEMA = 1


@dataclass(frozen=True)
class Normalization:
    """Means and standard deviations that pixels in [0, 1] are normalised with, one for all channels or one for each.

    None: those of the data.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Known:
    """A network that was read: its blueprint, the digest of the weights it begins with ("": none), and how pixels are
    normalised before it.

    anew: layers that have none of these weights, since they were changed; told when it is read, and not kept.
    """

    blueprint: Blueprint
    weights: str = ""
    normalization: Normalization | None = None
    anew: tuple[str, ...] = ()


_blueprints: dict[str, Blueprint] = {}
_read: dict[str, Known] = {}
_weights: dict[str, Path | Mapping[str, Any]] = {}


def words_of(asked: Mapping[str, Any]) -> str:
    """What a study says of a network, in one spelling."""
    return json.dumps(dict(asked), sort_keys=True)


def remember(asked: Mapping[str, Any], known: Known, weights: Path | Mapping[str, Any] | None = None) -> Known:
    """Keep a network under what a study says of it; `weights` are those it begins with, or the file that holds them."""
    _read[words_of(asked)] = known
    return _keep(known, weights)


def _keep(known: Known, weights: Path | Mapping[str, Any] | None) -> Known:
    """Keep a network under its digests alone."""
    remember_blueprint(known.blueprint)
    if known.weights and weights is not None:
        _weights.setdefault(known.weights, weights)
    return known


def remember_blueprint(blueprint: Blueprint) -> None:
    """Keep a blueprint alone: what candidates of it cost is known then, and what they begin with is not."""
    _blueprints.setdefault(blueprint.digest, blueprint)  # with all that was worked out of it


def known_as(asked: Mapping[str, Any]) -> Known | None:
    """The network that a study says this of, if it was read."""
    return _read.get(words_of(asked))


def blueprint_of(digest: str) -> Blueprint:
    """The blueprint of this digest. Raises ValueError where it is not known."""
    if digest not in _blueprints:
        raise ValueError(f"network {digest} is not known here: expected a {NETWORK_FILE} that holds it, got none")
    return _blueprints[digest]


def weights_of(digest: str) -> Path | Mapping[str, Any]:
    """Weights by name, or the file that holds them. Raises ValueError where they are not known."""
    if digest not in _weights:
        raise ValueError(f"weights {digest} are not known here: expected a {WEIGHTS_FILE} that holds them, got none")
    return _weights[digest]


def to_json(asked: Mapping[str, Any], known: Known) -> str:
    """The text of a run folder's `network.json`."""
    pixels = known.normalization
    return json.dumps(
        {
            "schema": SCHEMA,
            "asked": dict(asked),
            "blueprint": known.blueprint.to_json(),
            "weights": known.weights,
            "normalization": None if pixels is None else {"mean": list(pixels.mean), "std": list(pixels.std)},
        },
        indent=1,
    )


def remember_folder(folder: Path) -> Known | None:
    """Keep the network that a folder's `network.json` holds, with its weights beside it; None where there is none.

    It is the one that a study means from then on which says of its network what the run of this folder said. Raises
    ValueError, with the file, for a record that cannot be read.
    """
    found = _recorded(folder)
    return None if found is None else remember(*found, folder / WEIGHTS_FILE)


def remember_candidates_of(folder: Path) -> Known | None:
    """As `remember_folder`, for another run than the study's own: what its candidates name is known from then on, while
    what a study means stays, whose code or weights may have changed since that run.
    """
    found = _recorded(folder)
    return None if found is None else _keep(found[1], folder / WEIGHTS_FILE)


def remember_near(folder: Path) -> None:
    """As `remember_candidates_of` the run that an artifact's folder lies in, or the folder itself."""
    for place in (folder, *folder.resolve().parents[:3]):
        if remember_candidates_of(place) is not None:
            return


def _recorded(folder: Path) -> tuple[Mapping[str, Any], Known] | None:
    """What was asked for, and the network; None where the folder has no record of one, or another program's file."""
    file = folder / NETWORK_FILE
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise ValueError(f"{file}: expected the record of a network, got no JSON") from None
    if not isinstance(found, dict) or "schema" not in found:
        return None
    try:
        if found["schema"] != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}, got {found['schema']!r}")
        pixels = found["normalization"]
        known = Known(
            Blueprint.from_json(found["blueprint"]),
            found["weights"],
            None if pixels is None else Normalization(tuple(pixels["mean"]), tuple(pixels["std"])),
        )
        return dict(found["asked"]), known
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: expected the record of a network, got another: {why}") from None
