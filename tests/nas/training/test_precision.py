"""bf16 is used only where it may help and a probe says so; probing leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nas.training.precision
from nas.training.precision import autocast, has_depthwise, may_use_bf16, probe

CPU = torch.device("cpu")
IMAGES = torch.rand(4, 2, 6, 6)


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))


def depthwise() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(16, 3))


def cpu_with_bf16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


def test_depthwise_layers_are_seen() -> None:
    assert has_depthwise(depthwise())
    assert not has_depthwise(plain())
    assert not has_depthwise(nn.Conv2d(1, 4, 3))  # one channel in one group is an ordinary convolution


@pytest.mark.parametrize(
    ("make", "has", "expected"), [(plain, True, True), (depthwise, True, False), (plain, False, False)]
)
def test_where_bf16_may_help(monkeypatch: pytest.MonkeyPatch, make: type, has: bool, expected: bool) -> None:
    cpu_with_bf16(monkeypatch, has)
    assert may_use_bf16(make(), CPU) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, "fp32"), (0.95, "fp32"), (0.90, "bf16"), (2.0, "fp32")])
def test_only_a_clear_gain_counts(monkeypatch: pytest.MonkeyPatch, seconds: float, expected: str) -> None:
    cpu_with_bf16(monkeypatch, True)
    monkeypatch.setattr(
        nas.training.precision, "fastest_step", lambda _n, _i, precision: {"fp32": 1.0, "bf16": seconds}[precision]
    )
    assert probe(plain(), IMAGES) == expected


def test_a_probe_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_with_bf16(monkeypatch, True)
    network = plain().eval()
    before, state = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    assert probe(network, IMAGES) in ("fp32", "bf16")
    assert not network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_autocast() -> None:
    layer = nn.Linear(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(precision, CPU):  # type: ignore[arg-type]
            assert layer(torch.ones(1, 2)).dtype is dtype
