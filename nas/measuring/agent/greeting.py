"""Before a study begins: whether its agents answer, and whether their devices are quiet enough to be measured on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from nas.errors import InputError, PlaceLost
from nas.measuring.agent.client import SHORT_PATIENCE_SECONDS, agent_of
from nas.runtimes.runtime import RuntimeRefused
from nas.study.addresses import is_loopback
from nas.study.targets import Target


def greet(targets: Sequence[Target], environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Ask every agent; yields what users should know, a sentence that begins with the study's key.

    Raises InputError where a token is missing, PlaceLost where an agent does not answer soon or cannot measure.
    """
    for number, target in enumerate(targets):
        if target.agent is not None:
            yield from (f"targets[{number}].agent: {words}" for words in _greet(target, environment))


def doubts_of_agents(targets: Sequence[Target], environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """The same, where an agent that cannot be used now is no more than a sentence."""
    for number, target in enumerate(targets):
        if target.agent is not None:
            try:
                words = list(_greet(target, environment))
            except (InputError, PlaceLost) as error:
                words = [str(error)]
            yield from (f"targets[{number}].agent: {word}" for word in words)


def _greet(target: Target, environment: Mapping[str, str]) -> Iterator[str]:
    assert target.agent is not None
    agent = replace(agent_of(target, environment), patience_seconds=SHORT_PATIENCE_SECONDS)
    agent.fingerprint(target)
    if goes_in_clear(target.agent):
        yield "over http the token crosses the network in clear text; https would hide it"
    try:
        if not agent.is_quiet(target):
            yield f"{target.name} is noisy: its control network takes now more, now less time"
    except RuntimeRefused as error:
        yield f"{target.name} does not run the control network: {error}"


def goes_in_clear(url: str) -> bool:
    """Whether others may read what is sent to an address: it is http, and not to this machine itself."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")
