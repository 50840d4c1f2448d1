"""What is handed to a cluster, and what a way to do so consists of: a row of `nas.registry.JOBS` is a `Backend`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from nas.jobs.options import Options
from nas.study import Study

O = TypeVar("O", bound=Options)  # noqa: E741


class SubmitFailed(Exception):
    """The cluster did not take the job; the message, of one or a few lines, says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """A study that is to run elsewhere.

    text: of its file, as the user wrote it. path: of that file, as the user gave it. overrides: KEY=VALUE, in order.
    address: of the Ray cluster that the study joins. devices: the Ray resources by which targets are measured. shared:
    whether all nodes see the run folder.
    """

    name: str
    text: str
    path: Path
    overrides: tuple[str, ...]
    engine: str
    address: str | None = None
    devices: tuple[str, ...] = ()
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Backend(Generic[O]):
    """A way to hand a job over.

    settings: overrides that go before the user's, of the study as the user gave it. refused: what cannot be, each
    sentence beginning with the key or option at fault. text: the job as the cluster's own tools take it. submit: hands
    it over and returns what to tell the user; raises SubmitFailed.
    """

    options: type[O]
    settings: Callable[[Study, O], Sequence[str]]
    refused: Callable[[Job, O], Iterator[str]]
    text: Callable[[Job, O], str]
    submit: Callable[[Job, O], str]


def on_ray(study: Study) -> list[str]:
    """The overrides of a study that runs on a Ray cluster: as many trials at once as fit there, unless it says."""
    workers = [] if "workers" in study.search.model_fields_set else ["search.workers=auto"]
    return ["search.engine=ray", *workers]
