"""The client's side of an agent for commands: `nas measure --agent`, and what `nas check` says of a study's agents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nas.errors import InputError
from nas.measuring.agent.client import Agent, agent_at, agent_of
from nas.measuring.places import PlaceLost
from nas.records import Latency
from nas.runtimes.runtime import RuntimeRefused
from nas.study import Target
from nas.study.addresses import agent_url

A_MOMENT = 2.0  # seconds: somebody looks at the screen


def measure_there(file: Path, target: Target, url: str) -> Latency:
    """Latency of a file by the agent at `url`. Raises InputError where it cannot be had."""
    try:
        place: Agent = agent_at(agent_url(url), target.name, os.environ, patience_seconds=A_MOMENT)
    except ValueError as error:
        raise InputError(f"--agent: {error}") from None
    try:
        return place.measure(file, target)
    except RuntimeRefused as error:
        raise InputError(f"{file}: the agent's runtime cannot run it: {error}") from None
    except PlaceLost as error:
        raise InputError(f"--agent: {error}") from None


def silent_agents(study_targets: tuple[Target, ...]) -> Iterator[str]:
    """A line for every target whose agent cannot be used now; begins with the study's key."""
    for number, target in enumerate(study_targets):
        if target.agent is None:
            continue
        try:
            agent_of(target, os.environ, patience_seconds=A_MOMENT).fingerprint(target)
        except (InputError, PlaceLost) as error:
            yield f"targets[{number}].agent: {error}"
