"""Threads of this process, told to libraries before they are imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.study import Study


def threads_as_in_a_worker(study: Study) -> None:
    """As many threads as in a worker; to be called before torch is imported."""
    threads_for(study.search.worker_count, study.space.input_sizes[-1])


def threads_for(workers: int, input_size: int) -> None:
    from nas.executors.environment import worker_environment
    from nas.machine import threads_per_worker

    os.environ.update(worker_environment(threads_per_worker(workers, input_size)))
