"""What a study says of an existing network: the sizes of its images, and what its costs are kept under."""

from __future__ import annotations

from typing import Any

import pytest
from drafts import DRAFTS
from pydantic import ValidationError

from search_spaces.existing.known import Known, remember
from search_spaces.existing.space import ExistingSpace
from search_spaces.trials import Pick, first, last


def space(**keys: Any) -> ExistingSpace:
    found = ExistingSpace.model_validate({"base": "drafted:residual", "input_size": 8, **keys})
    remember(found.asked(3), Known(DRAFTS["residual"](), ""))
    return found


def test_one_of_several_sizes_is_drawn() -> None:
    sizes = space(input_size=(8, 16, 32))
    assert [sizes.sample(Pick(pick), input_channels=3).input_size for pick in (first, last)] == [8, 32]


@pytest.mark.parametrize("sizes", [(32, 16), (8, 8)])
def test_sizes_ascend_since_data_are_read_in_the_last(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match=r"input_size: expected ascending order, every choice once, got \["):
        space(input_size=sizes)


def test_trust_changes_no_network() -> None:
    assert space(trusted=True).identity(3) == space().identity(3)
    assert space(width_grid=1).identity(3) != space().identity(3)
    assert space().identity(3)["network"] == DRAFTS["residual"]().digest


@pytest.mark.parametrize("mean", [(float("nan"),), (float("inf"),), (), (0.5,) * 4])
def test_pixels_are_normalised_by_numbers(mean: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match=r"pixels"):
        space(pixels={"mean": mean, "std": (1.0,)})
