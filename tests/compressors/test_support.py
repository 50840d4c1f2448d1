"""Checks of a layer: a plain one passes, and each message names layer, attribute, value and what is supported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from compressors.support import Unsupported, check_floats, check_no_hooks, check_own_type, check_sizes

FLOATS = (torch.float32, torch.float64)


def mixed() -> nn.Module:
    conv = nn.Conv2d(1, 2, 1)
    assert conv.bias is not None
    conv.bias.data = conv.bias.data.double()
    return conv


def wrongly_sized(name: str, size: int) -> nn.Module:
    norm = nn.BatchNorm2d(3)
    setattr(norm, name, size)
    return norm


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, (3, 5), groups=4),
        nn.Linear(3, 2, bias=False),
        nn.BatchNorm2d(3),
        nn.BatchNorm2d(3, affine=False),
    ],
)
def test_plain_layers_pass(layer: nn.Conv2d | nn.Linear | nn.BatchNorm2d) -> None:
    check_own_type("a", layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d), "change")
    check_no_hooks("a", layer)
    check_floats("a", layer, FLOATS)
    check_floats("a", layer.double(), FLOATS)
    check_sizes("a", layer)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_floats("a.b", mixed(), FLOATS),
            r"^a\.b \(Conv2d\): dtypes \['torch.float32', 'torch",
        ),
        (
            lambda: check_floats("a", nn.Linear(1, 1).half(), FLOATS),
            "dtype of weight float16, supported: float32",
        ),
        (
            lambda: check_sizes("a", wrongly_sized("num_features", 2)),
            r"weight of shape \(3,\), supported: \(2,\)",
        ),
        (lambda: check_own_type("a", nn.ReLU(), (nn.Linear,), "melt"), r"^cannot melt ReLU \(a\), supported: Linear$"),
    ],
)
def test_messages(check: Callable[[], None], message: str) -> None:
    with pytest.raises(Unsupported, match=message) as raised:
        check()
    assert isinstance(raised.value, TypeError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
def test_every_kind_of_hook_is_seen(kind: str) -> None:
    layer = nn.Linear(1, 1)
    handle = getattr(layer, f"register_{kind}")(lambda *_: None)
    with pytest.raises(Unsupported, match=r"a \(Linear\): .*hooks function, supported: none"):
        check_no_hooks("a", layer)
    handle.remove()
    check_no_hooks("a", layer)
