"""Weights that a network begins with: from a file, from torchvision's download; fitted to a blueprint. Tensors only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from search_spaces.existing.blueprint import Blueprint, Node
from search_spaces.existing.errors import Unreadable, shown
from search_spaces.existing.executed import NORMED
from search_spaces.existing.known import Normalization
from search_spaces.existing.ops import OPS
from search_spaces.existing.space import TORCHVISION

COUNTS = "num_batches_tracked"  # of batch norms, which older files lack, and no training here reads
ANY_CLASSES = -1  # in a shape: how many classes there are
_WRAPPED = ("state_dict", "model")  # under which a checkpoint may hold the weights
_OF_COPIES = "module."  # how names begin that were saved from several devices' copies
# They bring pixels to a mean and deviation of one half by themselves, where they have torchvision's weights.
_OWN_INPUT = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Fitted:
    """Weights of a blueprint by name, and the layers that begin anew because they were changed."""

    state: Mapping[str, Tensor]
    anew: tuple[str, ...] = ()


def read_weights(name: str) -> Mapping[str, Tensor]:
    """Tensors by name from a .safetensors file or a saved state_dict; never code. Raises Unreadable."""
    path = Path(os.path.expanduser(os.path.expandvars(name)))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise Unreadable(f"expected DEFAULT, none or a file of weights, got {name}: {why}") from None
    except Exception as error:  # torch raises what pickle raises for code and for what is no checkpoint
        raise Unreadable(
            f"expected a file that holds tensors alone, got {name} ({type(error).__name__}); save the network's "
            "state_dict()"
        ) from None
    return _unwrapped(found, name)


def _unwrapped(found: Any, name: str) -> Mapping[str, Tensor]:
    for key in _WRAPPED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        kind = type(found).__name__
        raise Unreadable(f"expected tensors by name in {name}, got {kind}")
    if found and all(str(key).startswith(_OF_COPIES) for key in found):
        return {str(key).removeprefix(_OF_COPIES): value for key, value in found.items()}
    return found


def downloaded(name: str) -> Mapping[str, Tensor]:
    """torchvision's weights for `torchvision.NAME`, downloaded if need be. Raises Unreadable where they are not had."""
    weights = _pretrained(name)
    try:
        found: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise Unreadable(
            f"those of {name} could not be downloaded from {weights.url}: {reason}; give a file of weights, or none"
        ) from None
    return found


def normalization_of(name: str) -> Normalization:
    """How pixels in [0, 1] are normalised for torchvision's weights of `torchvision.NAME`."""
    if name.removeprefix(TORCHVISION) in _OWN_INPUT:
        return Normalization((0.5,) * 3, (0.5,) * 3)
    transforms = _pretrained(name).transforms()
    return Normalization(tuple(transforms.mean), tuple(transforms.std))


def _pretrained(name: str) -> Any:
    from torchvision import models

    if not name.startswith(TORCHVISION):
        raise Unreadable(f"expected none, own or a file of weights for {name}, got DEFAULT, which torchvision's have")
    return models.get_model_weights(name.removeprefix(TORCHVISION)).DEFAULT


def fit(given: Mapping[str, Tensor], original: Blueprint, edited: Blueprint, *, unused: Collection[str] = ()) -> Fitted:
    """Weights for the `edited` blueprint out of those of the `original`, or of a network edited likewise.

    The head may have any number of classes. `unused` are names that the original network has beside its layers.
    Raises Unreadable, with all names that are missing, unknown or of another shape.
    """
    before, signatures = dict(_shapes(original)), _signatures(original)
    state, anew, missing, misfits = dict[str, Tensor](), set[str](), list[str](), list[str]()
    for name, shape in _shapes(edited):
        layer, value = name.rpartition(".")[0], given.get(name)
        is_changed = signatures.get(layer) != _signatures(edited)[layer]
        if value is not None and (fitting := _fitting(value, shape)) is not None:
            state[name] = fitting
        elif is_changed and (value is None or _fitting(value, before.get(name, shape)) is not None):
            anew.add(layer)
        elif value is not None:
            misfits.append(f"{name} {tuple(value.shape)} where {_said(shape)} is expected")
        elif not name.endswith(COUNTS):
            missing.append(name)
    known = before.keys() | dict(_shapes(edited)).keys() | set(unused)
    _refuse(missing, [name for name in given if name not in known], misfits)
    return Fitted({name: value for name, value in state.items() if name.rpartition(".")[0] not in anew}, _sorted(anew))


def digest_of(state: Mapping[str, Tensor]) -> str:
    """First 12 hex digits of the sha256 of names, shapes, types and bytes, in the order of names."""
    found = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        found.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]


def _refuse(missing: list[str], unknown: list[str], misfits: list[str]) -> None:
    words = {"none for": missing, "unknown": unknown, "of another shape": misfits}
    found = [f"{word} {shown(names)}" for word, names in words.items() if names]
    if found:
        raise Unreadable(f"expected this network's weights, got {'; '.join(found)}")


def _shapes(blueprint: Blueprint) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a blueprint's weights; of the head the classes are ANY_CLASSES."""
    paths = set[str]()
    for node in blueprint.nodes:
        if OPS[node.op].has_weights and node.path not in paths:
            paths.add(node.path)
            for name, shape in _shapes_of(node, is_head=node.name == blueprint.head):
                yield f"{node.path}.{name}", shape


def _shapes_of(node: Node, *, is_head: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    fields: Mapping[str, Any] = node.fields
    if node.op in NORMED:
        channels = (fields["num_features"],)
        yield from ((name, channels) for name in ("weight", "bias", "running_mean", "running_var"))
        yield COUNTS, ()
        return
    if node.op == "conv":
        inner = (fields["in_channels"] // fields["groups"], *fields["kernel_size"])
        out = fields["out_channels"]
    else:
        inner, out = (fields["in_features"],), fields["out_features"]
    out = ANY_CLASSES if is_head else out
    yield "weight", (out, *inner)
    if fields["bias"]:
        yield "bias", (out,)


def _signatures(blueprint: Blueprint) -> dict[str, tuple[str, str]]:
    return {node.path: node.signature for node in blueprint.nodes if OPS[node.op].has_weights}


def _fitting(value: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """The tensor if it has this shape; that of a linear layer which is a convolution of one pixel, as the latter's."""
    if value.dim() == 2 and len(shape) == 4 and shape[2:] == (1, 1):
        value = value[:, :, None, None]
    is_fitting = len(value.shape) == len(shape) and all(
        expected in (ANY_CLASSES, got) for expected, got in zip(shape, value.shape, strict=True)
    )
    return value if is_fitting else None


def _said(shape: tuple[int, ...]) -> str:
    return f"({', '.join('classes' if size == ANY_CLASSES else str(size) for size in shape)})"


def _sorted(layers: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(layers))
