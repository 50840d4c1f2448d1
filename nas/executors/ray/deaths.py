"""Why an actor is gone, in one line for users, and whether its task may be blamed for it.

Ray tells a death in a paragraph. A node that is gone, or was taken away, says nothing of the candidate: the trial goes
on elsewhere, as often as need be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GONE = (
    *("node has died", "node died", "node was terminated", "node failure", "preempt", "drained"),
    *("owner has died", "job finished"),
)
NO_MEMORY = ("running low on memory", "memory pressure")  # of Ray's memory monitor, beside the kernel's own
SUDDEN = ("connection error code", "unexpectedly exit", "sigkill", "has died")
_ID = re.compile(r"[0-9a-f]{24,}")


@dataclass(frozen=True)
class Death:
    """`reason` in words; `blamed`: the task may have been the cause."""

    reason: str
    blamed: bool


def death_of(text: str, *, node: str, node_is_gone: bool = False) -> Death:
    """What Ray's words on a dead actor come to; `node` is what users call the one it was on, "" for none yet."""
    where, low = f" on {node}" if node else "", text.lower()
    if node_is_gone or any(word in low for word in GONE):
        return Death(f"the node {node} of its worker is gone" if node else "the node of its worker is gone", False)
    if any(word in low for word in NO_MEMORY):
        return Death(f"worker{where} killed by Ray, because its node was running out of memory", True)
    if any(word in low for word in SUDDEN):
        return Death(f"worker{where} ended without a word: it was killed, or a library crashed", True)
    return Death(f"worker{where} died: {last_line(text)}", True)


def last_line(text: str) -> str:
    """The last line of a traceback or of an explanation, without Ray's long ids."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return _ID.sub("...", lines[-1] if lines else "no reason was told")[:300]
