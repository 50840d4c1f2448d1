"""Forecasts of files: size and peak memory in closed form, against files that are emitted."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import fx, nn

from compressors.folding import fold_batch_norm
from compressors.formats import WeightFormat
from compressors.masking.step import MASKING
from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from compressors.pruning import prune, weight_norm
from compressors.quantization import calibrate, prepare
from compressors.requests.masked import asked
from nas.candidates.candidate import Candidate
from nas.candidates.sampling import sample
from nas.registry import RUNTIMES
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.onnx.storage import SMALLEST, Storage
from nas.runtimes.openvino import STORAGE
from nas.runtimes.runtime import FileForecast, FileHeader
from nas.study import Compression
from search_spaces.flows import FLOWS
from search_spaces.network import build_network
from search_spaces.spaces import MixedSpace, MobileSpace, ShuffleSpace, Space
from search_spaces.trials import Pick, first

torch.set_num_threads(1)

CLASSES = tuple("abcdefghij")
SPACES: Mapping[str, Space] = {
    "mobile": MobileSpace.model_validate({"family": "mobile", "preset": "8px"}),
    "shuffle": ShuffleSpace.model_validate({"family": "shuffle", "preset": "8px"}),
    "mixed": MixedSpace.model_validate({"family": "mixed", "preset": "8px"}),
    "plain": MixedSpace.model_validate(
        {
            "family": "mixed",
            "preset": "8px",
            "blocks": {"plain": {"kernels": (3, 5), "activations": ("relu", "hardswish")}},
        }
    ),
    "without a head": MobileSpace.model_validate({"family": "mobile", "preset": "8px", "head_widths": (0,)}),
}
FORMATS: tuple[tuple[WeightFormat, ...], ...] = (
    ("fp32",), ("int8",), ("int4", "int2"), ("int6", "int5", "int3"), ("fp32", "int8", "int4"),
)  # fmt: skip

DENSE = Storage(is_dense=True)
TINY = {"weight_format": ("int8",), "mask": {"ratio": 0.2}}


def drawn(space: Space, seed: int, formats: tuple[WeightFormat, ...], **fields: Any) -> Candidate:
    freedom = {"pruning_ratio": (0.0, 0.5), "granularity": "layer", "edges_below_int8": True, "stage_widths": True}
    compression = Compression.model_validate({**freedom, "weight_format": formats, **fields})
    return sample(Pick(random.Random(seed).choice), space, compression, input_channels=3)


def file_of(candidate: Candidate, seed: int, storage: Storage = SMALLEST) -> tuple[int, int]:
    """Size and peak memory of the candidate's emitted file."""
    header = header_of(candidate)
    model = emit(network_of(candidate, seed), header, storage)
    return len(model.SerializeToString()), read_costs(model).peak_memory_bytes


def network_of(candidate: Candidate, seed: int) -> fx.GraphModule:
    architecture, size = candidate.architecture, candidate.architecture.input_size
    network: nn.Module = build_network(architecture, len(CLASSES), seed=seed)
    prune(network, architecture.all_groups(), candidate.plan.kept, importance=weight_norm(2))
    if (mask := asked(candidate.plan)) is not None:
        network = MASKING.apply(network, mask, Options())
    if not candidate.plan.formats:
        return fold_batch_norm(network.eval())
    prepared = prepare(network.eval(), candidate.plan.formats)
    calibrate(prepared, [torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(seed))])
    return prepared


def header_of(candidate: Candidate) -> FileHeader:
    return FileHeader(3, candidate.architecture.input_size, CLASSES)


def foretold(candidate: Candidate, storage: Storage = SMALLEST) -> FileForecast:
    found = forecast(candidate, header_of(candidate), storage)
    assert found is not None
    return found


@pytest.mark.parametrize("formats", FORMATS, ids="-".join)
@pytest.mark.parametrize("family", SPACES)
def test_against_emitted_files(family: str, formats: tuple[WeightFormat, ...]) -> None:
    for seed in range(3):
        candidate = drawn(SPACES[family], seed, formats)
        size, peak = file_of(candidate, seed)
        found = foretold(candidate)
        assert found.peak_memory_bytes == peak
        if candidate.plan.formats:
            assert abs(found.size_bytes - size) < max(5 * found.size_sd, 0.003 * size)
        else:
            assert found.size_bytes == size


@pytest.mark.parametrize("formats", [("fp32",), *FORMATS[1:]], ids="-".join)
@pytest.mark.parametrize("family", ["mobile", "shuffle"])
def test_masked_weights(family: str, formats: tuple[WeightFormat, ...]) -> None:
    """Some layers are stored as masks, small ones dense; the same file either way has one size."""
    candidate = drawn(SPACES[family], 1, formats, mask=[None, {"ratio": 0.3}, {"ratio": 0.9}])
    size, peak = file_of(candidate, 1)
    found, dense = foretold(candidate), foretold(candidate, DENSE)
    assert found.peak_memory_bytes == peak
    plain_size = file_of(candidate, 1, DENSE)[0]
    assert (found.size_bytes < dense.size_bytes) == (size < plain_size)
    assert found.size_bytes <= dense.size_bytes
    if candidate.plan.formats:
        assert abs(found.size_bytes - size) < max(5 * found.size_sd, 0.003 * size)
    else:
        assert found.size_bytes == size
    assert found.size_bytes > candidate.weight_bytes(len(CLASSES))
    assert abs(dense.size_bytes - plain_size) <= max(5 * dense.size_sd, 64)


def test_masks_too_small_to_pay_for_their_function_are_foretold_dense() -> None:
    candidate = sample(Pick(first), SPACES["mobile"], Compression.model_validate(TINY), input_channels=3)
    found = foretold(candidate)
    assert found.size_bytes == foretold(candidate, DENSE).size_bytes
    assert abs(found.size_bytes - file_of(candidate, 0)[0]) <= 5 * found.size_sd


def test_zeros_that_depend_on_weights_cannot_be_foretold() -> None:
    candidate = drawn(SPACES["mobile"], 0, ("int8",), mask={"ratio": 0.5, "scope": "global"})
    assert forecast(candidate, header_of(candidate)) is None


@pytest.mark.parametrize(
    ("family", "formats"),
    [
        ("mixed", ("ternary", "binary", "codebook4", "codebook3", "codebook2")),
        ("shuffle", ("int8_asymmetric", "binary", "fp32")),
        ("mobile", ("pow2",)),
        ("shuffle", ("pow2",)),
        ("mixed", ("pow2", "int8", "fp32")),
    ],
)
def test_further_formats_against_emitted_files(family: str, formats: tuple[WeightFormat, ...]) -> None:
    candidate = drawn(SPACES[family], 1, formats)
    size, peak = file_of(candidate, 1)
    found = foretold(candidate)
    assert found.peak_memory_bytes == peak
    assert abs(found.size_bytes - size) < 3 * found.size_sd < 0.02 * size


def test_weights_that_a_runtime_does_not_unpack() -> None:
    candidate = drawn(SPACES["mixed"], 1, ("int3", "int2"))
    size, peak = file_of(candidate, 1, STORAGE)
    found = foretold(candidate, STORAGE)
    assert abs(found.size_bytes - size) < 0.003 * size
    assert (found.peak_memory_bytes, foretold(candidate).size_bytes < found.size_bytes) == (peak, True)


@pytest.mark.parametrize(("runtime", "storage"), [("onnxruntime", SMALLEST), ("openvino", STORAGE)])
def test_every_runtime_foretells_its_own_file(runtime: str, storage: Storage) -> None:
    candidate = drawn(SPACES["mobile"], 3, ("int3", "int2", "int8"))
    found = RUNTIMES[runtime].forecast(candidate, header_of(candidate))
    assert found.size_bytes == foretold(candidate, storage).size_bytes


def test_sizes_of_quantized_files_are_right_on_average() -> None:
    errors = []
    for seed in range(12):
        candidate = drawn(SPACES["mixed"], seed, ("int8", "int4"))
        found = foretold(candidate)
        errors.append((file_of(candidate, seed)[0] - found.size_bytes) / found.size_sd)
    assert abs(sum(errors) / len(errors)) < 1
    assert max(map(abs, errors)) < 4


def test_what_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = drawn(SPACES["mobile"], 0, ("int8",))
    further = candidate.model_copy(update={"plan": CompressionPlan(steps={"sparse": {"stem.conv": 0.5}})})
    assert forecast(further, header_of(candidate)) is None
    monkeypatch.delitem(FLOWS, "inverted_residual")
    assert forecast(candidate, header_of(candidate)) is None


@pytest.mark.parametrize("family", SPACES)
def test_a_dynamic_classifier(family: str) -> None:
    for seed in range(2):
        candidate = drawn(SPACES[family], seed, ("fp32",))
        plan = candidate.plan.model_copy(
            update={"formats": {"classifier": "int8"}, "steps": {"dynamic": {"network": True}}}
        )
        candidate = candidate.model_copy(update={"plan": plan})
        architecture = candidate.architecture
        network = build_network(architecture, len(CLASSES), seed=seed)
        options = Options(groups=architecture.all_groups())
        model = emit(compress(network, plan, options, [], trained=False), header_of(candidate))
        found = foretold(candidate)
        assert found.size_bytes == len(model.SerializeToString())
        assert found.peak_memory_bytes == read_costs(model).peak_memory_bytes


def test_calibrated_networks_have_the_files_of_trained_ones() -> None:
    candidate = drawn(SPACES["mobile"], 0, ("int8",))
    plan = candidate.plan.model_copy(update={"steps": {"calibrated": {"network": True}}})
    calibrated = candidate.model_copy(update={"plan": plan})
    assert foretold(calibrated).size_bytes == foretold(candidate).size_bytes


@pytest.mark.parametrize("storage", [SMALLEST, DENSE, STORAGE], ids=["smallest", "dense", "openvino"])
@pytest.mark.parametrize("fmt", ["binary", "ternary", "codebook3", "int8_asymmetric"])
def test_masks_of_further_formats(fmt: WeightFormat, storage: Storage) -> None:
    """Binary weights are masked always, or bytes: with zeros among them they have three values."""
    candidate = drawn(SPACES["mixed"], 1, (fmt,), mask=[None, {"ratio": 0.6}])
    size, peak = file_of(candidate, 1, storage)
    found = foretold(candidate, storage)
    assert found.peak_memory_bytes == peak
    assert abs(found.size_bytes - size) < max(5 * found.size_sd, 0.003 * size)


@pytest.mark.parametrize("storage", [SMALLEST, DENSE], ids=["smallest", "dense"])
def test_a_masked_classifier_that_is_dynamic(storage: Storage) -> None:
    candidate = drawn(SPACES["mobile"], 0, ("fp32",), mask={"ratio": 0.9})
    steps = candidate.plan.steps | {"dynamic": {"network": True}}
    plan = candidate.plan.model_copy(update={"formats": {"classifier": "int8"}, "steps": steps})
    candidate, size = candidate.model_copy(update={"plan": plan}), candidate.architecture.input_size
    network = build_network(candidate.architecture, len(CLASSES), seed=0)
    options = Options(groups=candidate.groups())
    shape = compress(network, plan, options, [torch.rand(2, 3, size, size)], trained=False)
    model = emit(shape, header_of(candidate), storage)
    found = foretold(candidate, storage)
    assert abs(found.size_bytes - len(model.SerializeToString())) <= found.size_sd
    assert found.peak_memory_bytes == read_costs(model).peak_memory_bytes
