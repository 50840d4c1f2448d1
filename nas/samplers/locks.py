"""A lock for samplers, which threads share and which Optuna's users pickle with a study, or copy."""

from __future__ import annotations

from threading import RLock
from typing import Any


class Lock:
    """A reentrant lock. Its pickle, or copy, is a new one that nobody holds."""

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[Any, ...]]:
        return Lock, ()
