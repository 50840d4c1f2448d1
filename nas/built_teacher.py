"""Teachers that torchvision builds: fitted to the study's images and classes, with pretrained weights or without."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import InputError
from nas.study import Distillation
from nas.study.recipe import BUILDERS

LEAST_SIZE = 32  # these networks halve an image up to five times
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for which their weights were trained
DEFAULT, NONE = "DEFAULT", "none"
COUNTS = "num_batches_tracked"  # of batch norms, which older files lack, and no training here reads
# They answer with more than logits while they are trained.
WITH_SIDE_OUTPUTS = ("googlenet", "inception_v3")


class FittedInput(nn.Module):
    """What the builders' networks expect: (N, 1 or 3, H, W) in [0, 1] -> (N, 3, size, size), normalised as ImageNet's.

    Grey images are repeated in three channels, others are scaled bilinearly.
    """

    is_traced_as_leaf = True
    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.std


class BuiltTeacher(nn.Module):
    """A network of torchvision behind its fitted input: (N, 1 or 3, H, W) in [0, 1] -> (N, classes) logits."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.fitted, self.network = FittedInput(size), network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.fitted(x))
        return logits


@dataclass(frozen=True)
class Built:
    """A teacher, and whether all its weights came from a file, so that nothing of it is to be trained."""

    network: BuiltTeacher
    is_finished: bool


def build_teacher(options: Distillation, num_classes: int, image_size: int, *, seed: int, key: str) -> Built:
    """The teacher that `options` name, with the weights it begins with. Raises InputError that begins with `key`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = _builder(options.teacher, key)(weights=None, num_classes=num_classes)
    size = options.size or max(LEAST_SIZE, image_size)
    given = begun_with(options, key)
    if given is None:
        return Built(BuiltTeacher(network, size), False)
    return Built(BuiltTeacher(network, size), not _load(network, given, f"{key}.weights"))


def bare_teacher(options: Distillation, num_classes: int, image_size: int) -> BuiltTeacher:
    """The same network with weights that mean nothing yet."""
    given = options.model_copy(update={"weights": NONE})
    return build_teacher(given, num_classes, image_size, seed=0, key="training.distillation").network


def refuse_unknown(options: Distillation, key: str) -> None:
    """Raise InputError where torchvision has no such network, or its weights cannot be had; downloads them if need be.

    `key` is the section of the study that names it.
    """
    _builder(options.teacher, key)
    begun_with(options, key)


def begun_with(options: Distillation, key: str) -> Mapping[str, Tensor] | None:
    """The weights that a teacher begins with, read or downloaded; None for random ones. Tensors only, never code.

    Raises InputError where they cannot be had.
    """
    chosen = options.weights or DEFAULT
    if chosen == NONE:
        return None
    return _downloaded(options.teacher, key) if chosen == DEFAULT else _read(chosen, key)


def _builder(teacher: str, key: str) -> Any:
    """The function of torchvision that `teacher` names."""
    from torchvision import models

    name = teacher.removeprefix(BUILDERS)
    known = [known for known in models.list_models(module=models) if known not in WITH_SIDE_OUTPUTS]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {BUILDERS}{near[0]}?" if near else ""
        raise InputError(f"{key}.teacher: expected torchvision. and the name of a classifier, got {teacher!r}{hint}")
    return models.get_model_builder(name)


def _downloaded(teacher: str, key: str) -> Mapping[str, Tensor]:
    from torchvision import models

    _builder(teacher, key)
    weights = models.get_model_weights(teacher.removeprefix(BUILDERS)).DEFAULT
    try:
        found: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{key}.weights: those of {teacher} could not be downloaded from {weights.url}: {reason}; "
            "give a file of weights, or none"
        ) from None
    return found


def _read(name: str, key: str) -> Mapping[str, Tensor]:
    path = Path(os.path.expanduser(os.path.expandvars(name)))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(f"{key}.weights: expected DEFAULT, none or a file of weights, got {name}: {error}") from None
    except Exception as error:  # torch raises what pickle raises for code and for what is no checkpoint
        kind = type(error).__name__
        raise InputError(f"{key}.weights: expected a file that holds tensors alone, got {name} ({kind})") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(f"{key}.weights: expected tensors by name in {name}, got {type(found).__name__}")
    return found


def _load(network: nn.Module, given: Mapping[str, Tensor], key: str) -> list[str]:
    """Load weights, but for a classifier of other classes; the names of those that stay as they were."""
    own = network.state_dict()
    given = {**{name: value for name, value in own.items() if name.endswith(COUNTS)}, **given}
    if missing := [name for name in own if name not in given]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{key}: expected this network's weights, got none for {missing[0]}{more}")
    last = list(own)[-1].rpartition(".")[0]
    other = [name for name, value in own.items() if value.shape != given[name].shape]
    if strange := [name for name in other if name.rpartition(".")[0] != last and not _is_classifier(name)]:
        name = strange[0]
        raise InputError(f"{key}: expected {name} of shape {tuple(own[name].shape)}, got {tuple(given[name].shape)}")
    network.load_state_dict({**own, **{name: given[name] for name in own if name not in other}})
    return other


def _is_classifier(name: str) -> bool:
    return name.split(".")[0] in ("classifier", "fc", "head", "heads")
