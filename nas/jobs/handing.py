"""Giving a text to a cluster's own command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from nas.jobs.job import SubmitFailed


def hand_to(command: Sequence[str], text: str) -> str:
    """What the command says to `text` on its standard input. Raises SubmitFailed where it is missing or refuses."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SubmitFailed(f"{command[0]}: not found on this machine; --dry-run prints what it would get") from None
    if done.returncode:
        words = done.stderr.strip() or done.stdout.strip() or "it said nothing"
        raise SubmitFailed(f"{command[0]} ended with exit code {done.returncode}: {words}")
    return done.stdout.strip()
