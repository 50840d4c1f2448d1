"""The candidate that wishes come to, for all layers and for single ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_network import DATA, SPACE, know_small

from compressors.low_rank.factoring import Factoring
from nas.candidates.candidate import Candidate
from nas.compression.plans import candidate_of, kept_of
from nas.compression.settings import study_of
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError
from search_spaces.layers import ChannelGroup


@pytest.fixture(autouse=True)
def _known() -> None:
    know_small()


def candidate(**fields: object) -> Candidate:
    wishes = Wishes(space=SPACE, data=DATA, **fields)  # type: ignore[arg-type]
    return candidate_of(study_of(wishes, Path("study.yaml")), wishes)


def widths(found: Candidate) -> dict[str, int]:
    return {layer.name: layer.out_channels for layer in found.layers(10)}


def test_one_ratio_is_that_of_every_group() -> None:
    """conv2 and conv3 are added, so they are cut as one; the classes stay."""
    found = candidate(ratio=Asked((0.5,)))
    assert widths(found) == {"conv1": 8, "conv2": 16, "conv3": 16, "fc": 10}
    assert not found.plan.formats


def test_a_layer_may_have_its_own() -> None:
    found = candidate(
        ratio=Asked((0.5,), {"conv3": 0.25}),
        format=Asked(("int8",), {"fc": "fp32", "conv2": "int4"}),
        rank=Asked((), {"conv3": Factoring(method="svd", rank=4)}),
    )
    assert widths(found) == {"conv1": 8, "conv2": 24, "conv3.0": 4, "conv3.1": 24, "fc": 10}
    assert dict(found.plan.formats) == {"conv1": "int8", "conv2": "int4", "conv3": "int8"}


def test_a_layer_may_stay_whole() -> None:
    half = Factoring(method="svd", ratio=0.5)
    assert "conv2.0" in widths(candidate(rank=Asked((half,))))
    assert "conv2.0" not in widths(candidate(rank=Asked((half,), {"conv2": None})))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ratio": Asked((), {"conv9": 0.5})}, "--ratio: conv9: the network has no such layer; did you mean conv"),
        ({"format": Asked((), {"head": "int8"})}, "--format: head: the network has no such layer"),
        (
            {"ratio": Asked((), {"fc": 0.5})},
            "--ratio: fc: its output channels cannot be cut: .*classes.*; layers that can are conv",
        ),
        ({"ratio": Asked((), {"conv2": 0.5, "conv3": 0.25})}, "--ratio: conv3 and conv2 are cut together: .*0.5 and"),
    ],
)
def test_what_cannot_be_done_of_a_layer_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}") as error:
        candidate(**fields)
    assert "\n" not in str(error.value)


def test_a_grid_counts_channels_of_the_layer_that_writes_them() -> None:
    """A group of 8, four channels of the layer each, on a grid of 8: multiples of 2."""
    group = ChannelGroup("g", "b", 8, (("conv", 0), ("next", 1)), unit=4)
    assert kept_of({"conv": 0.6}, [group], grid=8) == {"g": 4}
    with pytest.raises(InputError, match="next: its output channels cannot be cut"):
        kept_of({"next": 0.5}, [group], grid=8)
