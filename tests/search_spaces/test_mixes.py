"""Mixes: what a preset is without a family, from small to large."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pydantic import TypeAdapter

from nas.candidates.corners import extreme_candidates
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.runtime import FileHeader
from nas.study import Study
from search_spaces.kinds import KINDS
from search_spaces.mixes import MIXES
from search_spaces.presets import PRESETS
from search_spaces.spaces import AnySpace, MixedSpace, MobileSpace
from search_spaces.trials import Pick

READER: TypeAdapter[AnySpace] = TypeAdapter(AnySpace)
IN_FEW_BITS = {"pruning_ratio": (0.0, 0.25, 0.5, 0.75), "weight_format": ("int4", "int8")}


def test_every_preset_has_a_mix() -> None:
    assert MIXES.keys() == PRESETS.keys()


@pytest.mark.parametrize("preset", MIXES)
def test_a_mix_is_a_space_of_its_own(preset: str) -> None:
    space = READER.validate_python({"preset": preset})
    assert isinstance(space, MixedSpace)
    assert (f"{space.input_size}px", space.family, space.preset) == (preset, "mixed", preset)
    assert space.input_sizes[0] // space.stride >= 4
    for seed in range(20):
        architecture = space.sample(Pick(random.Random(seed).choice), input_channels=3)
        assert {site.config.kind for site in architecture.blocks()} <= set(space.blocks) <= set(KINDS)


@pytest.mark.parametrize("preset", [name for name in MIXES if name != "8px"])
def test_files_range_from_ten_kilobytes_to_two_megabytes(preset: str) -> None:
    """Between the smallest network in few bits and the largest in int8."""
    study = Study.model_validate(
        {"name": "t", "data": {"source": "digits"}, "space": {"preset": preset}, "compression": IN_FEW_BITS}
    )
    header = FileHeader(1, study.space.input_sizes[0], tuple(map(str, range(10))))
    told = {name: forecast(candidate, header) for name, candidate in extreme_candidates(study).items()}
    sizes = {name: file.size_bytes for name, file in told.items() if file is not None}
    assert 5_000 < sizes["smallest"] < 15_000
    assert 1_500_000 < sizes["largest"] < 2_500_000


@pytest.mark.parametrize(
    ("fields", "family"),
    [
        ({"preset": "32px"}, "mixed"),
        ({"preset": "32px", "family": "auto"}, "mixed"),
        ({"preset": "32px", "family": "mobile"}, "mobile"),
        ({"preset": "32px", "expansions": (1,)}, "mobile"),
        ({**PRESETS["32px"]}, "mobile"),
        ({**PRESETS["32px"], "preset": None}, "mobile"),
        ({"preset": "32px", "family": "mixed"}, "mixed"),
        ({"preset": "32px", "family": "shuffle"}, "shuffle"),
    ],
)
def test_the_family_of_a_space(fields: dict[str, Any], family: str) -> None:
    space = READER.validate_python(fields)
    assert space.family == family
    is_mix = fields.keys() <= {"preset", "family"} and fields.get("family", "auto") == "auto"
    assert (
        space.model_dump()["stages"] == MixedSpace.model_validate({"preset": "32px"}).model_dump()["stages"]
    ) == is_mix


def test_spaces_that_name_their_family_are_what_they_were() -> None:
    """Old studies: presets, lists and kinds have not changed."""
    mobile, mixed = (
        MobileSpace.model_validate({"preset": "32px"}),
        MixedSpace.model_validate({"family": "mixed", "preset": "32px"}),
    )
    widths = ((16, 24), (24, 32, 48), (48, 64, 96), (96, 128, 160))
    for space in (mobile, mixed):
        assert tuple(stage.widths for stage in space.stages) == widths
        assert (space.stem_widths, space.head_widths) == ((16, 24, 32), (128, 192, 256))
    assert list(mixed.blocks) == ["residual", "fused_inverted_residual", "inverted_residual", "shuffle"]
