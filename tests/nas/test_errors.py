"""What counts as a broken disk, and what as too little memory."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.errors import disk_problem
from nas.machine import data_bytes, ran_out_of_memory


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_broken_disk(code: int) -> None:
    assert disk_problem(OSError(code, os.strerror(code), "runs/x")) == f"{os.strerror(code)} (runs/x)"
    assert disk_problem(OSError(code, os.strerror(code))) == os.strerror(code)
    foreign = RuntimeError(f"Error while serializing: I/O error: {os.strerror(code)} (os error {code})")
    assert disk_problem(foreign) == os.strerror(code)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "No such file", "x"), ValueError("space"), MemoryError()])
def test_not_the_disk(error: Exception) -> None:
    assert disk_problem(error) is None


def test_too_little_memory() -> None:
    assert ran_out_of_memory(MemoryError())
    assert ran_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."))
    assert ran_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not ran_out_of_memory(RuntimeError("shapes do not fit"))


LIMITED = """
import sys, numpy, torch
from nas.errors import InputError
from nas.machine import GIGABYTE, data_bytes, limit_memory, ran_out_of_memory
held = data_bytes() / GIGABYTE
try:
    limit_memory(held + 0.05)
except InputError as error:
    print("refused", error)
limit_memory(held + 0.5)
keep = torch.ones(200_000_000 // 4)
for make in (lambda: torch.ones(10**9), lambda: numpy.ones(10**9), lambda: bytearray(10**9)):
    try:
        make()
    except Exception as error:
        print(ran_out_of_memory(error))
print(float(keep.sum()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell what a process holds")
def test_a_limit_gives_clean_errors_and_the_process_lives_on() -> None:
    """In a process of its own: a limit cannot be taken back."""
    ended = subprocess.run([sys.executable, "-P", "-c", LIMITED], capture_output=True, text=True, check=True)
    refused, *rest = ended.stdout.splitlines()
    assert refused.startswith("refused search.trial_gigabytes: expected at least ")
    assert rest == ["True", "True", "True", "50000000.0"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_held_is_counted_in_bytes() -> None:
    before = data_bytes()
    kept = torch.ones(100_000_000 // 4)
    assert len(kept) * 4 * 0.9 < data_bytes() - before < len(kept) * 4 * 1.5
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY
    assert Path("/proc/self/status").exists()
