"""`nas measure --agent`: a file's latency on a device."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from nas.errors import InputError, PlaceLost
from nas.measuring.agent.client import SHORT_PATIENCE_SECONDS, agent_of
from nas.records import Latency
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Target
from nas.study.addresses import agent_url


def measure_there(file: Path, target: Target, url: str) -> Latency:
    """Latency of a file by the agent at `url`. Raises InputError where it cannot be had."""
    try:
        target = target.model_copy(update={"agent": agent_url(url)})
    except ValueError as error:
        raise InputError(f"--agent: {error}") from None
    agent = replace(agent_of(target, os.environ), patience_seconds=SHORT_PATIENCE_SECONDS)
    try:
        return agent.measure(file, target)
    except RuntimeRefused as error:
        raise InputError(f"{file}: the agent's runtime cannot run it: {error}") from None
    except PlaceLost as error:
        raise InputError(f"--agent: {error}") from None
