"""What an actor has to say, kept until it is known to have arrived: threads put messages in, a long poll reads them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]  # one key that says what it is, and its value


@dataclass
class Mailbox:
    """Numbered messages, in their order, from 1. Any number of threads may put; one reads.

    A message is dropped when the reader asks for those after it: an answer that is lost on its way is given again.
    """

    _messages: deque[Message] = field(default_factory=deque)
    _dropped: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, **message: Any) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def after(self, number: int, seconds: float) -> list[Message]:
        """All messages after that of a `number`, as soon as there is one; none when `seconds` are over."""
        with self._changed:
            while self._messages and self._dropped < number:
                self._messages.popleft()
                self._dropped += 1
            self._changed.wait_for(lambda: bool(self._messages), seconds)
            return list(self._messages)
