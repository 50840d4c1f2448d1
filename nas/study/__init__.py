"""The study file: what a user may write, as validated records; every key with its description.

`file` reads and writes a study, `located_yaml` finds the line of every key, `words` describes mistakes, and `schema` is
for editors.
"""

from __future__ import annotations

from nas.study.compression import Compression
from nas.study.data import Data, TorchvisionSet
from nas.study.finals import Finals
from nas.study.numbers import Choices, Range
from nas.study.objectives import Constraints, Cost, Objective
from nas.study.outputs import Artifacts, ReportOptions
from nas.study.recipe import Distillation, RandAugment, Recipe
from nas.study.search import Search
from nas.study.section import Name, NotNegative, Section, Share
from nas.study.study import Study
from nas.study.targets import Target
from nas.study.training import Training

__all__ = [
    "Artifacts",
    "Choices",
    "Compression",
    "Constraints",
    "Cost",
    "Data",
    "Distillation",
    "Finals",
    "Name",
    "NotNegative",
    "Objective",
    "RandAugment",
    "Range",
    "Recipe",
    "ReportOptions",
    "Search",
    "Section",
    "Share",
    "Study",
    "Target",
    "TorchvisionSet",
    "Training",
]
