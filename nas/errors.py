"""Errors by whom they concern: the user's input, one candidate, or the machine and so no candidate."""

from __future__ import annotations

import errno
import os

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class InputError(Exception):
    """What a user wrote cannot be used; the message, one line per mistake, says where and why."""


class CandidateFailed(Exception):
    """A candidate cannot be evaluated, for a reason that belongs to it; the message tells it to users as it is."""


class TrainingDiverged(CandidateFailed):
    """A loss, weight, statistic, scale or logit is NaN or infinite; the message says which and where."""

    def __init__(self, what: str) -> None:
        super().__init__(f"training diverged: {what}")


class PlaceLost(Exception):
    """Where latency is measured nobody answers any more, which says nothing about the candidate; the message names the
    place and says why.
    """


def nobodys_fault(error: BaseException) -> str | None:
    """What keeps any candidate from being evaluated, the disk or a lost place; None where `error` is something else."""
    return str(error) if isinstance(error, PlaceLost) else disk_problem(error)


def disk_problem(error: BaseException) -> str | None:
    """What is wrong with the disk (full, over quota, read-only, broken), or None where `error` is about something else.

    Libraries written in other languages raise their own classes; the system's words are in their text.
    """
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}"
    found = [os.strerror(code) for code in _DISK if os.strerror(code) in str(error)]
    return found[0] if found else None
