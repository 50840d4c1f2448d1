"""For every test: one thread, because small tensors on a busy machine only wait for each other; no deadlines."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray of this test run's own: one node that says it has 8 cores."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    place = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: paths of sockets have a limit
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=2 * 10**8, _temp_dir=place)
    yield
    ray.shutdown()
    shutil.rmtree(place, ignore_errors=True)
