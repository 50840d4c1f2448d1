"""Preparation: which tensors are held in 8-bit codes, written out by hand for a network of two blocks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import weight_norm
from unsupported import hooked_before, parametrized

from compressors.folding import fold_batch_norm
from compressors.formats import FORMATS, ActivationScheme, WeightFormat
from compressors.quantization import ActivationQuantizer, QuantizedConv2d, QuantizedLinear, prepare
from compressors.quantization import calibrate as calibrate_on
from compressors.quantization.activations import SharedGrid
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.blocks import Normalize, SelectChannels
from search_spaces.network import Network, build_network

torch.set_num_threads(1)

GATED = InvertedResidualConfig(kernel=3, expansion=2, squeeze_excite=True, activation="hardswish")
PLAIN = InvertedResidualConfig(kernel=3, expansion=2, activation="relu6")
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=8, stride=1, blocks=(GATED,)), StageConfig(width=16, stride=2, blocks=(PLAIN,))),
    head=HeadConfig(width=16),
)
LAYERS = tuple(layer.name for layer in ARCHITECTURE.layers(10))
BLOCK1 = tuple(name for name in LAYERS if name.startswith("stage1"))
SE = "stage1_block1_squeeze_excite"

# What the gated block holds. A ReLU fuses with its layer, a hard swish does not: both sides of it are held.
INSIDE_BLOCK1 = [
    "stage1_block1_expand",
    "stage1_block1_expand_activation",
    "stage1_block1_depthwise",
    "stage1_block1_depthwise_activation",
    f"{SE}_pool",
    f"{SE}_activation",
    f"{SE}_excite",
    f"{SE}_gate",
    "mul",
    "stage1_block1_project",
    "add",
]
HELD_BY_ALL_INT8 = [
    "normalize",
    "stem_activation",
    *INSIDE_BLOCK1,
    "stage2_block1_expand_activation",
    "stage2_block1_depthwise_activation",
    "stage2_block1_project",
    "head_activation",
    "pool",
    "flatten",
]


def network() -> Network:
    return build_network(ARCHITECTURE, 10, seed=0)


def int8(*layers: str) -> dict[str, WeightFormat]:
    return dict.fromkeys(layers, "int8")


def quantizer_of(prepared: fx.GraphModule, node: fx.Node) -> ActivationQuantizer | None:
    module = prepared.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, SharedGrid):
        return module.source
    return module if isinstance(module, ActivationQuantizer) else None


def held(prepared: fx.GraphModule) -> dict[str, ActivationQuantizer]:
    """Names of the nodes whose output goes through a quantizer, in order, and that quantizer."""
    found = {}
    for node in prepared.graph.nodes:
        quantizer = quantizer_of(prepared, node)
        if quantizer is not None:
            found[str(node.args[0])] = quantizer
    return found


def calibrate(prepared: nn.Module, x: Tensor) -> None:
    calibrate_on(prepared, [x])


def pixels(count: int = 8) -> Tensor:
    codes = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    return codes / 255


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        pytest.param(int8(*LAYERS), HELD_BY_ALL_INT8, id="all int8"),
        pytest.param({}, [], id="fp32"),
        pytest.param({"stem.conv": "fp32"}, [], id="fp32 asked for"),
        pytest.param(int8(*BLOCK1), ["stem_activation", *INSIDE_BLOCK1], id="the gated block"),
        # The depthwise result feeds both the gate's pooling and the product: once held, both stay in integers, but
        # the gate itself is float, and so is the product.
        pytest.param(
            int8("stage1.block1.depthwise"),
            [
                "stage1_block1_expand_activation",
                "stage1_block1_depthwise",
                "stage1_block1_depthwise_activation",
                f"{SE}_pool",
            ],
            id="a depthwise layer before a float gate",
        ),
        # The skip's other side is float, so the sum is.
        pytest.param(int8("stage1.block1.project"), ["mul", "stage1_block1_project"], id="one side of a skip"),
        pytest.param(
            int8("stem.conv", "stage1.block1.project"),
            ["normalize", "stem_activation", "mul", "stage1_block1_project", "add"],
            id="both sides of a skip",
        ),
        pytest.param(
            int8("stage2.block1.depthwise", "classifier"),
            ["stage2_block1_expand_activation", "stage2_block1_depthwise_activation", "flatten"],
            id="float pooling before an integer classifier",
        ),
        pytest.param(
            int8("head.conv"),
            ["stage2_block1_project", "head_activation", "pool", "flatten"],
            id="integer pooling before a float classifier",
        ),
    ],
)
def test_held_tensors(formats: Mapping[str, WeightFormat], expected: list[str]) -> None:
    prepared = prepare(network(), formats)
    assert sorted(held(prepared)) == sorted(expected)


@pytest.mark.parametrize("fmt", ["int8", "int4"])
def test_layers_asked_for_are_replaced_and_no_others(fmt: WeightFormat) -> None:
    asked = {"stem.conv": fmt, "stage1.block1.depthwise": fmt, "classifier": fmt}
    prepared = prepare(network(), asked)
    for name in LAYERS:
        layer = prepared.get_submodule(name)
        assert isinstance(layer, QuantizedConv2d | QuantizedLinear) == (name in asked), name
        assert getattr(layer, "format", None) == (FORMATS[fmt] if name in asked else None)


def test_fp32_is_the_folded_network() -> None:
    whole = network().eval()
    prepared, folded = prepare(whole, {}), fold_batch_norm(whole)
    assert [str(node) for node in prepared.graph.nodes] == [str(node) for node in folded.graph.nodes]
    assert torch.equal(prepared(pixels()), folded(pixels()))


@pytest.mark.parametrize("name", ["stage3.block1.expand", "stage1", "stage1.block1", "stem.conv_bn", "", "conv"])
def test_unknown_layers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"layers the network does not have: {name}$"):
        prepare(network(), {name: "int8"})


def test_a_layer_that_runs_twice_is_refused() -> None:
    """Its bias would need the grids of two inputs at once."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.other = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.other(self.conv(self.conv(x)))
            return out

    with pytest.raises(ValueError, match=r"run more than once have no single input grid: conv$"):
        prepare(Twice(), int8("conv", "other"))
    assert list(held(prepare(Twice(), int8("other")))) == ["conv_1"]


def test_only_convolutions_and_linear_layers_are_quantized() -> None:
    with pytest.raises(TypeError, match="cannot quantize ReLU"):
        prepare(network(), int8("stem.activation"))


def test_a_reshape_shares_the_grid_of_its_input() -> None:
    found = held(prepare(network(), int8(*LAYERS)))
    assert found["flatten"] is found["pool"]
    others = [quantizer for name, quantizer in found.items() if name != "flatten"]
    assert len({id(quantizer) for quantizer in others}) == len(others)


def test_a_reshape_of_a_float_tensor_has_a_grid_of_its_own() -> None:
    found = held(prepare(network(), int8("classifier")))
    assert list(found) == ["flatten"]


def test_grids_known_beforehand_are_fixed() -> None:
    prepared = prepare(network(), int8(*LAYERS))
    found = held(prepared)
    assert {name for name, quantizer in found.items() if quantizer.is_fixed} == {"normalize", f"{SE}_gate"}
    assert found["normalize"].grid() == pytest.approx(network().normalize.pixel_grid())
    assert found[f"{SE}_gate"].grid() == (pytest.approx(1 / 255), 0)
    six = {name for name, quantizer in found.items() if quantizer.ceiling == 6.0}
    assert six == {"stage2_block1_expand_activation", "stage2_block1_depthwise_activation"}


def test_the_output_stays_float() -> None:
    prepared = prepare(network(), int8(*LAYERS))
    (output,) = prepared.graph.find_nodes(op="output")
    assert output.args[0].target == "classifier"
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU()]
    assert list(held(prepare(nn.Sequential(*layers), int8("0")))) == ["input_1"]
    assert list(held(prepare(nn.Sequential(layers[0]), int8("0")))) == ["input_1"]


def test_a_relu_fuses_only_with_a_layer_it_has_for_itself() -> None:
    """Where a layer's result is read before the ReLU as well, the codes are those of the layer."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.last = nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            out = self.conv(x)
            last: Tensor = self.last(self.relu(out) + out)
            return last

    assert list(held(prepare(Both(), int8("conv", "last")))) == ["x", "conv", "relu", "add"]


def test_every_layer_reads_the_scale_of_the_quantizer_before_it() -> None:
    prepared = prepare(network(), int8(*LAYERS))
    calibrate(prepared, pixels())
    for node in prepared.graph.find_nodes(op="call_module"):
        layer = prepared.get_submodule(str(node.target))
        if isinstance(layer, QuantizedConv2d | QuantizedLinear):
            source = quantizer_of(prepared, node.args[0])
            assert source is not None
            assert layer.input_scale is source.scale, node.target


def test_held_tensors_lie_on_their_grids() -> None:
    prepared = prepare(network(), int8(*LAYERS))
    calibrate(prepared, pixels())
    for name, quantizer in held(prepared).items():
        seen: list[Tensor] = []
        handle = quantizer.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        prepared(pixels())
        handle.remove()
        scale, zero_point = quantizer.grid()
        codes = seen[0].detach().double() / scale + zero_point
        assert float((codes - codes.round()).abs().max()) < 1e-3, name
        assert -1e-3 < float(codes.min()) <= float(codes.max()) < 255 + 1e-3, name


def test_the_original_network_is_untouched() -> None:
    whole = network().train()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    calibrate(prepare(whole, int8(*LAYERS)), pixels())
    after = whole.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert whole.training


@pytest.mark.parametrize("formats", [int8(*LAYERS), int8(*BLOCK1), dict.fromkeys(LAYERS, "int4"), {}])
def test_gradients_reach_every_weight(formats: Mapping[str, WeightFormat]) -> None:
    prepared = prepare(network(), formats)
    calibrate(prepared, pixels())
    prepared.train()
    nn.functional.cross_entropy(prepared(pixels()), torch.arange(8)).backward()
    reached = {name for name, p in prepared.named_parameters() if p.grad is not None and bool(p.grad.any())}
    inner = {name: f"{name}.layer" if name in formats else name for name in LAYERS}
    assert {f"{name}.weight" for name in inner.values()} <= reached


def test_quantizing_changes_little_at_eight_bits() -> None:
    """A sanity bound on the whole: an 8-bit network still resembles the float one."""
    whole = network().eval()
    prepared = prepare(whole, int8(*LAYERS))
    calibrate(prepared, pixels())
    with torch.no_grad():
        expected, found = whole(pixels()), prepared(pixels())
    assert 0 < float((expected - found).norm()) < 0.15 * float(expected.norm())


def test_a_prepared_network_restores_from_its_checkpoint() -> None:
    formats = int8(*LAYERS)
    prepared, restored = prepare(network(), formats), prepare(build_network(ARCHITECTURE, 10, seed=1), formats)
    calibrate(prepared, pixels())
    restored.load_state_dict(prepared.state_dict())
    assert torch.equal(prepared(pixels()), restored(pixels()))


def test_only_the_named_formats_learn_their_steps() -> None:
    formats = int8(*(layer.name for layer in ARCHITECTURE.layers(10)))
    names = list(formats)
    formats |= {names[1]: "int4", names[2]: "int2"}
    prepared = prepare(network(), formats, learned=["int2"])
    layers = {n: m for n, m in prepared.named_modules() if isinstance(m, QuantizedConv2d | QuantizedLinear)}
    assert {name for name, layer in layers.items() if layer.learned} == {names[2]}


# What quantization does not support is refused by name.


class Centred(nn.Linear):
    is_traced_as_leaf = True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean())


def cut_by_hand() -> nn.Module:
    linear = nn.Linear(4, 3)
    linear.weight = nn.Parameter(linear.weight[:, :3])
    return linear


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(input=x)
        return out


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"),
            r"0 \(Conv2d\): padding_mode 'reflect', supported: '",
        ),
        (nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), r"0 \(Conv2d\): padding_mode 'circular'"),
        (nn.Conv2d(1, 4, 3, padding="same", dilation=2), r"0 \(Conv2d\): padding 'same', supported: numbers"),
        (nn.Conv2d(1, 4, 3, padding="valid"), r"0 \(Conv2d\): padding 'valid', supported: numbers"),
        (nn.Conv2d(1, 4, 3).double(), r"0 \(Conv2d\): dtype of weight float64, supported: float32"),
        (nn.Conv2d(1, 4, 3).half(), r"0 \(Conv2d\): dtype of weight float16, supported: float32"),
        (nn.ConvTranspose2d(1, 4, 3), r"cannot quantize ConvTranspose2d \(0\), supported: Conv2d, Linear"),
        (nn.Conv1d(1, 4, 3), r"cannot quantize Conv1d \(0\)"),
        (nn.Conv3d(1, 4, 3), r"cannot quantize Conv3d \(0\)"),
        (nn.Bilinear(1, 1, 4), r"called with|cannot quantize Bilinear"),
        (Centred(4, 3), r"cannot quantize Centred \(0\)"),
        (hooked_before(nn.Linear(4, 3)), r"0 \(Linear\): forward pre-hooks function, supported: none"),
        (parametrized(nn.Linear(4, 3)), "0 .*: parametrizations of weight, supported: none"),
        (cut_by_hand(), r"0 \(Linear\): weight of shape \(3, 3\), supported: \(3, 4\)"),
    ],
)
@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_what_quantization_does_not_support_is_named(layer: nn.Module, message: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=message):
        prepare(nn.Sequential(layer), int8("0"))
    assert isinstance(prepare(nn.Sequential(layer), {}), fx.GraphModule), "left alone where nobody asks"


def test_a_weight_norm_is_named() -> None:
    with pytest.raises(ValueError, match=r"0 \(Linear\): forward pre-hooks WeightNorm, supported: none"):
        prepare(nn.Sequential(weight_norm(nn.Linear(4, 3))), int8("0"))


def test_a_layer_called_by_keyword_is_named() -> None:
    with pytest.raises(ValueError, match=r"conv: called with .*, supported: one tensor by position"):
        prepare(ByName(), int8("conv"))


def test_an_unknown_format_is_named_with_its_layer() -> None:
    with pytest.raises(ValueError, match=r"classifier: weight format: expected one of fp32, .*, got 'int9'"):
        prepare(network(), {"classifier": "int9"})


def test_an_unknown_format_to_learn_is_named() -> None:
    with pytest.raises(ValueError, match=r"weight format: expected one of fp32, .*, got 'int9'"):
        prepare(network(), {}, learned=["int9"])


def test_a_relu6_of_other_bounds_is_named() -> None:
    clamp = nn.ReLU6()
    clamp.max_val = 4.0
    with pytest.raises(ValueError, match=r"1 \(ReLU6\): bounds \(0.0, 4.0\), supported: \(0, 6\)"):
        prepare(nn.Sequential(nn.Conv2d(1, 2, 1), clamp, nn.Conv2d(2, 2, 1)), int8("0", "2"))


@pytest.mark.parametrize("layer", [nn.Hardsigmoid(), nn.ReLU6()])
def test_a_hook_on_a_layer_whose_values_are_known_is_named(layer: nn.Module) -> None:
    """Its results may lie anywhere, and would be cut off at the end of the grid."""
    layer.register_forward_hook(lambda _, __, out: out * 9)
    with pytest.raises(ValueError, match=rf"1 \({type(layer).__name__}\): forward hooks function, supported: none"):
        prepare(nn.Sequential(nn.Conv2d(1, 2, 1), layer, nn.Conv2d(2, 2, 1)), int8("0", "2"))


def test_a_layer_whose_weight_is_read_elsewhere_is_named() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) @ self.layer.weight

    with pytest.raises(ValueError, match=r"layer \(Linear\): also read outside its call: layer.weight"):
        prepare(Tied(), int8("layer"))


def test_a_grid_of_pixels_in_the_middle_is_named() -> None:
    normalize = network().normalize
    with pytest.raises(ValueError, match="1: has a grid of pixels, supported where it reads the network's input"):
        prepare(nn.Sequential(nn.ReLU(), normalize, nn.Conv2d(1, 2, 1), nn.ReLU()), int8("2"))


def test_a_module_that_only_looks_like_a_relu_is_none() -> None:
    class Shifted(nn.ReLU):
        is_traced_as_leaf = True

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    prepared = prepare(nn.Sequential(nn.Conv2d(1, 2, 1), Shifted(), nn.Conv2d(2, 2, 1)), int8("0", "2"))
    assert list(held(prepared)) == ["input_1", "_0", "_1"]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_in_groups_are_quantized(groups: int) -> None:
    """Of any multiplier: a scale belongs to an output channel."""
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, groups=groups, dilation=2, padding=(2, 1), stride=(1, 2))
    plain = nn.Sequential(conv, nn.ReLU())
    prepared = prepare(plain, int8("0"))
    x = torch.rand(2, 4, 9, 9)
    calibrate(prepared, x)
    assert float((prepared(x) - plain(x)).norm()) < 0.02 * float(plain(x).norm())


# Other grids of activations.

SIGNED, SYMMETRIC = ActivationScheme(signed=True), ActivationScheme(signed=True, symmetric=True)


@pytest.mark.parametrize("scheme", [SIGNED, SYMMETRIC, ActivationScheme(bits=4)])
def test_activations_lie_on_the_grids_of_the_scheme(scheme: ActivationScheme) -> None:
    prepared = prepare(network(), int8(*LAYERS), scheme=scheme)
    calibrate(prepared, pixels())
    for name, quantizer in held(prepared).items():
        x = torch.linspace(-20, 20, 999)
        scale, zero_point = quantizer.grid()
        codes = (quantizer(x).double() / scale + zero_point).round()
        own = ActivationScheme() if name == "normalize" and scheme.bits < 8 else scheme  # pixels keep their 8 bits
        assert (float(codes.min()), float(codes.max())) == (own.low, own.high), name
        assert not scheme.symmetric or zero_point == 0, name


@pytest.mark.parametrize(("scheme", "bound"), [(SIGNED, 1e-4), (SYMMETRIC, 0.15)])
def test_a_signed_network_resembles_the_unsigned_one(scheme: ActivationScheme, bound: float) -> None:
    """Renumbered codes are the same grid; a symmetric grid is another, of half the codes where no value is negative."""
    found = []
    for chosen in (ActivationScheme(), scheme):
        prepared = prepare(network(), int8(*LAYERS), scheme=chosen)
        calibrate(prepared, pixels())
        with torch.no_grad():
            found.append(prepared(pixels()))
    assert float((found[0] - found[1]).norm()) <= bound * float(found[0].norm())


# Networks that are none of this project's.


class Tail(nn.Module):
    """A convolution that gives the logits, with what follows it."""

    def __init__(self, *behind: nn.Module) -> None:
        super().__init__()
        self.conv, self.head, self.behind = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 10, 1), nn.ModuleList(behind)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.conv(x))
        for module in self.behind:
            x = module(x)
        return torch.flatten(x, 1)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        # A convolution has integer kernels only where its result is held; what is moved from there on is float.
        ([], ["x", "conv", "head"]),
        ([nn.MaxPool2d(6)], ["x", "conv", "head"]),
        ([nn.ReLU()], ["x", "conv", "behind_0"]),
        # The mean is computed of codes, and is the logits.
        ([nn.AdaptiveAvgPool2d(1)], ["x", "conv", "head"]),
        # What is computed of the mean is held no more; the mean itself is.
        ([nn.AdaptiveAvgPool2d(1), nn.ReLU()], ["x", "conv", "head"]),
        ([nn.AdaptiveAvgPool2d(2), nn.Hardswish()], ["x", "conv", "head", "behind_0"]),
        ([nn.AvgPool2d(2), nn.Sigmoid(), nn.AvgPool2d(2)], ["x", "conv", "head", "behind_0", "behind_1"]),
    ],
    ids=str,
)
def test_what_is_held_at_the_end(behind: list[nn.Module], expected: list[str]) -> None:
    assert sorted(held(prepare(Tail(*behind), int8("conv", "head")))) == sorted(expected)


class Moved(nn.Module):
    """Pixels that are moved before the first layer, and what is computed of them instead."""

    def __init__(self, *before: nn.Module) -> None:
        super().__init__()
        self.normalize, self.before, self.fc = Normalize(0.5, 0.25), nn.ModuleList(before), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalize(x)
        for module in self.before:
            x = module(x)
        logits: Tensor = self.fc(torch.flatten(x, 1))
        return logits


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], ["normalize", "flatten"]),
        ([nn.MaxPool2d(2)], ["normalize", "before_0", "flatten"]),
        ([SelectChannels([0, 0])], ["normalize", "before_0", "flatten"]),
        ([nn.AvgPool2d(2)], ["flatten"]),  # what is held of it are means, which are on no grid of pixels
    ],
    ids=str,
)
def test_pixels_are_moved_as_codes(before: list[nn.Module], expected: list[str]) -> None:
    prepared = prepare(Moved(*before), int8("fc"))
    assert sorted(held(prepared)) == sorted(expected)
    shared = [name for name, module in prepared.named_modules() if isinstance(module, SharedGrid)]
    assert sorted(shared) == sorted(f"{name}_quantizer" for name in expected[1:])


def test_a_layer_without_a_bias_gets_one() -> None:
    layer = prepare(nn.Sequential(nn.Conv2d(1, 4, 3, bias=False)), int8("0")).get_submodule("0")
    assert layer.bias.tolist() == [0.0] * 4
