"""Cross-layer equalization: the same outputs, and ranges of one size on both sides of every ReLU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from compressors.folding import fold_batch_norm
from compressors.quantization.equalization import equalizable, equalize, factors

torch.set_num_threads(1)


def chain(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Pointwise, depthwise, in groups, pooled, linear."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 8, 1), activation(), nn.Conv2d(8, 8, 3, padding=1, groups=8), activation(),
        nn.Conv2d(8, 4, 1, groups=2, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    with torch.no_grad():
        network[0].weight.mul_(torch.logspace(-2, 2, 8).reshape(-1, 1, 1, 1))
        network[2].weight.mul_(torch.logspace(1, -1, 8).reshape(-1, 1, 1, 1))
    return network.eval()


class Flat(nn.Module):
    """The chain with torch.flatten, as networks here have it."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.features, self.classifier = layers[:7], layers[8]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


def folded(layers: nn.Sequential) -> fx.GraphModule:
    return fold_batch_norm(Flat(layers))


def test_outputs_stay_and_ranges_meet() -> None:
    network, x = folded(chain()), torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    before = network(x)
    pairs = equalizable(network)
    assert [(pair.first, pair.second) for pair in pairs] == [
        (network.get_submodule(f"features.{one}"), network.get_submodule(other))
        for one, other in ((0, "features.2"), (2, "features.4"), (4, "classifier"))
    ]
    spread = max(float(factors(pair).log().abs().max()) for pair in pairs)
    equalize(network)
    assert torch.allclose(network(x), before, atol=1e-5)
    assert spread > 1
    for pair in pairs:
        assert torch.allclose(factors(pair), torch.ones(pair.first.out_channels), atol=1e-3)


def test_factors_by_hand() -> None:
    network = fold_batch_norm(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval())
    with torch.no_grad():
        network.get_submodule("0").weight.copy_(torch.tensor([8.0, -1.0]).reshape(2, 1, 1, 1))
        network.get_submodule("2").weight.copy_(torch.tensor([-2.0, 4.0]).reshape(1, 2, 1, 1))
    (pair,) = equalizable(network)
    assert torch.allclose(factors(pair), torch.tensor([2.0, 0.5]))
    equalize(network, sweeps=1)
    assert pair.first.weight.flatten().tolist() == [4.0, -2.0]
    assert pair.second.weight.flatten().tolist() == [-4.0, 2.0]


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.Hardswish])
def test_what_does_not_commute_with_factors_is_left_alone(activation: type[nn.Module]) -> None:
    network = folded(chain(activation))
    assert [pair.second for pair in equalizable(network)] == [network.get_submodule("classifier")]


def test_a_channel_without_weights_is_left_alone() -> None:
    layers = chain()
    with torch.no_grad():
        layers[0].weight[3] = 0
    network = folded(layers)
    equalize(network)
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    assert float(network.get_submodule("features.0").weight[3].abs().sum()) == 0


def test_what_two_layers_read_is_left_alone() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one, self.other = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.one(x) + self.other(x)

    assert equalizable(fold_batch_norm(Split().eval())) == ()
