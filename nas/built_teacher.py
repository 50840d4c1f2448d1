"""Teachers that torchvision builds: fitted to the study's images and classes, with pretrained weights or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import InputError
from nas.study import Distillation
from search_spaces.existing.bases import torchvision_builder
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.weights import COUNTS, downloaded, read_weights

LEAST_SIZE = 32  # these networks halve an image up to five times
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for which their weights were trained
DEFAULT, NONE = "DEFAULT", "none"
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
    _builder(options.teacher, key)
    try:
        return downloaded(options.teacher) if chosen == DEFAULT else read_weights(chosen)
    except Unreadable as error:
        raise InputError(f"{key}.weights: {error}") from None


def _builder(teacher: str, key: str) -> Callable[..., nn.Module]:
    """The function of torchvision that `teacher` names."""
    try:
        return torchvision_builder(teacher, without=WITH_SIDE_OUTPUTS)
    except Unreadable as error:
        raise InputError(f"{key}.teacher: {error}") from None


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
