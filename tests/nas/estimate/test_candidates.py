"""What a search is expected to train: anchors first, draws that keep to limits, how many do not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from by_hand import make_study

from nas.candidates.corners import extreme_candidates
from nas.estimate.candidates import DRAWS, expected_candidates, keeps_to_limits, largest_compressed, latency_ms
from nas.estimate.speed import Known
from nas.study import Study


def known_of(study: Study) -> list[Known]:
    """Ten times the MACs, ten times the milliseconds."""
    return [Known(name, one, one.macs(10) * 1e-6) for name, one in extreme_candidates(study).items()]


def test_without_limits_all_draws_are_kept() -> None:
    found = expected_candidates(make_study(), num_classes=10)
    assert len(found.draws) == DRAWS
    assert (found.share_kept, found.excluded, found.excluded_anchors) == (1.0, 0.0, 0)
    assert found == expected_candidates(make_study(), num_classes=10)
    assert found.draws != expected_candidates(make_study(seed=1), num_classes=10).draws


def test_anchors_are_the_ends_of_the_space_where_the_sampler_begins_there() -> None:
    largest, smallest = expected_candidates(make_study(), num_classes=10).anchors
    corners = extreme_candidates(make_study())
    assert (largest.architecture, smallest.architecture) == (
        corners["largest"].architecture,
        corners["smallest"].architecture,
    )
    assert not expected_candidates(make_study(sampler="random"), num_classes=10).anchors
    assert largest_compressed(make_study(sampler="random")) == largest


def test_limits_take_out_what_breaks_them() -> None:
    median = sorted(one.parameters(10) for one in expected_candidates(make_study(), num_classes=10).draws)[DRAWS // 2]
    study = make_study(constraints={"parameters": median})
    found = expected_candidates(study, num_classes=10)
    assert all(one.parameters(10) <= median for one in found.draws)
    assert found.share_kept == len(found.draws) / DRAWS
    assert found.excluded == pytest.approx(DRAWS / len(found.draws) - 1)
    assert (len(found.anchors), found.excluded_anchors) == (1, 1)
    modelled = make_study(constraints={"parameters": median}, sampler="pareto")
    assert expected_candidates(modelled, num_classes=10).excluded == 0  # it computes costs before it proposes


def test_where_nothing_keeps_to_the_limits_the_smallest_stands_in() -> None:
    study = make_study(constraints={"parameters": 1})
    found = expected_candidates(study, num_classes=10)
    assert found.draws == (extreme_candidates(study)["smallest"],)
    assert found.share_kept == 0
    assert 1 < found.excluded < math.inf


def test_latency_lies_between_networks_that_were_timed() -> None:
    study = make_study()
    known = known_of(study)
    corners = extreme_candidates(study)
    for name, one in corners.items():
        assert latency_ms(one, num_classes=10, known=known) == pytest.approx(one.macs(10) * 1e-6), name
    one = expected_candidates(study, num_classes=10).draws[0]
    assert corners["smallest"].macs(10) < one.macs(10) < corners["largest"].macs(10)
    assert latency_ms(one, num_classes=10, known=known) == pytest.approx(one.macs(10) * 1e-6)
    only = [replace(known[0], latency_ms=2.0)]
    assert latency_ms(corners["largest"], num_classes=10, known=only) == pytest.approx(2.0)


def test_limits_of_latency_count_once_something_was_timed() -> None:
    largest = extreme_candidates(make_study())["largest"]
    study = make_study(constraints={"latency_ms": largest.macs(10) * 0.9e-6})
    assert keeps_to_limits(study, largest, num_classes=10)
    assert not keeps_to_limits(study, largest, num_classes=10, known=known_of(study))
