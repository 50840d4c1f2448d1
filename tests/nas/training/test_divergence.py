"""What is not finite is named once; what may be infinite is no divergence."""

from __future__ import annotations

import pytest
import torch
from trainings import feed_of, small_network

from compressors.quantization.calibration import calibrate
from compressors.quantization.insertion import prepare
from nas.errors import TrainingDiverged
from nas.training.divergence import learned_values, require_finite
from nas.training.inference import CalibrationBatches

GOOD, BAD, INFINITE = torch.ones(3), torch.tensor([1.0, torch.nan]), torch.tensor([-torch.inf])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([("a", BAD)], "training diverged: NaN or infinity in a at noon"),
        (
            [("a", GOOD), ("b", INFINITE), ("c", BAD)],
            "training diverged: NaN or infinity in b and 1 more at noon",
        ),
        ([("a", BAD), ("a", BAD)], "training diverged: NaN or infinity in a at noon"),
    ],
)
def test_what_is_not_finite_is_named(values: list[tuple[str, torch.Tensor]], expected: str) -> None:
    with pytest.raises(TrainingDiverged) as raised:
        require_finite(values, "at noon")
    assert str(raised.value) == expected


def test_finite_values_integers_and_nothing_pass() -> None:
    require_finite([], "at noon")
    require_finite([("a", GOOD), ("b", torch.tensor([2**40]))], "at noon")


@pytest.mark.parametrize("observed", [False, True])
def test_ranges_that_wait_for_images_are_no_divergence(observed: bool) -> None:
    network = prepare(small_network(20).eval(), {"0": "int8", "3": "int4"}, learned=["int4"])
    if observed:
        calibrate(network, CalibrationBatches(feed_of(20)))
    require_finite(learned_values(network), "before training")


def test_weights_statistics_and_scales_are_learned_values() -> None:
    network = small_network(20)
    assert {"0.weight", "1.running_var", "3.bias"} <= {name for name, _ in learned_values(network)}
    quantized = prepare(network.eval(), {"0": "int8", "3": "int4"}, learned=["int4"])
    names = [name for name, _ in learned_values(quantized)]
    assert {"0.scales", "3.scales", "3.layer.weight"} <= set(names)
    assert any(name.endswith(".scale") for name in names)  # of activations
