"""What was read computes what the network does: torchvision's classifiers, and networks as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from read_networks import of_torchvision, rebuilt
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.executed import folded_norms
from search_spaces.existing.ops import OPS
from search_spaces.existing.parts import layers_of
from search_spaces.existing.reading import Unreadable, read_network

torch.set_num_threads(1)
SIZES = {
    "resnet18": 64, "vgg16_bn": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 64, "shufflenet_v2_x0_5": 32,
    "squeezenet1_0": 64, "squeezenet1_1": 32, "regnet_y_400mf": 32, "densenet121": 32, "googlenet": 64,
    "mnasnet0_5": 32, "efficientnet_b0": 64, "resnext50_32x4d": 32, "inception_v3": 96,
}  # fmt: skip


def test_torchvision_has_no_more_families() -> None:
    """Its classifiers are of those tested here, or transformers."""
    from torchvision import models

    families = {name.split("_")[0].rstrip("0123456789") for name in models.list_models(module=models)}
    tested = {name.split("_")[0].rstrip("0123456789") for name in SIZES}
    assert families - tested == {"alexnet", "convnext", "maxvit", "swin", "vit", "wide"}  # wide: a ResNet


@pytest.mark.parametrize("name", SIZES)
def test_classifiers_of_torchvision(name: str) -> None:
    keys = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network = of_torchvision(name, **keys).train()
    read = read_network(network)
    assert all(module.training for module in network.modules())
    network.eval()
    images = torch.rand(2, 3, SIZES[name], SIZES[name], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), rebuilt(read)(images)
    assert float(expected.std()) > 1e-4
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert (read.num_classes, read.blueprint.input_channels) == (7, 3)
    whole = network.state_dict()
    assert {**read.state}.keys() | read.unused == whole.keys()
    assert {each.split(".")[0].lower() for each in read.unused} <= {"aux1", "aux2", "auxlogits"}
    assert all(torch.equal(value, whole[name]) for name, value in read.state.items())
    assert Blueprint.from_json(read.blueprint.to_json()).digest == read.blueprint.digest


def test_the_class_count_is_no_part_of_a_blueprint() -> None:
    one, other = (read_network(of_torchvision("resnet18", classes)) for classes in (3, 5))
    assert one.blueprint == other.blueprint
    assert (one.num_classes, other.num_classes) == (3, 5)
    assert one.blueprint.by_name["fc"].fields["out_features"] == 1
    assert read_network(of_torchvision("resnet34", 3)).blueprint.digest != one.blueprint.digest


def test_names_are_module_paths_and_unique() -> None:
    network = of_torchvision("resnet18")
    nodes = read_network(network).blueprint.nodes
    layers = [node.name for node in nodes if OPS[node.op].has_weights]
    own = [path for path, module in network.named_modules() if list(module.parameters(recurse=False))]
    assert sorted(layers) == sorted(own)
    assert [node.name for node in nodes if node.name.startswith("layer1.0")] == [
        "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu", "layer1.0.conv2", "layer1.0.bn2", "layer1.0.add",
        "layer1.0.relu_1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_b_16", r"the network \(VisionTransformer\): reshape\(\) .*supported: movements of whole channels"),
        ("swin_t", r"features.0.2 \(LayerNorm\): is none of the layers supported: AdaptiveAvgPool2d, "),
        ("convnext_tiny", r"features.0.1 \(LayerNorm2d\): layer_norm\(\) reads features.0.1.weight outside of a layer"),
        ("maxvit_t", r"\(WindowPartition\): reshape\(\) .*depends on the size of images"),
    ],
)
def test_transformers_are_refused(name: str, said: str) -> None:
    from torchvision import models

    keys = {"input_size": (224, 224)} if name == "maxvit_t" else {}
    with torch.device("meta"):
        network = models.get_model_builder(name)(weights=None, num_classes=3, **keys)
    with pytest.raises(Unreadable, match=said):
        read_network(network)


class Around(nn.Module):
    """A function of maps of 8 channels, between a convolution and a classifier."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module, out: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(layers)
        self.function, self.fc = function, nn.Linear(out, 4)
        self.is_flat = function(torch.rand(2, 8, 6, 6), *layers).dim() == 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.function(self.stem(x), *self.layers)
        logits: Tensor = self.fc(x if self.is_flat else x.mean([2, 3]))
        return logits


def ops_between(network: nn.Module, size: int = 6) -> str:
    """The operations that `Around` puts between, once both networks give the same logits."""
    torch.manual_seed(0)
    read = read_network(network)
    images = 3 * torch.randn(2, read.blueprint.input_channels, size, size)
    with torch.no_grad():
        assert torch.allclose(rebuilt(read)(images), network.eval()(images), atol=1e-5)
    return " ".join(node.op for node in read.blueprint.nodes[1:-1]).removesuffix("adaptive_average flatten").strip()


ACTIVATIONS: list[tuple[Callable[..., Any], str]] = [
    (F.relu, "relu"),
    (torch.relu, "relu"),
    (lambda x: F.relu(input=x), "relu"),
    (lambda x: x.relu(), "relu"),
    (lambda x: F.relu(x, inplace=True), "relu"),
    (lambda x: x.relu_(), "relu"),
    (lambda x: x.clamp(min=0), "relu"),
    (F.relu6, "relu6"),
    (lambda x: F.hardtanh(x, 0, 6), "relu6"),
    (lambda x: torch.clamp(x, 0, 6), "relu6"),
    (F.hardswish, "hardswish"),
    (F.hardsigmoid, "hardsigmoid"),
    (torch.sigmoid, "sigmoid"),
    (lambda x: x.sigmoid(), "sigmoid"),
    (F.silu, "silu"),
    (lambda x: x * torch.sigmoid(x), "sigmoid multiply"),
    (torch.tanh, "tanh"),
    (F.gelu, "gelu"),
    (lambda x: F.gelu(x, approximate="tanh"), "gelu"),
    (lambda x: F.elu(x, 0.7), "elu"),
    (lambda x: F.leaky_relu(x, 0.2), "leaky_relu"),
    (lambda x: F.relu6(x + 3) / 6, "hardsigmoid"),
    (lambda x: x * F.relu6(x + 3.0) / 6.0, "hardsigmoid multiply"),
    (lambda x: x * (F.hardtanh(3 + x, 0, 6) * (1 / 6)), "hardsigmoid multiply"),
    (lambda x: (x / 6 + 0.5).clamp(0, 1), "hardsigmoid"),
    (lambda x: x - 0 + 0, ""),
]


@pytest.mark.parametrize(("function", "ops"), ACTIVATIONS)
def test_activations(function: Callable[..., Any], ops: str) -> None:
    assert ops_between(Around(function)) == ops


@pytest.mark.parametrize(
    ("layer", "ops"),
    [
        (nn.ReLU(), "relu"), (nn.ReLU6(True), "relu6"), (nn.Hardtanh(0, 6), "relu6"), (nn.Hardswish(), "hardswish"),
        (nn.Hardsigmoid(), "hardsigmoid"), (nn.Sigmoid(), "sigmoid"), (nn.SiLU(), "silu"), (nn.Tanh(), "tanh"),
        (nn.GELU("tanh"), "gelu"), (nn.ELU(0.3), "elu"), (nn.LeakyReLU(0.3), "leaky_relu"), (nn.Identity(), ""),
        (nn.Dropout(0.3), "dropout"), (nn.Dropout2d(0.3), ""), (StochasticDepth(0.3, "row"), ""),
        (nn.BatchNorm2d(8), "norm"), (nn.ChannelShuffle(4), "select"), (nn.Flatten(2), ""),
        (nn.Conv2d(8, 8, (3, 1), padding="same", dilation=2, groups=4), "conv"),
        (nn.Conv2d(8, 8, 4, stride=2, padding="valid", bias=False), "conv"),
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), "max_pool"), (nn.MaxPool2d(2, dilation=2), "max_pool"),
        (nn.AvgPool2d((2, 3), ceil_mode=True, count_include_pad=False), "average_pool"),
        (nn.AdaptiveAvgPool2d(2), "adaptive_average"), (nn.AdaptiveAvgPool2d((3, 1)), "adaptive_average"),
    ],
)  # fmt: skip
def test_layers(layer: nn.Module, ops: str) -> None:
    if isinstance(layer, nn.Flatten):
        assert ops_between(Around(lambda x, flat: flat(x).mean(2), layer)) == ops
    else:
        assert ops_between(Around(lambda x, layer: layer(x), layer), size=9) == ops


def test_a_layer_that_is_called_by_keyword() -> None:
    assert ops_between(Around(lambda x, layer: layer(input=x), nn.SiLU())) == "silu"


POOLS: list[tuple[Callable[..., Any], str]] = [
    (lambda x: F.max_pool2d(x, 2), "max_pool"),
    (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "average_pool"),
    (lambda x: F.adaptive_avg_pool2d(x, 2), "adaptive_average"),
    (lambda x: F.adaptive_avg_pool2d(x, (1, 1)).squeeze(), ""),
    (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1), ""),
    (lambda x: F.avg_pool2d(x, x.size()[2:]).view(x.size(0), -1), ""),
    (lambda x: F.avg_pool2d(x, x.shape[-1]).flatten(1), ""),
    (lambda x: x.mean((2, 3), keepdim=True).reshape(x.shape[0], x.shape[1]), ""),
    (lambda x: x.mean(3).mean(2), ""),
    (lambda x: torch.mean(x, 2).mean(-1), ""),
    (lambda x: x.mean(3, keepdim=True).mean(2, True)[:, :, 0, 0], ""),
    (lambda x: x.flatten(2).mean(-1), ""),
    (lambda x: x.view(x.size(0), x.size(1), -1).mean(dim=2), ""),
    (lambda x: F.dropout(x, 0.5, training=False), "dropout"),
    (lambda x: F.dropout2d(x, 0.5, training=False), ""),
    (lambda x: F.alpha_dropout(x, 0.5), ""),
]


@pytest.mark.parametrize(("function", "ops"), POOLS)
def test_pooling(function: Callable[..., Any], ops: str) -> None:
    assert ops_between(Around(function)) == ops


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.size()
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


MOVEMENTS: list[tuple[Callable[..., Any], str, int]] = [
    (lambda x: shuffle(x, 2), "select", 8),
    (lambda x: shuffle(shuffle(x, 2), 4), "", 8),
    (lambda x: x.chunk(2, 1)[1], "select", 4),
    (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), "select select concatenate", 8),
    (lambda x: x.split([3, 5], dim=1)[0], "select", 3),
    (lambda x: x[:, 1::2], "select", 4),
    (lambda x: x[:, [5, 0]], "select", 2),
    (lambda x: x.narrow(1, 2, 3).flip(1), "select", 3),
    (lambda x: x.permute(0, 2, 3, 1).roll(3, -1).permute(0, 3, 1, 2), "select", 8),
    (lambda x: x.unflatten(1, (2, 4)).swapaxes(1, 2).flatten(1, 2), "select", 8),
    (lambda x: torch.cat([x, F.relu(x)], dim=-3), "relu concatenate", 16),
    (lambda x: torch.cat([x], 1), "", 8),
    (lambda x: x + x, "add", 8),
    (lambda x: torch.add(x, x.relu()), "relu add", 8),
    (lambda x: x * F.adaptive_avg_pool2d(x, 1), "adaptive_average multiply", 8),
    (lambda x: F.adaptive_avg_pool2d(x, 1).expand_as(x) * x, "adaptive_average multiply", 8),
    (lambda x: F.adaptive_avg_pool2d(x, 1).expand(-1, -1, x.size(2), x.size(3)).mul(x), "adaptive_average multiply", 8),
    (lambda x: x.clone().relu_() + x, "relu add", 8),
    (lambda x: torch.flatten(x, 1), "flatten", 8 * 36),
    (lambda x: x.view(-1, 8 * 36), "flatten", 8 * 36),
    (lambda x: x.reshape(x.size(0), 8 * 36), "flatten", 8 * 36),
    (lambda x: shuffle(x, 2).flatten(1), "select flatten", 8 * 36),
    (lambda x: F.adaptive_avg_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1), "adaptive_average flatten select", 32),
    (lambda x: F.adaptive_avg_pool2d(x, 2).view(-1, 32)[:, ::2], "adaptive_average flatten select", 16),
]  # fmt: skip


@pytest.mark.parametrize(("function", "ops", "out"), MOVEMENTS)
def test_movements_of_whole_channels(function: Callable[..., Any], ops: str, out: int) -> None:
    assert ops_between(Around(function, out=out)) == ops


def in_place(x: Tensor) -> Tensor:
    y = F.relu(x, inplace=True)
    z = x * y  # both are what the activation left
    z += x
    return z


def test_what_is_overwritten_is_read_as_such() -> None:
    network = Around(in_place)
    assert ops_between(network) == "relu multiply add"
    relu, multiply, add = read_network(network).blueprint.nodes[1:4]
    assert (multiply.reads, add.reads) == ((relu.name, relu.name), (multiply.name, relu.name))


class Gated(nn.Module):
    """Squeeze-and-excitation by linear layers, as most write it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(8, 2, bias=False), nn.ReLU(True), nn.Linear(2, 8), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        n, c, _, _ = x.shape
        gates = self.gate(F.adaptive_avg_pool2d(x, 1).view(n, c)).view(n, c, 1, 1)
        return x * gates.expand_as(x)


def test_gates_of_linear_layers_are_convolutions() -> None:
    network = Around(lambda x, gated: gated(x), Gated())
    assert ops_between(network) == "adaptive_average conv relu conv sigmoid multiply"
    read = read_network(network)
    assert read.state["layers.0.gate.0.weight"].shape == (2, 8, 1, 1)
    assert read.blueprint.by_name["layers.0.gate.2"].fields["bias"]


class Mlp(nn.Module):
    def __init__(self, features: int = 784) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.layers(x), dim=1)


@pytest.mark.parametrize(("features", "channels", "size"), [(784, 1, 28), (64, 1, 8), (192, 3, 8), (3072, 3, 32)])
def test_a_perceptron(features: int, channels: int, size: int) -> None:
    """How many channels an image has is told by what a square one of them comes to; log-softmax is left out."""
    network = Mlp(features).eval()
    read = read_network(network)
    assert [node.op for node in read.blueprint.nodes] == ["flatten", "linear", "relu", "linear"]
    assert (read.blueprint.input_channels, read.blueprint.head, read.num_classes) == (channels, "layers.3", 10)
    images = torch.rand(2, channels, size, size)
    assert torch.allclose(F.log_softmax(rebuilt(read)(images), 1), network(images), atol=1e-6)
    assert read_network(network, input_channels=2).blueprint.input_channels == 2


def test_a_perceptron_with_batch_norm() -> None:
    hidden = [nn.Linear(64, 12), nn.BatchNorm1d(12, eps=0.1, momentum=None), nn.ReLU()]
    network = of_any_statistics(nn.Sequential(nn.Flatten(), *hidden, nn.Dropout(0.5), nn.Linear(12, 3)))
    read = read_network(network)
    assert [node.op for node in read.blueprint.nodes] == ["flatten", "linear", "norm1d", "relu", "dropout", "linear"]
    assert folded_norms(read.blueprint) == {"2": "1"}
    images = torch.rand(2, 1, 8, 8)
    assert torch.allclose(rebuilt(read)(images), network(images), atol=1e-6)
    assert [layer.name for layer in layers_of(read.blueprint, 8, num_classes=3)] == ["1", "5"]


def of_any_statistics(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


class NormedGate(Gated):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(8, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 8), nn.Sigmoid())


def test_a_norm_in_a_gate_of_linear_layers_is_one_of_maps() -> None:
    network = Around(lambda x, gated: gated(x), of_any_statistics(NormedGate()))
    assert ops_between(network) == "adaptive_average conv norm relu conv sigmoid multiply"


class Called(nn.Module):
    """Layers that are called as what stands beside a network's layers is."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize, self.head_dropout = nn.Sequential(nn.Identity(), nn.ReLU()), nn.Dropout(0.5)
        self.fc = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.head_dropout(torch.flatten(self.normalize(x), 1)))
        return logits


def test_names_that_are_taken() -> None:
    """Weights cannot be called otherwise, since files have them by name."""
    network, images = Called().eval(), torch.randn(2, 1, 8, 8)
    read = read_network(network)
    assert [node.name for node in read.blueprint.nodes] == ["own_normalize.1", "flatten", "own_head_dropout", "fc"]
    assert torch.equal(rebuilt(read)(images), network(images))
    network.normalize = nn.Sequential(nn.Conv2d(1, 1, 1))
    with pytest.raises(Unreadable, match=r"^normalize.0 \(Conv2d\): has a name that is taken by what stands beside"):
        read_network(network)


class Repeated(nn.Module):
    """A layer that runs three times, an option with a default, a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.idle = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(3, 3)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, x: Tensor, times: int = 3, mask: Tensor | None = None) -> Tensor:
        x = self.stem(x)
        for _ in range(times):
            x = self.relu(self.body(x)) + x
        if mask is not None:
            x = x * mask
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def test_layers_that_run_again() -> None:
    network = Repeated().eval()
    read = read_network(network)
    runs = [(node.name, node.module) for node in read.blueprint.nodes if node.op == "conv"]
    assert runs == [("stem", ""), ("body", ""), ("body_1", "body"), ("body_2", "body")]
    assert read.unused == {"idle.weight", "idle.bias"}
    images = torch.rand(2, 1, 9, 9)
    assert torch.allclose(rebuilt(read)(images), network(images), atol=1e-6)


def test_half_precision_becomes_32_bits() -> None:
    state = read_network(Mlp().bfloat16()).state
    assert {value.dtype for value in state.values()} == {torch.float32}


class Compiled(nn.Module):
    """As torch.compile makes it, which takes seconds to import."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._orig_mod = network


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_wrappers_are_taken_off() -> None:
    read = read_network(Mlp())
    for wrapped in (nn.DataParallel(Mlp()), Compiled(Mlp())):
        found = read_network(wrapped)
        assert found.blueprint == read.blueprint
        assert found.state.keys() == read.state.keys()
    with pytest.raises(Unreadable, match="is a TorchScript module, supported: the Python module that it was made from"):
        read_network(torch.jit.trace(Mlp().eval(), torch.rand(1, 1, 28, 28)))


class Chained(nn.Module):
    """Functions of maps one after the other, each beside a way around it or not."""

    def __init__(self, steps: list[tuple[int, bool]]) -> None:
        super().__init__()
        self.steps, self.stem, self.fc = steps, nn.Conv2d(1, 8, 3), nn.Linear(8, 3)
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=2) for _ in steps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for (number, has_skip), conv in zip(self.steps, self.convs, strict=True):
            y = STEPS[number](x, conv)
            x = x + y if has_skip else y
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def halves(x: Tensor, conv: nn.Module) -> Tensor:
    """As in ShuffleNetV2: one half passes."""
    first, second = conv(x).chunk(2, dim=1)
    return shuffle(torch.cat((x[:, :4], first + second), 1), 4)


STEPS: list[Callable[[Tensor, nn.Module], Tensor]] = [
    lambda x, conv: conv(x),
    lambda x, conv: F.relu(conv(x), inplace=True),
    lambda x, conv: F.relu(conv(x.clone()), True).mul_(2 * 0.5),
    lambda x, conv: shuffle(x, 2),
    lambda x, conv: x.flip(1),
    halves,
    lambda x, conv: torch.cat([conv(x)[:, ::2], x[:, 1::2]], 1),
    lambda x, conv: x * conv(x).mean((2, 3), keepdim=True).sigmoid(),
    lambda x, conv: x * F.relu6(conv(x) + 3) / 6,
    lambda x, conv: x.permute(0, 2, 3, 1)[..., [3, 2, 1, 0, 7, 7, 7, 1]].permute(0, 3, 1, 2),
]


@given(st.lists(st.tuples(st.integers(0, len(STEPS) - 1), st.booleans()), max_size=5), st.integers(5, 8))
@settings(max_examples=30)
def test_any_chain_of_them(steps: list[tuple[int, bool]], size: int) -> None:
    torch.manual_seed(0)
    network = Chained(steps).eval()
    images = torch.randn(2, 1, size, size)
    with torch.no_grad():
        assert torch.allclose(rebuilt(read_network(network))(images), network(images), atol=1e-4, rtol=1e-4)
