"""The contract of blocks tells what is wrong with a kind, whichever part of it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import architecture, sites
from search_spaces.block_configs import ResidualConfig
from search_spaces.blocks import Residual
from search_spaces.kinds import KINDS, BlockKind, LayerRow
from search_spaces.testing import BlockContract, space_of_kind

GOOD = KINDS["residual"]


class Contract(BlockContract):
    kind = "residual"


Change = Callable[[BlockKind], BlockKind]


def rows_with(changed: Callable[[list[LayerRow]], list[LayerRow]]) -> Change:
    """The kind with another table of layers."""

    def rows(config: ResidualConfig, keeps_shape: bool) -> Iterator[LayerRow]:
        yield from changed(list(GOOD.rows(config, keeps_shape)))

    return lambda kind: replace(kind, rows=rows)


def module(own: type[nn.Module]) -> Change:
    return lambda kind: replace(kind, module=own)


class Forgetful(Residual):
    """Without its skip."""

    def forward(self, x: Tensor) -> Tensor:
        inner = self.activation1(self.conv1_bn(self.conv1(x)))
        out: Tensor = self.conv2_bn(self.conv2(inner))
        return out


class Biased(Residual):
    """With biases in its convolutions."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.conv2.bias = nn.Parameter(torch.ones(self.conv2.out_channels))


class Padded(Residual):
    """With a channel more on one side."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(super().forward(x), (1, 0))


class Leaking(Residual):
    """What is cut in between shows, by what is not zero where channels are."""

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = torch.sigmoid(self.conv1_bn(self.conv1(x)))
        out = self.conv2_bn(self.conv2(inner))
        passed = x if self.shortcut is None else self.shortcut_bn(self.shortcut(x))
        summed: Tensor = self.activation2(passed + out)
        return summed


BROKEN: dict[str, tuple[Change, str]] = {
    "test_the_record_holds_the_kind_and_its_choices": (
        lambda kind: replace(kind, choices=("squeeze_excite",)), "expected kind and",
    ),
    "test_rows_join_both_ends_and_split_only_where_the_kind_says_so": (
        rows_with(lambda rows: [rows[1], rows[0], *rows[2:]]), "the last layer does not write the output",
    ),
    "test_a_skip_is_where_the_row_says": (
        lambda kind: replace(kind, adds_input=False), "adds_input is False; passes its input on: True",
    ),
    "test_blocks_have_the_stated_shape": (module(Padded), "got \\(1, 16, 8, 9\\)"),
    "test_modules_are_the_layers_in_order_of_execution": (
        rows_with(lambda rows: [replace_row(rows[0], kernel=1), *rows[1:]]), "conv1",
    ),
    "test_groups_hold_every_axis_once_and_of_their_width": (
        rows_with(lambda rows: [rows[0], replace_row(rows[1], layer="conv1"), *rows[2:]]),
        "in a group more than once: .*conv1', 0",
    ),
    "test_cut_channels_leave_the_shapes_of_the_closed_form_and_what_silenced_ones_do": (module(Leaking), "not close"),
}  # fmt: skip


def replace_row(row: LayerRow, **changed: Any) -> LayerRow:
    return row._replace(**changed)


@pytest.fixture
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name: str = request.param
    monkeypatch.setitem(KINDS, "residual", BROKEN[name][0](GOOD))
    forget()
    yield name
    forget()


def forget() -> None:
    """What is kept of blocks of this kind: no kind changes while a process lives."""
    space_of_kind.cache_clear()
    architecture._block.cache_clear()
    sites._group.cache_clear()


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_what_is_wrong_is_told(broken: str) -> None:
    with pytest.raises(AssertionError, match=BROKEN[broken][1]):
        getattr(Contract(), broken)()


def test_a_module_that_forgets_its_skip() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "residual", module(Forgetful)(GOOD))
        with pytest.raises(AssertionError, match="adds_input is True; passes its input on: False"):
            Contract().test_a_skip_is_where_the_row_says()


def test_a_module_with_biases_has_its_skip() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "residual", module(Biased)(GOOD))
        Contract().test_a_skip_is_where_the_row_says()
