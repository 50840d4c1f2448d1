"""What writes a run's heartbeat while its driver works: a thread, because an evaluation may be silent for hours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from nas import __version__
from nas.process import Process, uptime
from nas.run_folder.heartbeat import BEAT_SECONDS, Heartbeat, next_beat, now, write_heartbeat
from nas.run_folder.paths import RunFolder


class Heart:
    """Beats from `start` to `stop`; `says` gives what a beat tells, by the names of Heartbeat's fields.

    A beat that the disk does not take is left out: the next one is as good.
    """

    def __init__(
        self, folder: RunFolder, says: Callable[[], Mapping[str, Any]], *, engine: str = "", workers: int = 0
    ) -> None:
        self._folder, self._says = folder, says
        self._began = time.monotonic()
        self._last = Heartbeat(
            Process.here(), 0, now(), uptime(), 0.0, now(), version=__version__, engine=engine, workers=workers
        )
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heart", daemon=True)

    @property
    def process(self) -> Process:
        return self._last.process

    def start(self) -> None:
        self._beat(self._says())
        self._thread.start()

    def stop(self, **last: Any) -> None:
        """The last beat says this."""
        self._stops.set()
        self._thread.join()
        self._beat({"running": (), **last})

    def _work(self) -> None:
        while not self._stops.wait(BEAT_SECONDS):
            self._beat(self._says())

    def _beat(self, told: Mapping[str, Any]) -> None:
        self._last = next_beat(self._last, **{"seconds": time.monotonic() - self._began, **told})
        with suppress(OSError):
            write_heartbeat(self._folder, self._last)
