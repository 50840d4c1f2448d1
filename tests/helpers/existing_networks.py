"""Existing networks that are tested: torchvision's and a perceptron, with plausible statistics of batch norms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision import models

from search_spaces.block_spaces import BlockSpace
from search_spaces.blocks import SelectChannels
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.edits import with_linear_head
from search_spaces.existing.known import Known, remember
from search_spaces.existing.reading import Read, read_network
from search_spaces.layers import ChannelGroup
from search_spaces.testing import realistic
from search_spaces.trials import Trial

CLASSES = 10
NAMES = (
    "resnet18", "vgg16_bn", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1",
    "regnet_y_400mf", "densenet121", "mlp",
)  # fmt: skip


class Mlp(nn.Module):
    """784-128-10."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 128), nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))
        return out


@dataclass(frozen=True)
class Existing:
    """A network as it came, and as it is read."""

    name: str
    module: nn.Module
    read: Read

    @property
    def channels(self) -> int:
        return 1 if self.name == "mlp" else 3

    @property
    def size(self) -> int:
        return 28 if self.name == "mlp" else 32

    @property
    def architecture(self) -> ExistingArchitecture:
        remember({"base": self.name, "test": True}, Known(self.read.blueprint))
        return ExistingArchitecture.model_validate(
            {"base": self.name, "network": self.read.blueprint.digest, "input_size": self.size,
             "input_channels": self.channels}
        )  # fmt: skip

    def images(self, count: int = 2) -> Tensor:
        shape = (count, self.channels, self.size, self.size)
        return torch.rand(shape, generator=torch.Generator().manual_seed(1))

    def built(self) -> ExistingNetwork:
        """Built from the blueprint alone, with the weights that were read."""
        network = ExistingNetwork(self.read.blueprint, CLASSES)
        network.load_state_dict(dict(self.read.state))
        return network.eval()


def existing(name: str, *, linear_head: bool = False) -> Existing:
    """`linear_head`: all behind the last map is one linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Mlp() if name == "mlp" else models.get_model(name, weights=None, num_classes=CLASSES)
    read = read_network(realistic(module))
    if linear_head:
        blueprint = with_linear_head(read.blueprint)
        own = ExistingNetwork(blueprint, CLASSES).state_dict()
        kept = {key: value for key, value in read.state.items() if key in own and value.shape == own[key].shape}
        read = replace(read, blueprint=blueprint, state={**own, **kept})
    return Existing(name, module, read)


@dataclass(frozen=True)
class Fixed:
    """A space of one network that was read already."""

    net: Existing
    width_grid: int = 1

    @property
    def input_sizes(self) -> tuple[int, ...]:
        return (self.net.size,)

    @property
    def stride(self) -> int:
        return 8

    def block_spaces(self) -> Mapping[str, BlockSpace]:
        return {}

    def of_one_kind(self) -> Sequence[Fixed]:
        return [self]

    def sample(self, trial: Trial, *, input_channels: Literal[1, 3]) -> ExistingArchitecture:
        return self.net.architecture


def silence(network: nn.Module, group: ChannelGroup, gone: range) -> None:
    """Let channels of a group be zero wherever they are written."""
    for place, (path, axis) in enumerate(group.members):
        module = network.get_submodule(path)
        if axis == 0 and not isinstance(module, SelectChannels):  # which has nothing of its own
            span = group.spans[place] if group.spans else None
            numbers = [number for channel in gone for number in ([channel] if span is None else span[channel])]
            for tensor in parameters_of(module):
                tensor.data[numbers] = 0


def parameters_of(module: nn.Module) -> Iterator[Tensor]:
    for name in ("weight", "bias"):
        tensor = getattr(module, name)
        if tensor is not None:
            yield tensor
