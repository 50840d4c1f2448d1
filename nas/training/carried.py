"""What goes from stage to stage of a training besides the network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from compressors.evidence import Evidence
from compressors.plan import CompressionPlan
from nas.training.augmentation import Feed
from nas.training.checkpoint import Checkpoint
from nas.training.inference import Examples
from nas.training.precision import Precision


@dataclass
class Carried:
    """The arithmetic, the plan with what its requests came down to so far, the steps done in each stage that is over,
    the network after its dense stage, where it teaches the later ones, the first moments of the last stage's optimizer,
    and the state early in the dense stage that pruning goes back to, of what is left of the network by now.
    """

    precision: Precision
    plan: CompressionPlan
    steps: list[int] = field(default_factory=list)
    teacher: nn.Module | None = None
    momenta: Mapping[str, Tensor] = field(default_factory=dict)
    early: dict[str, Tensor] | None = None

    @classmethod
    def of(cls, saved: Checkpoint, network: nn.Module, plan: CompressionPlan) -> Carried:
        """What a checkpoint holds; `network` is as the training began with it, `plan` the candidate's."""
        teacher = None
        if saved["teacher"] is not None:
            teacher = copy.deepcopy(network)
            teacher.load_state_dict(saved["teacher"])
        if saved["plan"] is not None:
            plan = CompressionPlan.model_validate(saved["plan"])
        return cls(saved["precision"], plan, saved["steps"], teacher, early=saved["early"])

    def evidence(self, feed: Feed) -> Evidence:
        """What a step may be told of the network that it is about to change."""
        return Evidence(Examples(feed), self.momenta, early=self.early, seed=feed.seed)
