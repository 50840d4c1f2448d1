"""A limit on a worker's memory, and how the errors look that it causes."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

from nas.errors import InputError

GIGABYTE = 10**9
# Left for a candidate above what libraries and images take: less than this trains nothing.
LEAST_ROOM = 10**8
_WORDS = (
    "DefaultCPUAllocator",
    "can't allocate memory",
    "Cannot allocate memory",
    "Failed to allocate memory",
    "bad_alloc",
    "bad allocation",
    "CUDA out of memory",
    "could not create a memory",
)


def limit_memory(gigabytes: float) -> None:
    """Let this process hold no more than `gigabytes` of private writable memory; called after imports.

    RLIMIT_DATA gives clean errors where RLIMIT_AS would break libraries that only reserve addresses. Raises InputError
    where the process already holds nearly as much.
    """
    held = data_bytes()
    if gigabytes * GIGABYTE < held + LEAST_ROOM:
        raise InputError(
            f"search.trial_gigabytes: expected at least {math.ceil((held + LEAST_ROOM) / GIGABYTE * 10) / 10}, "
            f"got {gigabytes:g}; "
            f"a worker holds {held / GIGABYTE:.1f} GB before it trains anything"
        )
    limit = int(gigabytes * GIGABYTE)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def data_bytes() -> int:
    """Private writable memory of this process, as RLIMIT_DATA counts it; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmData"].split()[0]) * 1024


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory could not be had: Python's, torch's and ONNX Runtime's ways of saying it."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)
