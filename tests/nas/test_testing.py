"""The contract of blocks on its whole way tells what is wrong. Kinds that are right are tested elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas.testing import BlockContract, traced
from search_spaces.flows import FLOWS


class Contract(BlockContract):
    kind = "residual"


class Around(nn.Module):
    """A convolution, and something behind it."""

    def __init__(self, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.behind = nn.Conv2d(3, 3, 1), behind

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        out: Tensor = torch.exp(x) if self.behind is None else self.behind(x)
        return out


def test_a_flow_that_forgets_an_operation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Contract().test_the_flow_is_what_a_trace_finds()
    monkeypatch.setitem(FLOWS, "residual", lambda flow, config, keeps_shape: FLOWS["plain"](flow, config, keeps_shape))
    with pytest.raises(AssertionError, match="BlockSite"):
        Contract().test_the_flow_is_what_a_trace_finds()


def test_an_activation_of_ones_own_is_one_of_a_flow() -> None:
    assert [operation[0] for operation in traced(Around(nn.SiLU()))] == ["layer", "silu"]


@pytest.mark.parametrize("behind", [None, nn.Softplus()])
def test_what_no_flow_has_is_named(behind: nn.Module | None) -> None:
    with pytest.raises(AssertionError, match=r"(exp|behind).*: no operation of a flow, expected one of \['add', "):
        traced(Around(behind))
