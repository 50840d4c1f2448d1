"""How work ends before its end, told to those who watch it, whoever began it: a command or a program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nas.executors import watching
from nas.executors.stopping import Interrupted, Terminated
from nas.executors.watching import Watchers


@contextmanager
def told_to(watchers: Watchers) -> Iterator[None]:
    """Tell watchers why work ends before its end; the error goes on."""
    try:
        yield
    except BaseException as error:
        watchers.ended(why_ended(error))
        raise


def why_ended(error: BaseException) -> str:
    """What watchers are told of an end before the end."""
    match error:
        case KeyboardInterrupt() | Interrupted():
            return watching.INTERRUPTED
        case Terminated():
            return watching.TERMINATED
        case SystemExit():  # of rich, which raises it in place of BrokenPipeError
            return "what it printed to is gone"
        case _:
            return str(error) or type(error).__name__
