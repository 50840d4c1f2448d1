"""What is read of the processor, from what Linux says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import nas.runtimes.cpu
from nas.runtimes.cpu import board, fingerprint_of, sums_may_overflow
from nas.study import Target


@pytest.mark.parametrize(
    ("cpuinfo", "device", "sets"),
    [
        ("model name\t: Fast\nflags\t\t: fpu avx2 avx512f\n\nmodel name\t: Fast\n", "Fast", ("avx2", "avx512f")),
        ("Features\t: fp asimd i8mm\nCPU part\t: 0xd0b\n", "Raspberry Pi 5", ("asimd", "i8mm")),
    ],
)
def test_fingerprints_of_other_processors(
    cpuinfo: str, device: str, sets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boards of ARM must not look the same: their processors have no names, but they do."""
    monkeypatch.setattr(Path, "read_text", lambda self, **_: cpuinfo)
    monkeypatch.setattr(nas.runtimes.cpu, "board", lambda: "Raspberry Pi 5")
    found = fingerprint_of(Target(name="cpu"), "some engine 1.0")
    assert found.instruction_sets == sets
    assert found.device == device


def test_a_board_is_what_it_calls_itself(tmp_path: Path) -> None:
    assert board(tmp_path / "missing") == ""
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert board(tmp_path / "model") == "Raspberry Pi 5 Model B Rev 1.0"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("sse4_1 avx2", True),
        ("sse4_1 avx512f", True),
        ("sse4_1 avx2 avx_vnni", False),
        ("avx512_vnni", False),
        ("", False),
    ],
)
def test_processors_that_need_exact_sums(flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"flags\t: {flags}\n")
    assert sums_may_overflow.__wrapped__() is expected
