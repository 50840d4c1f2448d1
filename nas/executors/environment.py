"""The environment that workers are started with, on any engine."""

from __future__ import annotations

import os

# Every training step allocates the same megabytes again. glibc would give them back to the kernel in between and have
# every page cleared each time: a fifth to a third of a step. Other C libraries do not read this.
KEEP_MEMORY = {
    "GLIBC_TUNABLES": f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={2**40}:glibc.malloc.top_pad={2**26}"
}


def worker_environment(threads: int) -> dict[str, str]:
    """What must be set before torch is imported: spinning threads would starve other workers and measurements."""
    return {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads)}


def python_environment() -> dict[str, str]:
    """What must be set before Python starts, for a worker and its own children.

    No module of the user's folder replaces one of a library (an empty entry of PYTHONPATH would be that folder), and no
    library's warning is an error.
    """
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    warnings = os.environ.get("PYTHONWARNINGS", "").split(",")
    return {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONWARNINGS": ",".join("default" if option.startswith("e") else option for option in warnings),
    }
