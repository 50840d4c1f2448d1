"""The sections `artifacts` and `report`: what a run leaves behind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nas.study.objectives import ObjectiveName
from nas.study.section import Section


class Artifacts(Section):
    """Which networks of the search are kept on disk. Records and finalists are always kept."""

    keep: Literal["all", "front"] = Field(
        "all",
        description="all: model and weights of every trial. front: those of the search's front and of trials that may "
        "still become finalists.",
    )


class ReportOptions(Section):
    """Title of the report, and reference point of its hypervolume."""

    title: str | None = Field(None, description="Heading of the report; by default the study's name.")
    hypervolume_reference: dict[ObjectiveName, float] = Field(
        {},
        description="Reference point of the hypervolume: a value for every objective, in the units of trials.csv. By "
        "default the run chooses it when its first generation is complete and writes it into its study.yaml.",
    )
