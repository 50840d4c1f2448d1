"""The sections `artifacts` and `report`: what a run leaves behind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas.study.objectives import Objective
from nas.study.section import Section


class Artifacts(Section):
    """Which of the search's networks stay on disk. Records and finalists always do."""

    keep: Literal["all", "front"] = Field(
        "all",
        description="all: every trial's model and weights. front: those of the search's front, and of what may still "
        "become a finalist.",
    )


class ReportOptions(Section):
    """What the report calls itself and how it counts hypervolume."""

    title: str | None = Field(None, description="Heading of the report; by default the study's name.")
    hypervolume_reference: dict[Objective, float] = Field(
        {},
        description="A value for every objective, beyond which hypervolume does not count, in the files' units. Left "
        "out, the run fixes it once its first generation is complete and writes it into its study.yaml.",
    )
