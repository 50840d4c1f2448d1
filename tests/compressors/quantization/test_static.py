"""Static quantization: ranges, scales and biases set from images, without any training."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
import torch
from networks import HEADER
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
from torch import Tensor, nn

from compressors.folding import fold_batch_norm
from compressors.formats import WeightFormat
from compressors.pipeline import Options, PostTraining, apply_step, compress, requests_of
from compressors.plan import CompressionPlan
from compressors.quantization import ActivationQuantizer, QuantizedConv2d, prepare
from compressors.quantization.bias_correction import correct_biases, shifted
from compressors.quantization.floats import FloatRun
from compressors.quantization.ranges import CALIBRATIONS
from compressors.quantization.static import calibrate_ranges
from nas.runtimes.onnx.emission import emit

torch.set_num_threads(1)
WHOLE = {"network": True}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6), nn.ReLU(), nn.Conv2d(6, 4, 1),
    )  # fmt: skip
    made[1].weight.data.uniform_(0.5, 2)
    made[1].bias.data.normal_()
    return made.eval()


def batches(count: int = 3) -> list[Tensor]:
    return list(torch.rand(count, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1)))


def plan(fmt: WeightFormat = "int8", layers: tuple[str, ...] = ("0", "3", "5")) -> CompressionPlan:
    return CompressionPlan(formats=dict.fromkeys(layers, fmt), steps={"calibrated": WHOLE})


def quantized(fmt: WeightFormat = "int8", **settings: object) -> nn.Module:
    options = Options(post_training=PostTraining(**settings))  # type: ignore[arg-type]
    return compress(network(), plan(fmt), options, batches())


def error(found: nn.Module) -> float:
    x = torch.cat(batches())
    with torch.no_grad():
        return float((found(x) - network()(x)).square().mean())


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_every_calibration_is_close_to_the_float_network(calibration: str) -> None:
    found = quantized(calibration=calibration)
    assert not found.training
    assert 0 < error(found) < 1e-3 * float(network()(batches()[0]).square().mean())


def test_ranges_are_those_onnx_runtime_finds(tmp_path: object) -> None:
    """Of the float network's values, over all batches: against its MinMax calibrator, on the same file and images."""

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = [{"image": images.numpy()} for images in batches()]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self._left.pop() if self._left else None

    file, augmented = (f"{tmp_path}/{name}.onnx" for name in ("model", "augmented"))
    onnx.save(emit(fold_batch_norm(network()), HEADER), file)
    calibrator = create_calibrator(file, ["Relu"], augmented, CalibrationMethod.MinMax)
    calibrator.collect_data(Reader())
    ends = (found.range_value for found in calibrator.compute_data().data.values())
    theirs = [(float(np.min(low)), float(np.max(high))) for low, high in ends]
    prepared = prepare(network(), plan().formats)
    calibrate_ranges(prepared, batches(), "minmax")
    behind_relus = [prepared.get_submodule(f"_{number}_quantizer") for number in ("2", "4")]
    ours = {(float(quantizer.low), float(quantizer.high)) for quantizer in behind_relus}
    assert all(any(np.allclose(own, their, atol=1e-5) for their in theirs) for own in ours)
    assert len(ours) == 2


def test_order_of_batches_does_not_count() -> None:
    """Unlike ranges that follow a moving average."""
    found = []
    for given in (batches(), batches()[::-1]):
        prepared = prepare(network(), plan().formats)
        calibrate_ranges(prepared, given, "mse")
        found.append([(float(q.low), float(q.high)) for q in prepared.modules() if isinstance(q, ActivationQuantizer)])
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_without_images_there_is_no_range() -> None:
    with pytest.raises(ValueError, match=r"calibration: expected at least one batch of images, got none"):
        compress(network(), plan(), Options(), [])


def test_an_unknown_calibration_is_named() -> None:
    with pytest.raises(ValueError, match=r"calibration: expected one of minmax, .*, got 'best'"):
        quantized(calibration="best")


def test_the_float_run_is_the_float_network() -> None:
    prepared, x = prepare(network(), plan().formats), batches()[0]
    seen: dict[str, Tensor] = {}
    assert torch.allclose(FloatRun(prepared, layer=seen.__setitem__).run(x), network()(x), atol=1e-5)
    assert list(seen) == ["0", "3", "5"]
    assert torch.equal(seen["0"], x)


def test_biases_take_the_mean_error_of_two_bits_off() -> None:
    """Behind the correction every layer's outputs have the float layer's mean, for the float layer's inputs."""
    prepared = prepare(network(), plan("int2").formats)
    calibrate_ranges(prepared, batches(), "minmax")
    inputs: dict[str, list[Tensor]] = {}
    run = FloatRun(prepared, layer=lambda path, x: inputs.setdefault(path, []).append(x))
    for images in batches():
        run.run(images)
    before = {path: prepared.get_submodule(path).bias.detach().clone() for path in inputs}
    correct_biases(prepared, batches())
    for path, seen in inputs.items():
        layer = prepared.get_submodule(path)
        assert isinstance(layer, QuantizedConv2d)
        weight, _ = layer.quantized()
        conv = copy.deepcopy(layer.layer)
        conv.bias.data = before[path]
        x = torch.cat(seen)
        wanted = conv(x).mean((0, 2, 3))
        conv.weight.data, conv.bias.data = weight.data, layer.bias.data
        assert torch.allclose(conv(x).mean((0, 2, 3)), wanted, atol=1e-4)
        assert float((layer.bias - before[path]).abs().max()) > 1e-3


def test_bias_correction_and_equalization_help_few_bits() -> None:
    plain = error(quantized("int2", bias_correction=False))
    assert error(quantized("int2")) < 0.8 * plain
    assert error(quantized("int2", bias_correction=False, equalization=True)) != plain


def test_shifts_of_a_linear_layer() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(torch.flatten(x, 1))

    prepared = prepare(Flat().eval(), {"linear": "int2"})
    layer, x = prepared.get_submodule("linear"), torch.rand(5, 4)
    assert torch.allclose(shifted(layer, x), x @ (layer.quantized()[0] - layer.layer.weight).T)


def test_no_stage_follows_and_nothing_of_the_given_network_changes() -> None:
    given = network()
    before: Mapping[str, Tensor] = copy.deepcopy(given.state_dict())
    compress(given, plan(), Options(post_training=PostTraining("mse", True, True)), iter(batches()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in given.state_dict().items())
    (request,) = requests_of(plan())
    assert request.step.training is None
    assert isinstance(apply_step(given, request, Options(), batches()).get_submodule("5"), QuantizedConv2d)


def test_the_same_twice() -> None:
    first, second = (quantized(calibration="entropy", bias_correction=True).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
