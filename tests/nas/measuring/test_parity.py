"""Parity: what is compared and how, and what a runtime that computes something else costs whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from existing_networks import existing
from hypothesis import given
from hypothesis import strategies as st
from networks import ARCHITECTURE, CLASSES, HEADER, MIXED, pixels, quantized
from toy_runtime import Toy, upside_down

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.data import Images
from nas.errors import TrainingDiverged
from nas.measuring.parity import ParityBroken, compare, has_integer_head, verify
from nas.measuring.scoring import as_float
from nas.records import Verification
from nas.registry import RUNTIMES
from nas.runtimes.runtime import Array
from nas.study import Target

torch.set_num_threads(1)

# Three images, four classes.

EXPECTED = np.array([[0.0, 1.0, 2.0, 10.0], [0.0, 5.0, 2.0, 1.0], [3.0, 0.0, 0.0, 2.9]], np.float32)
LABELS = np.array([3, 1, 3])


def moved(*changes: tuple[int, int, float]) -> Array:
    shipped = EXPECTED.copy()
    for row, column, by in changes:
        shipped[row, column] += by
    return shipped


def test_equal_logits_agree() -> None:
    parity = compare(EXPECTED, EXPECTED.copy(), LABELS, integer_head=True)
    assert parity.holds
    assert (parity.images, parity.max_difference, parity.within_tolerance) == (3, 0.0, 1.0)
    assert (parity.argmax_agreement, parity.clear_margin_disagreements, parity.accuracy_difference) == (1.0, 0, 0.0)


def test_whether_the_head_is_of_integers_is_asked_of_the_layer_that_gives_the_logits() -> None:
    own = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats={"classifier": "int8"}))
    assert has_integer_head(own, CLASSES)
    assert not has_integer_head(Candidate(architecture=ARCHITECTURE), CLASSES)
    mlp = existing("mlp").architecture
    assert has_integer_head(Candidate(architecture=mlp, plan=CompressionPlan(formats={"fc2": "int4"})), CLASSES)
    assert not has_integer_head(Candidate(architecture=mlp, plan=CompressionPlan(formats={"fc1": "int8"})), CLASSES)


@pytest.mark.parametrize(("integer_head", "tolerance"), [(True, 10 * 3 / 255), (False, 0.1)])
def test_the_tolerance_is_a_share_of_the_logits_range(integer_head: bool, tolerance: float) -> None:
    inside = compare(EXPECTED, moved((0, 0, 0.95 * tolerance)), LABELS, integer_head=integer_head)
    assert inside.tolerance == pytest.approx(tolerance)
    assert inside.max_difference == pytest.approx(0.95 * tolerance, rel=1e-5)
    assert inside.within_tolerance == 1.0
    assert inside.holds
    outside = compare(EXPECTED, moved((0, 0, -1.05 * tolerance)), LABELS, integer_head=integer_head)
    assert outside.within_tolerance == pytest.approx(11 / 12)
    assert not outside.holds


def test_the_range_is_that_of_the_expected_logits() -> None:
    assert compare(EXPECTED, 100 * EXPECTED, LABELS, integer_head=False).tolerance == pytest.approx(0.1)
    assert compare(EXPECTED - 50, EXPECTED, LABELS, integer_head=False).tolerance == pytest.approx(0.1)


def test_a_narrow_decision_may_fall_the_other_way() -> None:
    """The third image's margin is 0.1, less than twice the tolerance."""
    parity = compare(EXPECTED, moved((2, 3, 0.11)), LABELS, integer_head=True)
    assert parity.argmax_agreement == pytest.approx(2 / 3)
    assert parity.clear_margin_disagreements == 0
    assert parity.accuracy_difference == pytest.approx(1 / 3)
    assert parity.holds  # a single image
    assert not parity.is_broken


def test_a_clear_decision_may_not() -> None:
    """Twice the tolerance of 0.1: the first two images' margins of 8 and 3 are clear, the third's is not."""
    first = moved((0, 2, 8.1))
    assert compare(EXPECTED, first, LABELS, integer_head=False).clear_margin_disagreements == 1
    both = first + moved((1, 2, 3.1)) - EXPECTED
    assert compare(EXPECTED, both, LABELS, integer_head=False).clear_margin_disagreements == 2
    all_three = both + moved((2, 3, 0.2)) - EXPECTED
    parity = compare(EXPECTED, all_three, LABELS, integer_head=False)
    assert (parity.argmax_agreement, parity.clear_margin_disagreements) == (0.0, 2)


def test_one_clear_disagreement_among_many_images_breaks_parity() -> None:
    """By the shares alone it would pass: 999 of 1000 labels and 99.95 % of the logits agree."""
    expected = np.tile(EXPECTED[:2], (500, 1))
    shipped = expected.copy()
    shipped[0, [2, 3]] = shipped[0, [3, 2]]
    parity = compare(expected, shipped, np.tile(LABELS[:2], 500), integer_head=True)
    assert parity.within_tolerance >= 0.999
    assert parity.argmax_agreement == 0.999
    assert parity.clear_margin_disagreements == 1
    assert not parity.holds


@given(st.integers(0, 2**16), st.floats(0, 1))
def test_differences_within_the_tolerance_never_turn_a_clear_margin(seed: int, share: float) -> None:
    """Moving each logit by d at most cannot turn a margin above 2 d."""
    random = np.random.default_rng(seed)
    expected = random.normal(size=(50, 5)).astype(np.float32)
    size = 0.99 * share * 3 / 255 * float(np.ptp(expected))
    shipped = (expected + random.uniform(-size, size, expected.shape)).astype(np.float32)
    labels = random.integers(0, 5, 50)
    parity = compare(expected, shipped, labels, integer_head=True)
    assert (parity.within_tolerance, parity.clear_margin_disagreements) == (1.0, 0)
    assert parity.argmax_agreement == np.mean(expected.argmax(1) == shipped.argmax(1))
    right = [np.mean(logits.argmax(1) == labels) for logits in (expected, shipped)]
    assert parity.accuracy_difference == pytest.approx(abs(right[0] - right[1]))


def test_constant_logits_have_a_tolerance() -> None:
    flat = np.zeros((2, 3), np.float32)
    assert compare(flat, flat, np.array([0, 1]), integer_head=False).tolerance == 0.01


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_called_so(poison: float) -> None:
    good, labels = np.eye(4, dtype=np.float32), np.arange(4)
    bad = good.copy()
    bad[2, 1] = poison
    with pytest.raises(TrainingDiverged, match="NaN or infinity in the network's logits"):
        compare(bad, good, labels, integer_head=False)
    with pytest.raises(ParityBroken, match="NaN or infinity in the runtime's logits, none in torch's"):
        compare(good, bad, labels, integer_head=False)


# A network's files. The toy runtime answers what torch does, unless it is told to change it.

CANDIDATE = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(formats=MIXED))


def verified(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *toys: Toy, wide: bool = False, there: str | None = None
) -> Verification:
    """Of a network that is right on all images; each toy is a target of its own, `wide` the twin of the last.

    `there` is a provider that this machine lacks, of a device that all targets are measured on.
    """
    network = quantized(MIXED)
    with torch.no_grad():
        expected = network(torch.from_numpy(as_float(pixels()))).numpy()
    targets, files = [], dict[str, Path]()
    for number, toy in enumerate(toys):
        monkeypatch.setitem(RUNTIMES, f"toy{number}", toy)
        device = {} if there is None else {"agent": "http://pi5:8947", "provider": there}
        targets.append(Target.model_validate({"name": f"t{number}", "runtime": f"toy{number}", **device}))
        files[f"t{number}"] = folder / str(number)
        files[f"t{number}"].write_bytes(toy.emit(network, HEADER))
    if wide:
        targets.append(targets[-1].model_copy(update={"name": "wide", "threads": 2}))
        files["wide"] = files[f"t{len(toys) - 1}"]
    images = Images(pixels(), expected.argmax(1))
    return verify(files, targets, CANDIDATE, images, expected=expected, num_classes=len(CLASSES))


def shifted(logits: Array) -> Array:
    return logits + 0.02 * np.float32(np.ptp(logits))


def lost(logits: Array) -> Array:
    return np.full_like(logits, np.nan)


@pytest.mark.parametrize(("change", "flags"), [(np.copy, ()), (shifted, ("parity",))])
def test_a_file_that_says_otherwise_is_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Array], Array], flags: tuple[str, ...]
) -> None:
    found = verified(tmp_path, monkeypatch, Toy(change))
    assert found.flags == flags
    assert found.other_parity == {}


@pytest.mark.parametrize(("change", "why"), [(upside_down, "accuracy in runtime and torch differ"), (lost, "NaN")])
def test_a_file_that_decides_otherwise_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Array], Array], why: str
) -> None:
    with pytest.raises(ParityBroken, match=why):
        verified(tmp_path, monkeypatch, Toy(change))


def test_what_ran_is_what_the_first_targets_runtime_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "integer_layers", lambda *_: frozenset({"stem.conv"}))
    found = verified(tmp_path, monkeypatch, Toy())
    assert (set(found.asked_integer), found.ran_integer) == (set(MIXED), ("stem.conv",))
    assert [layer.name for layer in found.layers if layer.ran == "integer"] == ["stem.conv"]


@pytest.mark.parametrize(
    ("other", "has_parity", "flags"),
    [
        pytest.param(Toy(), True, (), id="computes the same"),
        pytest.param(Toy(shifted), True, ("parity@t1", "parity@wide"), id="is off"),
        pytest.param(Toy(upside_down), True, ("parity@t1", "parity@wide"), id="decides otherwise"),
        pytest.param(Toy(lost), False, ("parity@t1", "parity@wide"), id="gives NaN"),
        pytest.param(Toy(refuses=True), False, ("parity@t1", "parity@wide"), id="refuses the file"),
    ],
)
def test_another_runtime_is_checked_once_and_flags_its_own_targets_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Toy, has_parity: bool, flags: tuple[str, ...]
) -> None:
    found = verified(tmp_path, monkeypatch, Toy(), other, wide=True)
    assert found.flags == flags
    assert found.parity.holds
    assert set(found.other_parity) == ({"t1"} if has_parity else set())
    assert found.doubtful_targets == tuple(flag.removeprefix("parity@") for flag in flags)


def test_another_number_of_threads_is_no_other_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = verified(tmp_path, monkeypatch, Toy(shifted), wide=True)
    assert (found.flags, found.other_parity) == (("parity",), {})


def test_files_of_devices_are_opened_here_by_whatever_this_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that is not installed here leaves its target unchecked, and without a flag."""
    first, other, absent = Toy(), Toy(), Toy(upside_down)
    first.package = other.package = "numpy"
    found = verified(tmp_path, monkeypatch, first, other, absent, there="npu")
    assert found.parity.holds
    assert set(found.other_parity) == {"t1"}
    assert found.flags == ()
