"""The side of images where nobody says one."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_network import SPACE, know_small
from torch import nn

from nas.compression.sizes import fitted_size, order
from nas.errors import InputError
from search_spaces.existing.known import Known, remember
from search_spaces.existing.reading import read_network
from search_spaces.existing.space import ExistingSpace
from search_spaces.own_code import FOLDERS, make_importable

BASE = {key: value for key, value in SPACE.items() if key != "input_size"}


def know(module: nn.Module, base: str, suited: int) -> dict[str, object]:
    space = {"base": base, "trusted": True}
    asked = ExistingSpace.model_validate({**space, "input_size": suited}).asked(1)
    remember(asked, Known(read_network(module).blueprint))
    return space


def test_what_suits_the_pictures_is_taken_where_the_network_can() -> None:
    know_small()
    assert fitted_size(BASE, 8, input_channels=1) == 8


def test_a_perceptron_takes_one_size_alone() -> None:
    space = know(nn.Sequential(nn.Flatten(), nn.Linear(21 * 21, 10)), "mine.nets:mlp", 8)
    assert fitted_size(space, 8, input_channels=1) == 21


def test_a_network_that_takes_none_is_refused() -> None:
    space = know(nn.Sequential(nn.Flatten(), nn.Linear(7, 10)), "mine.nets:odd", 8)
    with pytest.raises(InputError, match=r"^space.input_size: "):
        fitted_size(space, 8, input_channels=1)


def test_larger_usual_sizes_come_before_smaller_and_odd_ones() -> None:
    found = list(order(32))
    assert found[:7] == [32, 64, 96, 128, 160, 192, 224]
    assert found[7:10] == [28, 16, 8]
    assert sorted(found) == list(range(8, 225))


def test_code_of_ones_own_is_asked_about_other_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outputs are compared as it is read, which images that it cannot take do not allow."""
    (tmp_path / "nets_of_one_size.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))\n"
    )
    monkeypatch.setenv(FOLDERS, "")
    make_importable(tmp_path)
    space = {"base": "nets_of_one_size:net", "trusted": True}
    assert fitted_size(space, 8, input_channels=1) == 28
    with pytest.raises(InputError, match=r"^space.base: nets_of_one_size: .*would run|^space.base: .*trust"):
        fitted_size({"base": "nets_of_one_size:net"}, 8, input_channels=1)
