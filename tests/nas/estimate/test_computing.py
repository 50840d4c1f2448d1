"""What a training computes, by hand."""

from __future__ import annotations

import pytest
from by_hand import make_study
from trainings import recipe_of

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.estimate.computing import TERMS, Course, computed_by, row_of, rows_of, steps_per_epoch
from search_spaces.layers import LayerSpec


def test_a_row_counts_calls_and_weights_once_and_all_else_per_image() -> None:
    conv = LayerSpec("a", "a", "conv", 3, 8, kernel=3, stride=2, input_size=8, output_size=4)
    depthwise = LayerSpec("b", "b", "depthwise", 8, 8, kernel=3, input_size=4, output_size=4)
    linear = LayerSpec("c", "c", "linear", 8, 10)
    found = dict(zip(TERMS, row_of([conv, depthwise, linear], 5).tolist(), strict=True))
    assert found == {
        "layers": 3,
        "activations": 5 * (8 * 16 + 8 * 16 + 10),
        "macs": 5 * (8 * 3 * 9 * 16 + 80),
        "depthwise_macs": 5 * 8 * 9 * 16,
        "weights": 8 * 3 * 9 + 8 * 9 + 80,
    }


@pytest.fixture
def candidate() -> Candidate:
    """Of one layer's worth of pruning and quantization."""
    network = extreme_candidates(make_study())["largest"].architecture
    group = network.groups()[0]
    return Candidate(
        architecture=network,
        plan=CompressionPlan(kept={group.name: group.width // 2}, formats={"stem.conv": "int8"}),
    )


def test_the_dense_stage_trains_the_whole_network_and_later_ones_what_is_left(candidate: Candidate) -> None:
    rows = rows_of(candidate, batch_size=2, num_classes=10)
    assert list(rows) == ["dense", "pruned", "quantized"]
    whole, left = row_of(candidate.architecture.layers(10), 2), row_of(candidate.layers(10), 2)
    assert whole[1] > left[1]
    assert rows["dense"].tolist() == whole.tolist()
    assert rows["pruned"].tolist() == rows["quantized"].tolist() == left.tolist()
    plain = Candidate(architecture=candidate.architecture)
    assert list(rows_of(plain, batch_size=2, num_classes=10)) == ["dense"]
    quantized = candidate.model_copy(update={"plan": CompressionPlan(formats={"stem.conv": "int8"})})
    assert rows_of(quantized, batch_size=2, num_classes=10)["quantized"].tolist() == whole.tolist()


def test_a_course_has_the_steps_that_a_training_has(candidate: Candidate) -> None:
    recipe = recipe_of(batch_size=8, shares={"dense": 0.5, "pruned": 0.3, "quantized": 0.2})
    assert [steps_per_epoch(images, 8) for images in (8, 16, 17, 18)] == [1, 2, 2, 3]
    course = Course(recipe, 10, 20)
    found = computed_by(candidate, course, 10)
    assert found.steps == {"dense": 15, "pruned": 9, "quantized": 6}
    rows = rows_of(candidate, batch_size=8, num_classes=10)
    assert {stage: row.tolist() for stage, row in found.after().items()} == {
        stage: (count * rows[stage]).tolist() for stage, count in found.steps.items()
    }
    half = found.after(0.6)  # 18 of 30 steps: all of the first stage, three of the second
    assert half["dense"].tolist() == [0.0] * 5
    assert half["pruned"].tolist() == pytest.approx((6 * rows["pruned"]).tolist())
    assert half["quantized"].tolist() == (6 * rows["quantized"]).tolist()
    assert Course(recipe, 1, 5).batch_size == 5


def test_smaller_images_are_those_before_quantization_aware_training(candidate: Candidate) -> None:
    recipe = recipe_of(batch_size=8)
    own, small = (computed_by(candidate, Course(recipe, 10, 80, size), 10).rows for size in (None, 4))
    assert small["quantized"].tolist() == own["quantized"].tolist()
    for stage in ("dense", "pruned"):
        assert small[stage][1] < own[stage][1]
        assert small[stage][4] == own[stage][4]
    larger = computed_by(candidate, Course(recipe, 10, 80, 16), 10).rows
    assert larger["dense"].tolist() == own["dense"].tolist()
