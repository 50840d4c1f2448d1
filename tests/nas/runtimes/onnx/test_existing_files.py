"""Files of networks that exist already: torchvision's, small images, and the layers of one that is no image's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from stepwise import CPU, largest_step
from torch import Tensor, fx, nn

from compressors.folding import fold_batch_norm
from compressors.formats import FORMATS
from compressors.pipeline import Options, PostTraining, compress
from compressors.plan import CompressionPlan
from compressors.quantization import calibrate, prepare
from compressors.quantization.equalization import equalizable, equalize
from compressors.quantization.normed import fold_norms
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.storage import Storage
from nas.runtimes.onnxruntime import Runner, integer_layers
from nas.runtimes.openvino import OPENVINO
from nas.runtimes.runtime import FileHeader
from nas.study import Target
from search_spaces.blocks import Normalize, NormalizeChannels
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.reading import read_network

torch.set_num_threads(1)
models = pytest.importorskip("torchvision").models

CLASSES = tuple("abcdefghij")
SIDE = 32


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 128), nn.ReLU(), nn.Linear(128, 10))


def vgg() -> nn.Module:
    """VGG with fewer channels: a map of one pixel that pooling makes 7x7, and three linear layers behind."""
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 8), (8, 16), (16, 16), (16, 16)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2, 2)]
    network = models.VGG(nn.Sequential(*layers), num_classes=10)
    network.classifier = nn.Sequential(
        nn.Linear(16 * 49, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)
    )
    return network


def resnet() -> nn.Module:
    """ResNet with one block of each width, up to 256."""
    network = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)
    network.layer4, network.fc = nn.Identity(), nn.Linear(256, 10)
    return network


def regnet() -> nn.Module:
    """RegNet-Y with one block of each width: grouped convolutions, squeeze-and-excitation by sigmoid."""
    widths = models.regnet.BlockParams.from_init_params(4, 32, 48.0, 2.5, 16, se_ratio=0.25)
    return models.RegNet(widths, num_classes=10)


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "resnet": resnet,
    "vgg": vgg,
    "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=10, width_mult=0.35),
    "mobilenet_v3_small": lambda: models.mobilenet_v3_small(num_classes=10),
    "shufflenet_v2_x0_5": lambda: models.shufflenet_v2_x0_5(num_classes=10),
    "squeezenet1_1": lambda: models.squeezenet1_1(num_classes=10),
    "regnet_y": regnet,
    "densenet": lambda: models.DenseNet(8, (2, 2, 3), 16, num_classes=10),
    "perceptron": perceptron,
}
names = pytest.mark.parametrize("name", NETWORKS)


def images(count: int = 16) -> Tensor:
    """Coarse random patterns, which differ when averaged, too."""
    return (
        torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        .repeat_interleave(4, 2)
        .repeat_interleave(4, 3)
    )


@pytest.fixture(scope="module")
def read() -> Callable[[str], nn.Module]:
    """A network by name as it is built from its blueprint, with statistics of the images."""
    made: dict[str, nn.Module] = {}

    def reading(name: str) -> nn.Module:
        if name not in made:
            torch.manual_seed(0)
            found = read_network(NETWORKS[name]())
            network = ExistingNetwork(found.blueprint, 10, normalize=Normalize(0.5, 0.25))
            network.load_state_dict(found.state, strict=False)
            made[name] = settled(network)
        return made[name]

    return reading


@torch.no_grad()
def settled(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over batches
            module.reset_running_stats()
        module.train(not isinstance(module, nn.Dropout))
    network(images())
    return network.eval()


def layers(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def quantized(network: nn.Module, *formats: str) -> tuple[fx.GraphModule, dict[str, str]]:
    """Layers of these formats in turn."""
    asked = {name: formats[i % len(formats)] for i, name in enumerate(layers(fold_batch_norm(network)))}
    prepared = prepare(network, asked)
    calibrate(prepared, [images()])
    return prepared, {name: fmt for name, fmt in asked.items() if fmt != "fp32"}


HEADER = FileHeader(3, SIDE, CLASSES)


@names
def test_in_floats(name: str, read: Callable[[str], nn.Module]) -> None:
    """The table has a row for all of it: torch's exporter is not asked."""
    network, x = read(name), images()
    folded = fold_batch_norm(network)
    model = emit(folded, HEADER)
    expected = network(x).detach().numpy()
    found = Runner(model.SerializeToString(), CPU).predict(x.numpy())
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.ptp(expected))
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert read_costs(model).parameters == sum(weight.numel() for weight in folded.parameters())
    assert read_costs(model).macs == products(folded)


def products(network: nn.Module) -> int:
    """Multiply-accumulates of one image, counted as torch runs the layers."""
    total = 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal total
        assert isinstance(layer.weight, Tensor)
        total += out[0].numel() * layer.weight[0].numel()

    hooks = [network.get_submodule(name).register_forward_hook(count) for name in layers(network)]
    network(images(1))
    for hook in hooks:
        hook.remove()
    return total


MIXED = ("int8", "int4", "fp32", "int2", "codebook3")


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        *((name, ("int8",)) for name in NETWORKS),
        *((name, MIXED) for name in ("vgg", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet")),
    ],
    ids=str,
)
def test_in_integers(name: str, formats: tuple[str, ...], read: Callable[[str], nn.Module], tmp_path: Path) -> None:
    prepared, asked = quantized(read(name), *formats)
    codes, logits = largest_step(prepared, HEADER, images())
    assert codes < 1.01
    assert logits < 1e-4
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(prepared, HEADER).SerializeToString())
    assert integer_layers(file, CPU) == asked.keys()


@pytest.mark.parametrize("name", ["squeezenet1_1", "vgg", "densenet"])
def test_openvino_reads_them(name: str, read: Callable[[str], nn.Module]) -> None:
    pytest.importorskip("openvino")
    prepared, _ = quantized(read(name), "int8", "int4")
    expected = prepared(images()).detach().numpy()
    target = Target(name="ov", runtime="openvino")
    found = OPENVINO.open(OPENVINO.emit(prepared, HEADER), target).predict(images().numpy())
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_pixels_of_a_perceptron_are_exact(read: Callable[[str], nn.Module]) -> None:
    """They are flattened as codes, on which 8-bit pixels lie without rounding."""
    prepared, _ = quantized(read("perceptron"), "int8")
    assert [node.op_type for node in emit(prepared, HEADER).graph.node][:3] == [
        "QuantizeLinear", "DequantizeLinear", "Flatten"
    ]  # fmt: skip
    pixels = torch.arange(256).repeat(12).reshape(1, 3, SIDE, SIDE) / 255
    rounded = prepared.get_submodule("normalize_quantizer")(prepared.get_submodule("normalize")(pixels))
    assert torch.allclose(rounded, (pixels - prepared.get_submodule("normalize").mean) / 0.25, atol=1e-6)


@pytest.mark.parametrize("formats", [("fp32",), ("int8",)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_mean_and_deviation_for_each_channel(formats: tuple[str, ...], channels: int) -> None:
    """Of a grey image, which is repeated for them, too."""
    torch.manual_seed(0)
    network = nn.Sequential(
        NormalizeChannels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), nn.Conv2d(3, 4, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 10, 1),
    )  # fmt: skip
    flat = Flat(network)
    x = images()[:, :channels]
    prepared = prepare(flat.eval(), {"network.1": formats[0], "network.4": formats[0]})
    calibrate(prepared, [x])
    codes, logits = largest_step(prepared, FileHeader(channels, SIDE, CLASSES), x)
    assert codes < 1.01
    assert logits < 1e-5


class Flat(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.network(x), 1)


def test_a_convolution_that_is_the_last_layer_is_one_of_integers(tmp_path: Path) -> None:
    """Between it and the logits data is only moved: what is moved stays float, the result itself is held in codes."""
    torch.manual_seed(0)
    network = Flat(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 10, 1))).eval()
    prepared = prepare(network, {"network.0": "int8", "network.3": "int8"})
    calibrate(prepared, [images()])
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(prepared, HEADER).SerializeToString())
    assert integer_layers(file, CPU) == {"network.0", "network.3"}


def test_every_format_in_one_network(read: Callable[[str], nn.Module]) -> None:
    prepared, _ = quantized(read("squeezenet1_1"), *(name for name, row in FORMATS.items() if not row.is_float))
    codes, _ = largest_step(prepared, HEADER, images(4))
    assert codes < 1.01


def test_unpacked_files_compute_the_same(read: Callable[[str], nn.Module]) -> None:
    prepared, _ = quantized(read("squeezenet1_1"), "int2", "int3")
    as_bytes = emit(prepared, HEADER, Storage(frozenset({"int2", "int3"}), is_dense=True))
    found = [
        Runner(model.SerializeToString(), CPU).predict(images().numpy()) for model in (emit(prepared, HEADER), as_bytes)
    ]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("name", "calibration"), [("regnet_y", "minmax"), ("squeezenet1_1", "percentile"), ("densenet", "mse")]
)
def test_without_training(name: str, calibration: str, read: Callable[[str], nn.Module], tmp_path: Path) -> None:
    """Ranges equalized and calibrated, biases corrected."""
    network = read(name)
    formats = dict.fromkeys(layers(fold_batch_norm(network)), "int8")
    plan = CompressionPlan.model_validate({"formats": formats, "steps": {"calibrated": {"network": True}}})
    options = Options(post_training=PostTraining(calibration, equalization=True))
    found = compress(network, plan, options, [images()])
    assert isinstance(found, fx.GraphModule)
    codes, logits = largest_step(found, HEADER, images())
    assert codes < 1.01
    assert logits < 1e-4
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(found, HEADER).SerializeToString())
    assert integer_layers(file, CPU) == formats.keys()


@pytest.mark.parametrize("name", ["squeezenet1_1", "regnet_y", "densenet", "shufflenet_v2_x0_5"])
def test_equalizing_changes_no_output(name: str, read: Callable[[str], nn.Module]) -> None:
    folded = fold_batch_norm(read(name))
    before = folded(images()).detach()
    assert len(equalizable(folded)) > 0
    equalize(folded)
    assert float((folded(images()) - before).abs().max()) < 1e-3 * float(before.abs().max())


def test_linear_layers_that_round_as_they_run(read: Callable[[str], nn.Module], tmp_path: Path) -> None:
    for name in ("perceptron", "vgg", "resnet"):
        network = read(name)
        linear = [layer for layer, module in network.named_modules() if isinstance(module, nn.Linear)]
        plan = CompressionPlan.model_validate(
            {"formats": dict.fromkeys(linear, "int8"), "steps": {"dynamic": {"network": True}}}
        )
        found = compress(network, plan, Options(), [images()])
        assert isinstance(found, fx.GraphModule)
        file = tmp_path / "model.onnx"
        file.write_bytes(emit(found, HEADER).SerializeToString())
        assert integer_layers(file, CPU) == set(linear)
        shown = images(1)
        expected = found(shown).detach().numpy()
        assert np.allclose(Runner(file, CPU).predict(shown.numpy()), expected, atol=0.02 * np.ptp(expected))


@pytest.mark.parametrize("name", ["densenet", "resnet"])
def test_norms_that_stay_alive_are_folded_into_the_same_file(name: str, read: Callable[[str], nn.Module]) -> None:
    """Also those that are layers of their own."""
    network = read(name)
    formats = dict.fromkeys(layers(fold_batch_norm(network)), "int8")
    prepared = prepare(network, formats, keep_norms=True)
    calibrate(prepared, [images()])
    prepared.train()
    prepared(images()).square().mean().backward()
    assert all(weight.grad is not None for weight in prepared.parameters())
    for weight in prepared.parameters():
        weight.data -= 0.01 * weight.grad
    prepared.eval()
    calibrate(prepared, [images()])
    expected = prepared(images()).detach()
    folded = fold_norms(prepared)
    assert isinstance(folded, fx.GraphModule)
    assert torch.allclose(folded(images()), expected, atol=1e-3 * float(expected.abs().max()))
    codes, _ = largest_step(folded, HEADER, images())
    assert codes < 1.01
