"""Places where latency is measured: this machine, and others that take a file and answer with its latency."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nas.errors import PlaceLost as PlaceLost
from nas.measuring.agent.client import Agent, agent_of
from nas.measuring.latency import measure
from nas.records import Fingerprint, Latency
from nas.runtimes.runtime import fingerprint
from nas.study import Target


class Place(Protocol):
    """Measures files on targets, one at a time, by the protocol of `nas.measuring.latency`."""

    def measure(self, file: Path, target: Target) -> Latency:
        """Latency of one file. Raises RuntimeRefused, and PlaceLost where the place is gone for longer than it may."""
        ...

    def fingerprint(self, target: Target) -> Fingerprint:
        """What latencies measured there depend on besides the file. Raises PlaceLost."""
        ...


Places = Mapping[str, Place]  # by the name of the target


class ThisMachine:
    """Measures here; training in other processes of this machine pauses meanwhile."""

    def measure(self, file: Path, target: Target) -> Latency:
        return measure(file, target)

    def fingerprint(self, target: Target) -> Fingerprint:
        return fingerprint(target)


HERE = ThisMachine()
_agents: dict[Agent, Agent] = {}


def places_of(targets: Sequence[Target]) -> Places:
    """Where a process that no engine tells otherwise measures each target: here, or by the agent that it names.

    Raises InputError where the environment lacks an agent's token.
    """
    return {t.name: HERE if t.agent is None else _remembered(agent_of(t, os.environ)) for t in targets}


def _remembered(agent: Agent) -> Agent:
    """The agent that this process knows already, which knows its device."""
    return _agents.setdefault(agent, agent)
