"""How far a training is, told about once a second: no step waits for the device but those that are told of."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from torch import Tensor

from nas.tasks import Progress, Tell

SECONDS_BETWEEN = 1.0


@dataclass
class Meter:
    """Tells of a stage: `before` steps of the whole training were done when it began.

    The rate is that since the last word, whatever the steps waited for.
    """

    tell: Tell
    stage: str
    budget: int
    before: int
    steps_per_epoch: int
    batch_size: int
    _since: float = field(default_factory=lambda: time.monotonic())
    _at: int | None = None

    def __call__(self, done: int, loss: Tensor) -> None:
        """After a step: `done` of the stage are."""
        if self._at is None:
            self._at = done - 1
        seconds = time.monotonic() - self._since
        if seconds < SECONDS_BETWEEN:
            return
        rate = (done - self._at) * self.batch_size / seconds
        epochs = (self.before + done) / self.steps_per_epoch
        self.tell(Progress("train", self.stage, epochs, self.budget, float(loss), rate))
        self._since, self._at = time.monotonic(), done
