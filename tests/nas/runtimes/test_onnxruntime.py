"""The runtime: which layers really run as integers, and what a runner gives back."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import fx

import nas.runtimes.onnxruntime
from compressors.plan import WeightFormat
from compressors.quantization import calibrate, prepare
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.data import Images
from nas.runtimes.cpu import sums_may_overflow
from nas.runtimes.onnx.emission import FileHeader, emit
from nas.runtimes.onnxruntime import Array, Runner, fingerprint, integer_layers
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Compression, Target
from nas.training.augmentation import Feed
from search_spaces.network import build_network
from search_spaces.spaces import MobileSpace
from search_spaces.trials import Pick

torch.set_num_threads(1)

CPU = Target(name="cpu")
CLASSES = tuple("abcdefghij")


def candidate(seed: int, *formats: WeightFormat) -> Candidate:
    compression = Compression(weight_format=formats, granularity="layer", edges_below_int8=True)
    space = MobileSpace.model_validate({"preset": "8px"})
    return sample(Pick(random.Random(seed).choice), space, compression, input_channels=1)


def calibrated(chosen: Candidate) -> fx.GraphModule:
    network = prepare(build_network(chosen.architecture, len(CLASSES), seed=0), chosen.plan.formats)
    images = Images((image(32) * 255).round().astype(np.uint8), np.zeros(32, np.int64))
    calibrate(network, Feed.of(images, torch.device("cpu"), batch_size=32, seed=0).plain(8))
    return network


def write(folder: Path, network: fx.GraphModule | onnx.ModelProto) -> Path:
    model = network if isinstance(network, onnx.ModelProto) else emit(network, FileHeader(1, 8, CLASSES))
    file = folder / "model.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def image(count: int) -> Array:
    codes = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8))
    return codes.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize(
    "formats",
    [
        ("fp32",),
        ("int8",),
        ("int4",),
        ("fp32", "int8"),
        ("fp32", "int8", "int4"),
        ("int6", "int5", "int3", "int2"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_layers_asked_for_run_as_integers(formats: tuple[WeightFormat, ...], seed: int, tmp_path: Path) -> None:
    """And all others in float."""
    chosen = candidate(seed, *formats)
    file = write(tmp_path, calibrated(chosen))
    assert integer_layers(file, CPU) == set(chosen.plan.formats)
    Runner(file, CPU, optimized=tmp_path / "optimized.onnx")
    ran = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert ran["QLinearConv"] + ran["QGemm"] == len(chosen.plan.formats)
    floats = sum(ran[kind] for kind in ("Conv", "FusedConv", "Gemm", "FusedGemm"))
    assert floats == len(chosen.layers(len(CLASSES))) - len(chosen.plan.formats)


def test_looking_leaves_the_file_alone(tmp_path: Path) -> None:
    file = write(tmp_path, calibrated(candidate(0, "int8")))
    before = file.read_bytes()
    integer_layers(file, CPU)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_relu_that_stays_in_the_file_makes_its_layer_float(tmp_path: Path) -> None:
    """It stays where the quantizer behind it has a zero point other than 0, and stands between layer and codes."""
    chosen = candidate(1, "int8")
    network = calibrated(chosen)
    network.get_submodule("stem_activation_quantizer").zero_point.fill_(3)
    model = emit(network, FileHeader(1, 8, CLASSES))
    assert "Relu" in {node.op_type for node in model.graph.node}
    assert integer_layers(write(tmp_path, model), CPU) == set(chosen.plan.formats) - {"stem.conv"}


def test_weights_without_their_quantizer_make_their_layer_float(tmp_path: Path) -> None:
    """The 4-bit codes of one layer go straight to DequantizeLinear: the runtime does not fuse that."""
    chosen = candidate(1, "int4")
    model = emit(calibrated(chosen), FileHeader(1, 8, CLASSES))
    makers = {node.output[0]: node for node in model.graph.node}
    (layer,) = [node for node in model.graph.node if node.name == "head.conv"]
    dequantize = makers[layer.input[1]]
    cast = makers[dequantize.input[0]]
    assert cast.op_type == "Cast"
    dequantize.input[0] = cast.input[0]
    model.graph.node.remove(cast)
    assert integer_layers(write(tmp_path, model), CPU) == set(chosen.plan.formats) - {"head.conv"}


def test_an_unquantized_output_makes_its_layer_float(tmp_path: Path) -> None:
    """A convolution whose result nobody quantizes again is no integer kernel, though its inputs are codes."""
    chosen = candidate(1, "int8")
    network = calibrated(chosen)
    (call,) = network.graph.find_nodes(op="call_module", target="head_activation_quantizer")
    call.replace_all_uses_with(call.args[0])
    network.graph.erase_node(call)
    network.recompile()
    ran = integer_layers(write(tmp_path, network), CPU)
    assert "head.conv" not in ran
    assert "stem.conv" in ran


@pytest.mark.parametrize("formats", [("fp32",), ("int8",)])
@pytest.mark.parametrize("batch", [1, 7, 10, 64])
def test_batches_give_what_one_shot_gives(formats: tuple[WeightFormat, ...], batch: int, tmp_path: Path) -> None:
    runner = Runner(write(tmp_path, calibrated(candidate(2, *formats))), CPU)
    whole, parts = runner.predict(image(20), batch=20), runner.predict(image(20), batch=batch)
    assert whole.shape == parts.shape == (20, len(CLASSES))
    assert whole.dtype == np.float32
    assert np.allclose(whole, parts, rtol=0, atol=1e-5 * float(np.ptp(whole)))


def test_a_runner_reads_bytes_as_well_as_files(tmp_path: Path) -> None:
    file = write(tmp_path, calibrated(candidate(2, "fp32")))
    runners = Runner(file, CPU), Runner(file.read_bytes(), CPU)
    assert np.array_equal(*(runner.predict(image(3)) for runner in runners))
    assert [runner.input_shape() for runner in runners] == [(1, 8, 8)] * 2


def test_every_call_is_timed(tmp_path: Path) -> None:
    runner = Runner(write(tmp_path, calibrated(candidate(2, "fp32"))), CPU)
    samples = runner.time_us(image(1), 5)
    assert len(samples) == 5
    assert min(samples) > 0


@pytest.mark.parametrize("target", [CPU, Target(name="wide", threads=2, batch=4)])
def test_a_fingerprint_says_what_latency_depends_on(target: Target) -> None:
    found = fingerprint(target)
    assert found.device.strip()
    assert found.runtime.startswith("onnxruntime ")
    assert (found.provider, found.threads, found.batch) == (target.provider, target.threads, target.batch)
    assert all(found.instruction_sets)


def test_exact_sums_are_asked_for_where_others_may_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime then stores 8-bit weights unsigned, for kernels that add in 32 bits; logits are the same numbers."""
    file = write(tmp_path, calibrated(candidate(0, "int8")))

    def weights(folder: Path) -> tuple[set[int], Array]:
        runner = Runner(file, CPU, optimized=folder / "optimized.onnx")
        stored = onnx.load(folder / "optimized.onnx").graph.initializer
        return {w.data_type for w in stored if len(w.dims) == 4}, runner.predict(image(4))

    monkeypatch.setattr(nas.runtimes.onnxruntime, "sums_may_overflow", lambda: False)
    plain, expected = weights(tmp_path)
    monkeypatch.setattr(nas.runtimes.onnxruntime, "sums_may_overflow", lambda: True)
    exact, found = weights(tmp_path)
    assert (TensorProto.INT8 in plain, exact) == (True, {TensorProto.UINT8})
    if not sums_may_overflow.__wrapped__():  # else the first are the wrong ones
        assert np.array_equal(found, expected)
    assert integer_layers(file, CPU) == set(candidate(0, "int8").plan.formats)


def test_a_machine_without_cpuinfo_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: Any) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", refuse)
    found = fingerprint.__wrapped__(CPU)
    assert found.device
    assert found.instruction_sets == ()


def test_a_provider_that_cannot_be_loaded_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package has it, its libraries are missing: the session is on the CPU, and only a log says so."""
    file, honest = write(tmp_path, calibrated(candidate(2, "fp32"))), onnxruntime.InferenceSession
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)

    def on_the_cpu(source: str, options: Any, providers: list[str]) -> Any:
        assert providers == names[:1]
        return honest(source, options, providers=names[1:])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_the_cpu)
    with pytest.raises(RuntimeRefused, match="CUDAExecutionProvider cannot be used here, only CPUExecutionProvider"):
        Runner(file, Target(name="gpu", provider="CUDAExecutionProvider"))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_session_has_the_targets_threads_and_does_not_spin(tmp_path: Path, threads: int) -> None:
    runner = Runner(write(tmp_path, calibrated(candidate(2, "fp32"))), Target(name="cpu", threads=threads))
    options = runner._session.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_calls_are_timed_in_microseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(write(tmp_path, calibrated(candidate(2, "fp32"))), CPU)
    monkeypatch.setattr(nas.runtimes.onnxruntime.time, "perf_counter_ns", itertools.count(0, 1500).__next__)
    assert runner.time_us(image(1), 3) == [1.5] * 3
