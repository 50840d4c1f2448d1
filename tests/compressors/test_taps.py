"""What a network holds inside, read while it runs: as plain modules, folded, and quantized."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.quantization import calibrate, prepare
from compressors.support import Unsupported
from compressors.taps import parts_of, scale_ends, tapped

torch.set_num_threads(1)
IMAGES = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv_bn = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_bn(self.conv(x))


class Small(nn.Module):
    """A stem, two blocks of which the second halves the size, and a classifier that may drop out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 1)
        self.stage1 = nn.Sequential(Block(), Block())
        self.stage2 = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU())
        self.pool, self.dropout, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stage2(self.stage1(self.stem(x)))
        logits: Tensor = self.classifier(self.dropout(torch.flatten(self.pool(maps), 1)))
        return logits


@pytest.fixture
def network() -> Small:
    torch.manual_seed(0)
    return Small().eval()


def test_the_ends_of_parts_are_what_they_give(network: Small) -> None:
    output, (block, stage, last) = tapped(network, ["stage1.0", "stage1", "stage2"])(IMAGES)
    first = network.stage1[0](network.stem(IMAGES))
    assert torch.equal(block, first)
    assert torch.equal(stage, network.stage1[1](first))
    assert torch.equal(last, network.stage2(stage))
    assert torch.equal(output, network(IMAGES))


@pytest.mark.parametrize("keep_norms", [False, True])
def test_of_a_quantized_network_too(network: Small, keep_norms: bool) -> None:
    """Its blocks are no modules that run any more; a copy and a folded one are read likewise."""
    names = ["stem", "stage1.0.conv", "stage2.0", "classifier"]
    quantized = prepare(network, dict.fromkeys(names, "int8"), keep_norms=keep_norms)
    calibrate(quantized, [IMAGES])
    for made in (fold_batch_norm(network), quantized, copy.deepcopy(quantized)):
        made.eval()
        output, (maps,) = tapped(made, ["stage1"])(IMAGES)
        exact = network.stage1(network.stem(IMAGES))
        assert torch.equal(output, made(IMAGES))
        assert torch.allclose(maps, exact, atol=0.05 * float(exact.detach().std()) + 1e-5)


def test_layers_and_their_mode_are_shared(network: Small) -> None:
    read = tapped(network, ["stage1"])
    assert {id(p) for p in read.parameters()} == {id(p) for p in network.parameters()}
    with torch.no_grad():
        network.classifier.bias.add_(1.0)
    assert torch.equal(read(IMAGES)[0], network(IMAGES))
    network.train()
    torch.manual_seed(1)
    dropped = read(IMAGES)[0]
    torch.manual_seed(1)
    assert torch.equal(dropped, network(IMAGES))
    read(IMAGES)[1][0].sum().backward()
    assert network.stage1[0].conv.weight.grad is not None
    assert network.classifier.weight.grad is None


def test_the_network_itself_stays_as_it_is(network: Small) -> None:
    quantized = prepare(network, {"stem": "int8"})
    calibrate(quantized, [IMAGES])
    before = str(quantized.graph)
    tapped(quantized, ["stage1"])
    assert str(quantized.graph) == before
    assert quantized(IMAGES).shape == (3, 3)


def test_unknown_parts_are_named(network: Small) -> None:
    assert parts_of(network)[:4] == ("stem", "stage1.0", "stage1.0.conv", "stage1") or "stage1" in parts_of(network)
    with pytest.raises(ValueError, match=r"expected parts among stem, .*, got stage3"):
        tapped(network, ["stage1", "stage3"])


def test_where_maps_become_smaller(network: Small) -> None:
    """Those of the images' own size and pooled ones are no ends; the largest module that ends there names it."""
    assert scale_ends(network, IMAGES) == ("stage2",)
    deep = nn.Sequential(nn.Conv2d(2, 3, 2, 2), nn.ReLU(), nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.ReLU()))
    assert scale_ends(deep, IMAGES) == ("1", "2")


def test_what_cannot_be_traced_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(Unsupported, match=r"the network \(Branching\): cannot be traced"):
        tapped(Branching(), [])
