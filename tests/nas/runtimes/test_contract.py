"""What every runtime has to do, whichever engine it is; a new row of RUNTIMES is tested here as it is.

The toy runtime of the tests keeps the contract too, so that it may stand for one elsewhere.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import ARCHITECTURE, CLASSES, HEADER, LAYERS, MIXED, pixels, quantized
from torch import nn
from toy_runtime import Toy

from compressors.folding import fold_batch_norm
from compressors.plan import WeightFormat
from nas.data.decoding import Form
from nas.measuring.scoring import as_float
from nas.registry import RUNTIMES
from nas.runtimes.runtime import CONTROL_SHAPE, Array, Runtime, RuntimeRefused, runtime_of
from nas.study import Target
from search_spaces.network import build_network

torch.set_num_threads(1)
ALL_FORMATS: dict[str, dict[str, WeightFormat]] = {
    "fp32": {},
    "mixed": MIXED,
    **{name: dict.fromkeys(LAYERS, name) for name in ("int8", "int6", "int5", "int4", "int3", "int2")},  # type: ignore[dict-item]
}


@pytest.fixture(params=[*RUNTIMES, "toy"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    if request.param == "toy":
        monkeypatch.setitem(RUNTIMES, "toy", Toy())
    found: Runtime = RUNTIMES[request.param]
    try:
        found.providers()
    except ImportError:
        pytest.skip(f"{found.package} is not installed here")
    return found


@pytest.fixture
def target(runtime: Runtime) -> Target:
    return Target(name="here", runtime=runtime.name)


def network_of(formats: dict[str, WeightFormat]) -> nn.Module:
    return quantized(formats) if formats else fold_batch_norm(build_network(ARCHITECTURE, len(CLASSES), seed=0).eval())


def write(runtime: Runtime, folder: Path, network: nn.Module) -> Path:
    file = folder / runtime.file_name
    file.write_bytes(runtime.emit(network, HEADER))
    return file


def images(count: int = 12) -> Array:
    return as_float(pixels(count))


def test_a_row_says_who_it_is(runtime: Runtime, target: Target) -> None:
    assert runtime_of(target) is runtime
    assert RUNTIMES[runtime.name] is runtime
    assert runtime.package
    assert Path(runtime.file_name).name == runtime.file_name
    assert Path(runtime.file_name).suffix
    assert runtime.default_provider in runtime.providers()
    assert target.provider == runtime.default_provider
    assert all(name and version for name, version in runtime.versions().items())


@pytest.mark.parametrize("formats", ALL_FORMATS.values(), ids=ALL_FORMATS)
def test_a_network_of_any_format_is_emitted_and_computes_what_torch_does(
    runtime: Runtime, target: Target, formats: dict[str, WeightFormat], tmp_path: Path
) -> None:
    """An engine may round otherwise inside: three steps of an 8-bit grid over the logits' range for nearly all."""
    network = network_of(formats)
    with torch.no_grad():
        expected = network(torch.from_numpy(images())).numpy()
    found = runtime.open(write(runtime, tmp_path, network), target).predict(images())
    assert found.shape == (12, len(CLASSES))
    assert found.dtype == np.float32
    steps = np.abs(found - expected) / (float(np.ptp(expected)) / 255)
    assert np.quantile(steps, 0.9) <= 3
    assert steps.max() <= 12


@pytest.mark.parametrize("formats", ALL_FORMATS.values(), ids=ALL_FORMATS)
def test_the_layers_asked_for_run_as_integers_and_the_file_stays(
    runtime: Runtime, target: Target, formats: dict[str, WeightFormat], tmp_path: Path
) -> None:
    file = write(runtime, tmp_path, network_of(formats))
    before = file.read_bytes()
    assert runtime.integer_layers(file, target) == set(formats)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("formats", [{}, MIXED], ids=["fp32", "mixed"])
def test_equal_networks_are_equal_files(runtime: Runtime, formats: dict[str, WeightFormat]) -> None:
    first, second = (runtime.emit(network_of(formats), HEADER) for _ in range(2))
    assert first == second
    assert first != runtime.emit(network_of(formats), replace(HEADER, class_names=tuple("klmnopqrst")))


def test_a_file_tells_its_classes_and_how_it_is_used(runtime: Runtime, tmp_path: Path) -> None:
    file = write(runtime, tmp_path, network_of(MIXED))
    assert runtime.class_names(file) == HEADER.class_names
    assert runtime.class_names(tmp_path / "missing") == ()
    usage = runtime.usage(file, Form(HEADER.channels, HEADER.input_size))
    assert usage.needs
    assert file.name in usage.program
    compile(usage.program, "predict.py", "exec")


def test_a_runner_reads_bytes_as_well_as_files(runtime: Runtime, target: Target, tmp_path: Path) -> None:
    file = write(runtime, tmp_path, network_of(MIXED))
    runners = runtime.open(file, target), runtime.open(file.read_bytes(), target)
    assert np.array_equal(*(runner.predict(images()) for runner in runners))
    assert [runner.input_shape() for runner in runners] == [(1, 8, 8)] * 2


def test_a_folder_whose_name_is_no_text_is_read(runtime: Runtime, target: Target, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    file = write(runtime, folder, network_of(MIXED))
    assert runtime.open(file, target).input_shape() == (1, 8, 8)
    assert runtime.integer_layers(file, target) == set(MIXED)


@pytest.mark.parametrize("asked", [1, 5, 12, 64])
@pytest.mark.parametrize("batch", [1, 5])
def test_batches_give_what_one_shot_gives(
    runtime: Runtime, target: Target, batch: int, asked: int, tmp_path: Path
) -> None:
    """Whatever batch the target is timed with, and with images left over."""
    file = write(runtime, tmp_path, network_of(MIXED))
    whole = runtime.open(file, target).predict(images(), batch=12)
    parts = runtime.open(file, target.model_copy(update={"batch": batch})).predict(images(), batch=asked)
    assert parts.shape == whole.shape
    assert np.allclose(whole, parts, rtol=0, atol=1e-5 * float(np.ptp(whole)))


@pytest.mark.parametrize("batch", [1, 4])
def test_every_call_is_timed_in_microseconds(runtime: Runtime, target: Target, batch: int, tmp_path: Path) -> None:
    runner = runtime.open(write(runtime, tmp_path, network_of(MIXED)), target.model_copy(update={"batch": batch}))
    samples = runner.time_us(images(batch), 5)
    assert len(samples) == 5
    assert 0.1 < min(samples) < 1e6


def test_threads_change_no_answer(runtime: Runtime, target: Target, tmp_path: Path) -> None:
    file = write(runtime, tmp_path, network_of(MIXED))
    one, three = (runtime.open(file, target.model_copy(update={"threads": n})).predict(images()) for n in (1, 3))
    assert np.allclose(one, three, rtol=0, atol=1e-5 * float(np.ptp(one)))


def test_the_control_is_a_network_of_its_own(runtime: Runtime, target: Target) -> None:
    control = runtime.open(runtime.control(), target)
    assert control.input_shape() == CONTROL_SHAPE[1:]
    assert len(control.time_us(np.zeros(CONTROL_SHAPE, np.float32), 3)) == 3
    assert runtime.control() == runtime.control()


@pytest.mark.parametrize("formats", [{}, dict.fromkeys(LAYERS, "int3")], ids=["fp32", "int3"])
def test_costs_do_not_depend_on_formats(runtime: Runtime, formats: dict[str, WeightFormat], tmp_path: Path) -> None:
    found = runtime.costs(write(runtime, tmp_path, network_of(formats)))
    assert found.parameters == sum(layer.parameters for layer in ARCHITECTURE.layers(len(CLASSES)))
    assert found.macs > found.parameters
    assert found.peak_memory_bytes > 0


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_fingerprint_says_what_latency_depends_on(runtime: Runtime, target: Target, threads: int, batch: int) -> None:
    other = target.model_copy(update={"threads": threads, "batch": batch})
    found = runtime.fingerprint(other)
    assert (found.threads, found.batch, found.provider) == (threads, batch, target.provider)
    assert found.device.strip()
    name, _, version = found.runtime.partition(" ")
    assert runtime.versions()[name] == version
    assert (found == runtime.fingerprint(target)) == (other == target)


@pytest.mark.parametrize("content", [b"", b"no network at all", None], ids=["empty", "text", "missing"])
def test_an_unreadable_file_is_refused_in_the_runtimes_words(
    runtime: Runtime, target: Target, content: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / runtime.file_name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RuntimeRefused) as refused:
        runtime.open(file, target)
    assert str(refused.value).strip()
    assert len(str(refused.value).splitlines()) == 1


def test_a_provider_it_lacks_is_refused(runtime: Runtime, target: Target, tmp_path: Path) -> None:
    """And never replaced by another, whose latency would stand under a wrong name."""
    file = write(runtime, tmp_path, network_of(MIXED))
    with pytest.raises(RuntimeRefused):
        runtime.open(file, target.model_copy(update={"provider": "NoSuchProvider"}))
