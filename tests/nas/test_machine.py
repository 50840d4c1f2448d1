"""What a process may use of its machine."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

import nas.machine
from nas.machine import (
    GIGABYTE,
    LEAST_ROOM,
    allow_open_files,
    cores,
    data_bytes,
    is_spent,
    memory_bytes,
    threads_per_worker,
)


def test_cores_are_those_that_may_be_used() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("limit", "counts"), [("1000000\n", True), ("max\n", False), (f"{2**63}\n", False), (None, False)]
)
def test_memory_is_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, counts: bool
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(nas.machine, "_MEMORY_LIMITS", (str(file), str(tmp_path / "none")))
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_bytes() == (1_000_000 if counts else physical)


@pytest.mark.parametrize(("workers", "input_size"), [(1, 8), (2, 8), (1, 32), (2, 32), (64, 224)])
def test_threads_per_worker(workers: int, input_size: int) -> None:
    threads = threads_per_worker(workers, input_size)
    assert threads >= 1
    assert threads == 1 if input_size < 32 else threads * workers <= max(cores(), workers)


@pytest.mark.parametrize(("workers", "input_size", "expected"), [(1, 31, 1), (1, 32, 8), (3, 32, 2), (16, 224, 1)])
def test_eight_cores_are_shared(workers: int, input_size: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.machine, "cores", lambda: 8)
    assert threads_per_worker(workers, input_size) == expected


def test_a_process_is_spent_where_no_room_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_spent(None)
    held = data_bytes()
    assert held > 10**6
    assert is_spent((held + LEAST_ROOM / 2) / GIGABYTE)
    monkeypatch.setattr(nas.machine, "data_bytes", lambda: 2 * 10**9)
    assert [is_spent(limit) for limit in (1.9, 2.0, 2.09, 2.11, 3.0)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [(1024, 4096, 2000, 2000), (1024, 4096, 9000, 4096), (1024, 4096, 500, None), (1024, -1, 9000, 9000)],
)
def test_more_files_may_be_open_but_never_fewer(
    soft: int, hard: int, wanted: int, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    allow_open_files(wanted)
    assert given == ([] if expected is None else [(expected, hard)])
