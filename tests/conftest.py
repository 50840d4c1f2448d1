"""For every test: one thread, because small tensors on a busy machine only wait for each other; no deadlines.

Several processes (pytest -n) share the files out among them: what a module prepares is prepared once, and the files of
a group (pytest.mark.xdist_group) are left to one process.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFileOrGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(config.rootpath / nodeid.partition("::")[0])

    return ByFileOrGroup(config, log)


@cache
def group_of(file: Path) -> str:
    """The group that a file of tests names, or the file itself."""
    named = re.search(r'xdist_group\("(\w+)"\)|\bon_(postgres)\b', file.read_text(encoding="utf-8"))
    return named[1] or named[2] if named else str(file)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """A Ray of this test run alone, which this process is connected to: 8 logical cores on one node; its address.

    What uses it is of the group `ray` (pytest.mark.xdist_group), so that it is started once.
    """
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    import ray

    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        with chdir(folder):  # Ray puts the current folder at the front of its workers' path
            ray.init(
                address="local",
                num_cpus=8,
                object_store_memory=200 * 10**6,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=40,
                _temp_dir=folder,
            )
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()
