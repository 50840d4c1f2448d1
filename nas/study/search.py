"""The section `search`: how candidates are proposed, how many, and what one may take."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nas.machine import cores
from nas.registry import ENGINES
from nas.study.cluster import RayOptions
from nas.study.section import AboveZero, AtLeastOne, Section, each_once, one_or_several, or_one
from nas.study.storage_url import storage_url

MODELLING = ("pareto",)  # samplers with a model of accuracy: it can be told what to believe, and says what it expects

ImageCount = AtLeastOne | Literal["all"]
RungShare = Annotated[float, Field(gt=0, lt=1)]
AUTO_RUNGS = (0.25, 0.5)  # those at which Kendall's tau to the end is above .5 (studies/results/digits-rungs.json)
COPY_SHARE = 0.1  # of a trial's training, at most, goes into the copy that is scored at a rung


OWN_SCAN = "sensitivity"  # in warm_start: the scans of the run itself


def is_scan(name: str) -> bool:
    """Whether an entry of `warm_start` names a sensitivity scan, and no run folder."""
    return name == OWN_SCAN or name.endswith(".json")


def rung_epochs(share: float, budget: int) -> int:
    """The whole epochs, at least one, behind which a rung at this share of a training lies."""
    return max(1, math.floor(share * budget + 0.5))


class Search(Section):
    """How candidates are proposed, how many, and what one may take."""

    sampler: Literal["random", "tpe", "nsga2", "nsga3", "pareto", "grid"] = Field(
        "pareto",
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
        "local",
        description="What runs the trials. local: processes on this machine; ray: actors of a Ray cluster, see ray.",
    )
    workers: AtLeastOne | Literal["auto"] = Field(
        1,
        description="Processes that evaluate candidates at the same time. They share the machine's cores; with images "
        "below 32 pixels each uses one core. auto: as many as there are cores, or as a cluster's resources allow.",
    )
    ray: RayOptions = RayOptions()
    storage: Annotated[str, BeforeValidator(storage_url)] | None = Field(
        None,
        description="A PostgreSQL database, postgresql://USER@HOST:PORT/DATABASE, into which the journal study.log is "
        "copied for shared reading, by optuna-dashboard say; the file stays the record, and a database that is away "
        "stops nothing. The password is read from PGPASSWORD, ~/.pgpass or a service file (postgresql://?service=NAME) "
        "and must not stand here. By default none.",
    )
    trial_minutes: AboveZero | None = Field(
        None,
        description="Wall time of one attempt at a trial, in minutes; a trial that takes longer is FAILED. A "
        "finalist's limit is longer in proportion to its epochs, images and their pixels. By default no limit.",
    )
    trial_gigabytes: AboveZero | None = Field(
        None,
        description="Memory of a worker, libraries and images included, in units of 10^9 bytes; a trial that needs "
        "more is FAILED. By default no limit.",
    )
    finalists: Annotated[int, Field(ge=0)] = Field(
        8,
        description="Members of the search's front (and of the next fronts where it is smaller) that are retrained, as "
        "the section finals says and with another seed, and then tested; with 0 the front stays as the search found "
        "it.",
    )
    stop_when_gain_below: AboveZero | None = Field(
        None,
        description="The search ends when its sampler expects another hour to enlarge the hypervolume by less than "
        "this share of it, 0.01 for one per cent; with sampler pareto only. By default never.",
    )
    warm_start: Annotated[tuple[str, ...], BeforeValidator(one_or_several)] = Field(
        (),
        json_schema_extra=or_one,
        description="Run folders of earlier searches, also with another target, other data or other epochs. Their "
        "accuracies become what is believed of candidates before any is trained, never results; with sampler pareto "
        "only. They are copied into the run folder when the run begins. And scans of `nas sensitivity`: the word "
        "sensitivity for those of the run that goes on, or a file sensitivity.json of another; what they suggest is "
        "proposed before the sampler goes on, with every sampler but grid.",
    )
    repeat_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1,
        description="Trainings after the search and before the finalists are chosen, as a share of its complete "
        "trials, rounded down: candidates of which it is least sure whether they are on the front are trained again "
        "with further seeds, and finalists are chosen by means over seeds. 0 for none.",
    )
    epochs: AtLeastOne | None = Field(
        None, description="Epochs of a candidate's training during the search; by default training.epochs."
    )
    train_images: ImageCount | None = Field(
        None,
        description="Number of training images during the search, each class in proportion, or all; by default "
        "data.train_images.",
    )
    input_size: AtLeastOne | None = Field(
        None,
        description="Side in pixels of the images that trials are trained on before their quantization-aware stage, "
        "where it is smaller than the candidate's own; by default each candidate's own. The file, its accuracy and its "
        "costs have the candidate's own size in any case. Half the side took a third off a training on CIFAR-10 and "
        "cost two to five points, not alike for all networks: try fewer train_images first.",
    )
    population: Annotated[int, Field(ge=4)] | None = Field(
        None,
        description="Candidates of a generation of nsga2 and nsga3. By default a quarter of the trials, at least 8 and "
        "at most 50; it is fixed when the run begins.",
    )
    rungs: Literal["auto"] | tuple[RungShare, ...] = Field(
        (),
        description="Shares of a trial's epochs at which it is compared with the others: a copy is compressed and "
        "scored, and only the best share goes on, by front and hypervolume. The others are paused, and PRUNED when the "
        "search ends. auto: 0.25 and 0.5, as far as the epochs allow. By default every trial is trained to its end.",
    )
    brackets: AtLeastOne = Field(
        1,
        description="Groups that the trials are dealt to, as in Hyperband: the second begins at the second rung, and "
        "so on, the last beyond all; each gets as many epochs.",
    )
    epoch_budget: AboveZero | None = Field(
        None,
        description="Epochs of training that the search may spend in all trials, those of copies at rungs included; it "
        "ends when the next piece of a training no longer fits. By default no limit.",
    )

    @property
    def worker_count(self) -> int:
        """`workers` as a number; auto stands for the cores of this machine."""
        return cores() if self.workers == "auto" else self.workers

    @model_validator(mode="after")
    def _rungs_rise(self) -> Search:
        if self.rungs != "auto" and any(low >= high for low, high in pairwise(self.rungs)):
            raise ValueError(f"rungs: expected rising shares, got {list(self.rungs)}")
        return self

    @model_validator(mode="after")
    def _told_by_the_model_alone(self) -> Search:
        """What only a sampler with a model of the objectives can use."""
        each_once("folder of warm_start", self.warm_start)
        folders = [name for name in self.warm_start if not is_scan(name)]
        if len(folders) < len(self.warm_start) and self.sampler == "grid":
            raise ValueError(
                "warm_start: expected another sampler beside a scan, got grid, which takes every candidate"
            )
        asked = {"warm_start": folders, "stop_when_gain_below": self.stop_when_gain_below}
        for key, value in asked.items():
            if value and self.sampler not in MODELLING:
                raise ValueError(f"{key}: expected sampler {' or '.join(MODELLING)} beside it, got {self.sampler}")
        return self
