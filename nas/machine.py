"""What this process may use of the machine (a container's or a batch system's share), and limits it sets itself."""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from nas.errors import InputError

GIGABYTE = 10**9
_PR_SET_PDEATHSIG = 1
# Left for a candidate above what libraries and images take: less than this trains nothing.
LEAST_ROOM = 10**8
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of cgroups v2 and v1
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "can't allocate memory",
    "Cannot allocate memory",
    "Failed to allocate memory",
    "bad_alloc",
    "bad allocation",
    "CUDA out of memory",
    "could not create a memory",
)


def cores() -> int:
    """Cores by affinity and by a control group's quota."""
    import joblib  # half a second

    return int(joblib.cpu_count())


def threads_per_worker(workers: int, input_size: int) -> int:
    """Cores shared evenly; tiny images train fastest on one thread, since barriers cost more than they save."""
    return 1 if input_size < 32 else max(1, cores() // workers)


def memory_bytes() -> int:
    """Memory, within a control group's limit where there is one."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for place in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # no such group, or "max"
            limits.append(int(Path(place).read_text(encoding="utf-8")))
    return min(limits)


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


def is_spent(gigabytes: float | None) -> bool:
    """Whether this process, which may hold no more than `gigabytes`, has no room left to go on in.

    A heap does not shrink: where a candidate has filled it, what later ones need beside it (code made at run time, new
    threads' stacks) cannot be had, and each of them would fail.
    """
    return gigabytes is not None and data_bytes() > gigabytes * GIGABYTE - LEAST_ROOM


def allow_open_files(count: int) -> None:
    """Let this process hold so many files open, or as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def data_bytes() -> int:
    """Private writable memory of this process, as RLIMIT_DATA counts it; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(fields["VmData"].split()[0]) * 1024


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory could not be had: Python's, torch's and ONNX Runtime's ways of saying it."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends (elsewhere than on Linux, the end of stdin does).

    Where `parent` has ended already, this process ends at once. The kernel looks at the thread that started it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(f"process {parent}, which this one was to end with, is gone")
