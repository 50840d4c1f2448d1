"""Reading from a connection until a moment, whatever comes how slowly."""

from __future__ import annotations

import io
import socket
import time


class ReadsUntil(io.RawIOBase):
    """The incoming side of a socket. Raises TimeoutError once `until` (of time.monotonic) is over: a client that sends
    a byte now and then does not hold a thread for longer.
    """

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self.until = connection, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
