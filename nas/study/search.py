"""The section `search`: how candidates are proposed, how many, and what one may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from nas.registry import ENGINES
from nas.study.section import AboveZero, AtLeastOne, Section


class Search(Section):
    """How candidates are proposed, how many, and what one may take."""

    sampler: Literal["random", "tpe", "nsga2", "nsga3", "pareto", "grid"] = Field(
        "nsga2",
        description="What proposes candidates: pareto computes costs, models accuracy and latency and takes what is "
        "expected to add most to the front; nsga2 and nsga3 are genetic algorithms, tpe models all objectives, random "
        "draws independently, grid takes every candidate of a small space once.",
    )
    anchors: bool = Field(
        True,
        description="Whether the search begins with the largest and the smallest network of each kind of block, with "
        "the middle pruning ratio and format; with sampler random or grid it never does.",
    )
    calibration: Literal["auto"] | Annotated[float, Field(ge=0, le=60)] = Field(
        "auto",
        description="Seconds in which candidates are measured untrained before the search begins, so that latency can "
        "be predicted; with sampler pareto, where latency is an objective or constrained. auto: until half of the "
        "candidates are known within 5 %, a minute at most; 0: latency is learned from the trials alone.",
    )
    trials: AtLeastOne = Field(
        24, description="Candidates to complete; failed, infeasible and duplicate ones do not count."
    )
    hours: AboveZero | None = Field(
        None,
        description="Hours of one `nas run` after which no further candidate is started and the finalists are trained; "
        "by default no limit.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0,
        description="Seed of the split, of the sampler and of training: the same results in the same order give the "
        "same candidates.",
    )
    engine: Annotated[str, AfterValidator(ENGINES.known), ENGINES.schema] = Field(
        "local", description="What runs the trials. local: processes on this machine."
    )
    workers: AtLeastOne = Field(
        1,
        description="Processes that evaluate candidates at the same time. They share the machine's cores; with images "
        "below 32 pixels each uses one core.",
    )
    trial_minutes: AboveZero | None = Field(
        None,
        description="Wall time of one attempt at a trial, in minutes; a trial that takes longer is FAILED. A "
        "finalist's limit is longer in proportion to its epochs. By default no limit.",
    )
    trial_gigabytes: AboveZero | None = Field(
        None,
        description="Memory of a worker, libraries and images included, in units of 10^9 bytes; a trial that needs "
        "more is FAILED. By default no limit.",
    )
    finalists: Annotated[int, Field(ge=0)] = Field(
        8,
        description="Members of the search's front (and of the next fronts where it is smaller) that are retrained for "
        "training.epochs with another seed and then tested; with 0 the front stays as the search found it.",
    )
    epochs: AtLeastOne | None = Field(
        None, description="Epochs of a candidate's training during the search; by default training.epochs."
    )
    population: Annotated[int, Field(ge=4)] | None = Field(
        None,
        description="Candidates of a generation of nsga2 and nsga3. By default a quarter of the trials, at least 8 and "
        "at most 50; it is fixed when the run begins.",
    )
