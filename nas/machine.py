"""What this process may use of the machine: a container's or a batch system's share, not the whole of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of cgroups v2 and v1


def cores() -> int:
    """Cores by affinity and by a control group's quota."""
    import joblib  # half a second

    return int(joblib.cpu_count())


def memory_bytes() -> int:
    """Memory, within a control group's limit where there is one."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for place in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # no such group, or "max"
            limits.append(int(Path(place).read_text()))
    return min(limits)
