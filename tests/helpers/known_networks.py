"""Studies and architectures of existing networks whose blueprints are given: nothing is read, no code is run."""

from __future__ import annotations

import json
from typing import Any, Literal

from nas.study import Study
from search_spaces.existing.architecture import ExistingArchitecture, PixelNorm
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.edits import with_grey_input
from search_spaces.existing.known import Known, remember, remember_blueprint

BASE = "known.networks:network"


def architecture_of(
    blueprint: Blueprint, *, input_size: int = 8, input_channels: Literal[1, 3] = 3, pixels: PixelNorm | None = None
) -> ExistingArchitecture:
    """The architecture of a network that is known from then on."""
    remember_blueprint(blueprint)
    return ExistingArchitecture(
        base=BASE, network=blueprint.digest, input_size=input_size, input_channels=input_channels, pixels=pixels
    )


def study_about(blueprint: Blueprint, **fields: Any) -> Study:
    """A study of digits about a network of colour images, which takes grey ones."""
    settings = {
        "name": "t",
        "data": {"source": "digits"},
        "space": {"base": BASE, "input_size": 8, "width_grid": 1},
        "search": {"sampler": "nsga2", "trials": 4},
        **fields,
    }
    study = Study.model_validate_json(json.dumps(settings))
    remember(study.space.asked(study.data.input_channels), Known(with_grey_input(blueprint)))  # type: ignore[union-attr]
    return study
