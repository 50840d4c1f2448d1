"""The section `search`: how candidates are proposed, how many, and what one may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nas.study.section import AboveZero, AtLeastOne, Section


class Search(Section):
    """How candidates are proposed, how many, and what one may take."""

    sampler: Literal["random", "tpe", "nsga2", "nsga3"] = Field(
        "nsga2", description="What proposes candidates: nsga2 and nsga3 breed, tpe models, random draws."
    )
    anchors: bool = Field(
        True,
        description="Whether the search begins with the largest and the smallest network of each kind of block, ratios "
        "and formats the middle ones, before it draws; with sampler random it never does.",
    )
    trials: AtLeastOne = Field(
        24, description="Candidates to complete; failed, infeasible and repeated ones do not count."
    )
    hours: AboveZero | None = Field(
        None,
        description="Hours of one `nas run` after which no candidate is begun and the finalists' turn comes; by "
        "default no limit.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0,
        description="Fixes the split, what samplers draw, and training: the same values told in the same order "
        "bring the same candidates.",
    )
    workers: AtLeastOne = Field(
        1,
        description="Processes that evaluate candidates at once; the cores are shared among them, but images below 32 "
        "pixels are trained on one core each.",
    )
    trial_minutes: AboveZero | None = Field(
        None,
        description="Wall time of one attempt at a trial, in minutes, beyond which it FAILED; a finalist may take "
        "longer in proportion to its epochs. By default no limit.",
    )
    trial_gigabytes: AboveZero | None = Field(
        None,
        description="Memory of a worker, libraries and images included, in units of 10^9 bytes, beyond which the trial "
        "FAILED; by default no limit.",
    )
    finalists: Annotated[int, Field(ge=0)] = Field(
        8,
        description="Members of the search's front (of the next ones where it is smaller) that are trained anew for "
        "training.epochs with another seed and then tested; 0 leaves the front as searched.",
    )
    epochs: AtLeastOne | None = Field(
        None, description="Epochs of a candidate's training during the search; by default training.epochs."
    )
    population: Annotated[int, Field(ge=4)] | None = Field(
        None,
        description="Candidates of a generation of nsga2 and nsga3; by default a quarter of the trials, within 8 to "
        "50, fixed when the run begins.",
    )
