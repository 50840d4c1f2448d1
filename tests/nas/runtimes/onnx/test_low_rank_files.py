"""Files of factored networks: their sizes are foretold, their kernels are integer, and they compute what torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from factored import CLASSES, drawn_factored, images_of, network_of
from onnxruntime import InferenceSession

from nas.candidates.candidate import Candidate
from nas.measuring.costs import layer_reports
from nas.measuring.latency_terms import NOMINAL_NS, work_of
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import emit
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.runtime import FileHeader, runtime_of
from nas.study import Target

torch.set_num_threads(1)


def emitted(candidate: Candidate, seed: int = 0) -> onnx.ModelProto:
    return emit(network_of(candidate, seed), header_of(candidate))


def header_of(candidate: Candidate) -> FileHeader:
    return FileHeader(3, candidate.architecture.input_size, tuple(map(str, range(CLASSES))))


@pytest.mark.parametrize("removing", [(False,), (True, False)], ids=["whole", "removing"])
@pytest.mark.parametrize("formats", [("fp32",), ("int4", "int8", "fp32")], ids="-".join)
def test_sizes_and_costs_are_foretold(formats: tuple[str, ...], removing: tuple[bool, ...]) -> None:
    fields = {"remove_blocks": removing, "remove_activations": removing}
    for seed in range(2):
        candidate = drawn_factored(seed, weight_format=formats, edges_below_int8=True, **fields)
        model = emitted(candidate, seed)
        found, costs = forecast(candidate, header_of(candidate)), read_costs(model)
        assert found is not None
        size = len(model.SerializeToString())
        assert found.peak_memory_bytes == costs.peak_memory_bytes
        assert abs(found.size_bytes - size) <= (5 * found.size_sd if candidate.plan.formats else 0)
        assert (costs.parameters, costs.macs) == (candidate.parameters(CLASSES), candidate.macs(CLASSES))


def test_what_depends_on_weights_is_not_foretold() -> None:
    candidate = drawn_factored(0, low_rank={"method": "tucker", "energy": 0.9})
    assert candidate.depends_on_weights
    assert forecast(candidate, header_of(candidate)) is None


def test_the_file_holds_the_factors_and_computes_what_torch_does(tmp_path: Path) -> None:
    candidate = drawn_factored(1, weight_format=("fp32", "int8"))
    model = emitted(candidate, 1)
    file, images = tmp_path / "model.onnx", images_of(candidate)
    onnx.save(model, file)
    stored = {weight.name: tuple(weight.dims) for weight in model.graph.initializer if weight.name.endswith(".weight")}
    floats = [one for one in candidate.layers(CLASSES) if candidate.plan.format_of(one.name) == "fp32"]
    dims = {one.name: (one.out_channels, one.in_channels // one.groups, *one.kernels) for one in floats}
    assert stored == {f"{one.name}.weight": dims[one.name][: 2 if one.kind == "linear" else 4] for one in floats}
    assert any(one.name != one.whole for one in floats)
    with torch.no_grad():
        expected = network_of(candidate, 1).eval()(images).numpy()
    session = InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": images.numpy()})
    span = expected.max() - expected.min()
    assert float(np.abs(logits - expected).max()) < 0.05 * span


def test_integer_factors_run_integer_kernels(tmp_path: Path) -> None:
    candidate = drawn_factored(2, weight_format=("int8",))
    file, target = tmp_path / "model.onnx", Target(name="cpu", runtime="onnxruntime")
    onnx.save(emitted(candidate, 2), file)
    ran = runtime_of(target).integer_layers(file, target)
    assert sorted(ran) == list(candidate.integer_layers(CLASSES))
    assert any(name.endswith(".3") for name in ran)  # components of cp, one filter of 1 x k per channel
    reports = layer_reports(candidate, CLASSES, ran)
    assert {report.format for report in reports} == {"int8"}
    assert {report.kernel_width for report in reports if report.kernel == 3} >= {None, 1}
    last = {report.name for report in reports if report.unpruned_channels is None}
    assert all(name.rpartition(".")[2].isdigit() for name in last)
    assert last


def test_terms_of_latency_count_what_is_there() -> None:
    """Activations, gates and sums are those of the whole network: behind a factor nothing is but the next one."""
    for seed in range(3):
        factored = drawn_factored(seed, weight_format=("int8", "fp32"), granularity="network")
        whole = factored.resulting(factored.plan.model_copy(update={"steps": {}}))
        one, other = (dict(zip(NOMINAL_NS, work_of(given, CLASSES).total, strict=True)) for given in (factored, whole))
        events = [name for name in one if name.startswith(("hardswish/", "gate/", "added/", "averaged/", "cast/"))]
        assert {name: one[name] for name in events} == {name: other[name] for name in events}
        calls = sum(units for name, units in one.items() if name.endswith("/call") and name not in events)
        assert calls - sum(u for n, u in other.items() if n.endswith("/call") and n not in events) == len(
            factored.layers(CLASSES)
        ) - len(whole.layers(CLASSES))
