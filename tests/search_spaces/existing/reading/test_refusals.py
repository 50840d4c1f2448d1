"""What cannot be read is named: the layer, what it is, and what is supported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from read_networks import rebuilt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from search_spaces.existing.errors import Unreadable
from search_spaces.existing.reading import read_network
from search_spaces.existing.reading.confirming import refuse_other_outputs

torch.set_num_threads(1)


class Net(nn.Module):
    """A convolution, a function of its maps, and a classifier of as many features as there are channels."""

    def __init__(self, function: Callable[..., Any], layer: nn.Module | None = None, features: int = 4) -> None:
        super().__init__()
        self.conv, self.layer, self.function = nn.Conv2d(3, 4, 3, padding=1), layer, function
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.fc = nn.Linear(features, 2)

    def forward(self, x: Tensor) -> Any:
        x = self.function(self, self.conv(x))
        return self.fc(x.mean([2, 3])) if isinstance(x, torch.fx.Proxy) else x


FUNCTIONS: list[tuple[Callable[..., Any], str]] = [
    (lambda net, x: x * net.scale, r"the network \(Net\): mul\(\) reads scale outside of a layer, supported: weights"),
    (lambda net, x: x + 1, r"mean\(\) reads x \* 1 \+ 1, supported: constants in hard sigmoids alone$"),
    (lambda net, x: net.fc(x.mean([2, 3]) * 2), r"^fc \(Linear\): reads x \* 2 \+ 0, supported: constants in hard"),
    (lambda net, x: torch.mean(x, [2, 3], dtype=torch.float32), r"mean\(\) is called with arguments that"),
    (lambda net, x: F.max_pool2d(x, x.shape[2:]), r"max_pool2d\(\) kernel_size depends on the size of images"),
    (lambda net, x: F.avg_pool2d(x, x.shape[2:], padding=1), r"avg_pool2d\(\) kernel_size depends on the size of imag"),
    (lambda net, x: F.adaptive_avg_pool2d(x, x.size(2) // 8), r"avg_pool2d\(\) output_size depends on the size"),
    (lambda net, x: torch.add(x, x, alpha=2), r"add\(\) with alpha 2, supported: 1"),
    (lambda net, x: x - x, r"sub\(\) of two tensors, supported: sums"),
    (lambda net, x: x / x, r"truediv\(\) by a tensor or by 0"),
    (lambda net, x: x.exp(), r"exp\(\) is none of the functions supported: adap.*, cat, clamp, div, .*, tanh, and"),
    (lambda net, x: F.interpolate(x, scale_factor=2), r"interpolate\(\) is none of the functions supported"),
    (lambda net, x: F.pad(x, (1, 1)), r"pad\(\) is none of the functions supported"),
    (lambda net, x: x[:, :, ::2], r"moves or takes single pixels"),
    (lambda net, x: x.transpose(2, 3), r"moves or takes single pixels"),
    (lambda net, x: x.transpose(1, 2), r"moves or takes single pixels|channels"),
    (lambda net, x: x.view(x.size(0), 8, x.size(2), -1), r"moves or takes single pixels"),
    (lambda net, x: F.dropout(x, 0.5), r"dropout\(\) drops while it is evaluated, supported: training=self.training"),
    (lambda net, x: x.clamp(-1, 1), r"clamp\(\) clips to -1 to 1, supported: 0 to 6"),
    (lambda net, x: F.max_pool2d(x, 2, return_indices=True)[0], r"max_pool2d_?.* is none|return_indices True"),
    (lambda net, x: F.avg_pool2d(x, 2, divisor_override=3), r"avg_pool2d\(\) divisor_override 3, supported: none"),
    (lambda net, x: F.softmax(x.mean([2, 3]), 1)[:, :, None, None], r"reads probabilities, supported: softmax at the"),
    (lambda net, x: x.mean(1, keepdim=True), r"mean\(\) a mean over axes 1, supported: over all pixels"),
    (lambda net, x: x.mean(3).relu(), r"relu\(\) reads a mean along one axis of a map, supported: over all pixels"),
    (lambda net, x: torch.cat([x, x], 2), r"cat\(\) along axis 2, supported: along the channels"),
    (lambda net, x: torch.cat([x, torch.zeros(2, 1, 4, 4)], 1), r"cat\(\) reads a tensor of its own making outside of"),
    (lambda net, x: x * torch.ones(4, 1, 1), r"mul\(\) reads a tensor of its own making"),
    (lambda net, x: x + x.mean([2, 3], keepdim=True), r"add\(\) of \(\?, 4, \?, \?\) and \(\?, 4, 1, 1\), supported:"),
    (lambda net, x: F.elu(x, 1.0, True) if x.sum() > 0 else x, r"cannot be traced \(.*test_refusals.py, line \d+.*: a "
     r"branch or loop depends on the values or the size of a tensor; supported: a forward"),
    (lambda net, x: sum(x for _ in range(x.size(0))), r"cannot be traced .*TypeError"),
    (lambda net, x: undefined(x), r"cannot be traced .*NameError: name 'undefined'"),  # type: ignore[name-defined]  # noqa: F821
]  # fmt: skip


@pytest.mark.parametrize(("function", "said"), FUNCTIONS)
def test_functions(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_network(Net(function))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.LocalResponseNorm(2), r"^layer \(LocalResponseNorm\): is none of the layers supported: AdaptiveAvgPool2d"),
        (nn.ConvTranspose2d(4, 4, 3), r"^layer \(ConvTranspose2d\): is none of the layers supported"),
        (nn.GroupNorm(2, 4), r"^layer \(GroupNorm\): is none of"),
        (nn.PReLU(), r"^layer \(PReLU\): is none of"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), r"^layer \(Conv2d\): padding_mode reflect, supported:"),
        (nn.Conv2d(4, 4, 2, padding="same"), r"^layer \(Conv2d\): padding same with a kernel of \(2, 2\), supported: "),
        (nn.Conv2d(5, 4, 1), r"^layer \(Conv2d\): reads 4 channels, expected 5"),
        (nn.BatchNorm2d(4, affine=False), r"^layer \(BatchNorm2d\): no weights or no running statistics, supported"),
        (nn.BatchNorm2d(4, track_running_stats=False), r"^layer \(BatchNorm2d\): no weights or no running statistics"),
        (nn.BatchNorm2d(3), r"^layer \(BatchNorm2d\): reads 4 channels, expected 3"),
        (nn.BatchNorm1d(4), r"^layer \(BatchNorm1d\): reads a tensor of 4 axes, supported: features \(N, C\)"),
        (nn.MaxPool2d(2, return_indices=True), r"^layer \(MaxPool2d\): return_indices True, supported: False"),
        (nn.AdaptiveAvgPool2d((None, 1)), r"^layer \(AdaptiveAvgPool2d\): output_size \(None, 1\), supported: one or"),
        (nn.Linear(4, 4), r"^layer \(Linear\): reads maps, supported: behind flattening"),
        (parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), r"^layer \(ParametrizedConv2d\): has computed weights"),
    ],
)  # fmt: skip
def test_layers(layer: nn.Module, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        read_network(Net(lambda net, x: net.layer(x), layer))


class Own(nn.Module):
    """A forward that is given."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def fc() -> nn.Linear:
    return nn.Linear(3, 2)


NORMS: list[tuple[Callable[[Any, Tensor], Tensor], str]] = [
    (lambda net, x: net.fc(net.norm(x.mean([2, 3]))), r"^norm \(BatchNorm1d\): reads flatten.*, supported: a linear "),
    (lambda net, x: net.fc(net.norm(x.flatten(1))), r"^norm \(BatchNorm1d\): reads flatten \(flatten\), supported: a "),
    (lambda net, x: net.fc(net.norm(net.hidden(x.mean([2, 3])).relu())), r"^norm \(BatchNorm1d\): reads relu \(relu"),
    (lambda net, x: net.fc(net.norm(net.hidden(net.hidden(x.mean([2, 3]))))), r"reads hidden_1 \(linear\), supported: "
     "a linear layer that runs once and whose outputs nothing else reads"),
    (lambda net, x: net.fc(net.other(net.norm(net.hidden(x.mean([2, 3]))))), r"^other \(BatchNorm1d\): reads norm \("),
    (lambda net, x: net.norm(net.hidden(x.mean([2, 3]))), r"its logits come from norm \(norm1d\) at its end"),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "said"), NORMS)
def test_norms_of_features_without_a_linear_layer_of_their_own(
    forward: Callable[[Any, Tensor], Tensor], said: str
) -> None:
    layers = {"hidden": nn.Linear(3, 3), "norm": nn.BatchNorm1d(3), "other": nn.BatchNorm1d(3), "fc": fc()}
    with pytest.raises(Unreadable, match=said):
        read_network(Own(forward, **layers))


ENDS: list[tuple[nn.Module, str]] = [
    (Two(), r"the network \(Two\): forward takes x, y, supported: one batch of images"),
    (Own(lambda net, x: (net.fc(x.mean([2, 3])), x), fc=fc()), r"gives a tuple, supported: one tensor of logits"),
    (Own(lambda net, x: {"out": x}), r"gives a dict, supported: one tensor of logits"),
    (Own(lambda net, x: net.fc(x.mean([2, 3])) / 0.5, fc=fc()), r"gives a tensor times or plus a constant, supp"),
    (Own(lambda net, x: net.conv((x - 0.5) / 0.25), conv=nn.Conv2d(3, 2, 1)), r"^conv \(Conv2d\): reads x \* 4 \+ -2, "
     "supported: constants in hard sigmoids alone; space.pixels says how images are normalised"),
    (Own(lambda net, x: net.conv(x), conv=nn.Conv2d(3, 2, 1)), r"gives a tensor of 4 axes, supported: logits"),
    (Own(lambda net, x: x.mean([2, 3])), r"its logits come from nothing at its end, supported: a linear layer or"),
    (Own(lambda net, x: x.flatten(1)), r"its logits come from nothing at its end"),
    (Own(lambda net, x: net.fc(x.mean([2, 3])) + net.fc(x.mean([2, 3])), fc=fc()), r"come from add \(add\) at its"),
    (Own(lambda net, x: net.fc(net.fc(x.mean([2, 3]))), fc=nn.Linear(3, 3)), r"come from fc_1, which is of several "
     "groups or runs more than once"),
    (Own(lambda net, x: net.bn(net.c(x)).mean([2, 3]), c=nn.Conv2d(3, 2, 1), bn=nn.BatchNorm2d(2)), r"come from bn \("),
    (Own(lambda net, x: net.c(x).mean([2, 3]), c=nn.Conv2d(3, 3, 1, groups=3)), r"come from c, which is of several"),
    (Own(lambda net, x: net.fc(net.g(x.mean([2, 3])) + (x * net.g(x.mean([2, 3]))[:, :, None, None]).mean([2, 3])),
         g=nn.Linear(3, 3), fc=fc()), r"^g_1: runs g as something else than a node before it$"),
    (Own(lambda net, x: net.fc(x.flatten(1)), fc=nn.Linear(3 * 16, 2)), ""),
]  # fmt: skip


@pytest.mark.parametrize(("network", "said"), ENDS)
def test_ends(network: nn.Module, said: str) -> None:
    if not said:
        assert read_network(network).num_classes == 2
        return
    with pytest.raises(Unreadable, match=said):
        read_network(network)


def simple() -> Own:
    return Own(
        lambda net, x: net.fc(net.act(net.conv(x)).mean([2, 3])),
        conv=nn.Conv2d(3, 4, 1),
        act=nn.ReLU(),
        fc=nn.Linear(4, 2),
    )


def test_what_a_trace_does_not_show() -> None:
    hooked, replaced, shared = simple(), simple(), simple()
    hooked.get_submodule("act").register_forward_hook(lambda module, given, out: 2 * out)
    with pytest.raises(Unreadable, match=r"act \(ReLU\): has forward hooks, supported: layers without"):
        read_network(hooked)
    replaced.get_submodule("act").forward = torch.sigmoid  # type: ignore[method-assign, assignment]
    with pytest.raises(Unreadable, match=r"act \(ReLU\): its forward was replaced, supported: the class's own"):
        read_network(replaced)
    shared.act = nn.Conv2d(4, 4, 1)
    shared.act.bias = shared.get_submodule("conv").bias
    with pytest.raises(Unreadable, match=r"act.bias: is also conv.bias, supported: each layer has weights of its own"):
        read_network(shared)


def overwritten_view(net: Any, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, :2].relu_()
    logits: Tensor = net.fc(x.mean([2, 3]))
    return logits


def test_what_is_read_is_confirmed_by_its_outputs() -> None:
    network = simple()
    read = read_network(network)
    refuse_other_outputs(network, read, 8)
    softmax = Own(lambda net, x: F.softmax(net.fc(x.mean([2, 3])), 1), fc=fc())
    refuse_other_outputs(softmax, read_network(softmax), 8)
    changed = simple()
    changed.load_state_dict(network.state_dict())
    with torch.no_grad():
        changed.get_parameter("fc.bias")[0] += 0.01
    with pytest.raises(Unreadable, match=r"computes something else than the operations that .* differ by up to 0.01"):
        refuse_other_outputs(changed, read, 8)
    wide = Own(lambda net, x: net.fc(x.flatten(1)), fc=nn.Linear(3 * 16, 2))
    refuse_other_outputs(wide, read_network(wide), 4)
    with pytest.raises(Unreadable, match=r"cannot take images of 5x5 pixels: RuntimeError"):
        refuse_other_outputs(wide, read_network(wide), 5)


def test_views_that_are_overwritten_are_found() -> None:
    torch.manual_seed(0)
    network = Own(overwritten_view, conv=nn.Conv2d(3, 4, 1), fc=nn.Linear(4, 2))
    read = read_network(network)
    assert not torch.allclose(rebuilt(read)(images := torch.rand(1, 3, 4, 4)), network(images))
    with pytest.raises(Unreadable, match=r"computes something else"):
        refuse_other_outputs(network, read, 8)
