"""What compression begins with: weights of the whole network, and what they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_network import DATA, SPACE, Small, know_small

from nas.compression.beginning import BEGUN_WITH, beginning_with
from nas.compression.settings import study_of
from nas.compression.wishes import Wishes
from search_spaces.existing.architecture import PixelNorm
from search_spaces.existing.known import Known, Normalization, remember
from search_spaces.existing.reading import read_network
from search_spaces.existing.space import ExistingSpace
from search_spaces.existing.weights import digest_of


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    know_small()
    yield
    know_small()


def test_pixels_stay_what_they_were_for_the_weights_before(tmp_path: Path) -> None:
    """torchvision's weights want a normalisation of their own; trained on and in a file, the network still has it."""
    asked = ExistingSpace.model_validate({**SPACE, "weights": "DEFAULT"}).asked(1)
    normalization = Normalization((0.25,), (0.1,))
    remember(asked, Known(read_network(Small()).blueprint, "before", normalization), {})
    wishes = Wishes(space={**SPACE, "weights": "DEFAULT"}, data=DATA)
    state = {name: value for name, value in Small().state_dict().items() if value.dtype == torch.float32}
    save_file(state, file := tmp_path / "whole.safetensors")

    begun = beginning_with(file, study_of(wishes, tmp_path / "study.yaml"))
    assert (begun.weights, begun.pixels) == (str(file), PixelNorm(mean=(0.25,), std=(0.1,)))

    own = begun.model_dump(mode="json", include=set(BEGUN_WITH))
    again = study_of(Wishes(space={**SPACE, **own}, data=DATA), tmp_path / "study.yaml").space
    assert isinstance(again, ExistingSpace)
    assert again == begun
    assert again.known(1) == Known(read_network(Small()).blueprint, digest_of(state), normalization)


def test_pixels_of_the_data_stay_auto(tmp_path: Path) -> None:
    save_file(Small().state_dict(), file := tmp_path / "whole.safetensors")
    begun = beginning_with(file, study_of(Wishes(space=SPACE, data=DATA), tmp_path / "study.yaml"))
    assert (begun.pixels, begun.stem) == ("auto", "keep")
