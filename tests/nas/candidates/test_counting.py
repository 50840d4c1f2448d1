"""The size of a space against all answers, walked through one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from candidates import Recording, freedom

from compressors.plan import CompressionPlan
from compressors.steps import ANYTHING, STEPS, Step
from nas.candidates.counting import space_size
from nas.candidates.sampling import DRAWS, sample
from nas.study import Compression
from search_spaces.architecture import Architecture
from search_spaces.spaces import MixedSpace, MobileSpace, Space
from search_spaces.trials import Trial, ask


class Odometer:
    """Walks all answers: `digits` holds, per question in order, its choices and the answer's place in them."""

    def __init__(self, digits: list[tuple[Sequence[Any], int]]) -> None:
        self._digits, self._at = digits, 0

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if self._at == len(self._digits):
            self._digits.append((choices, 0))
        asked, place = self._digits[self._at]
        self._at += 1
        return asked[place]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))


def assignments(space: Space, compression: Compression) -> Iterator[frozenset[tuple[str, Any]]]:
    """Every way to answer what `sample` asks."""
    digits: list[tuple[Sequence[Any], int]] = []
    while True:
        trial = Recording(Odometer(digits))
        sample(trial, space, compression, input_channels=1)
        yield frozenset(trial.genes.items())
        while digits and digits[-1][1] == len(digits[-1][0]) - 1:
            digits.pop()
        if not digits:
            return
        choices, place = digits.pop()
        digits.append((choices, place + 1))


def small_space(stages: Sequence[tuple[int, ...]], **fields: Any) -> MobileSpace:
    own = {
        "input_size": 8, "stem_widths": (8,), "head_widths": (8,), "kernels": (3,), "expansions": (1, 2),
        "squeeze_excite": (False,), "activations": ("relu",),
    }  # fmt: skip
    table = [{"depths": depths, "widths": (8,)} for depths in stages]
    return MobileSpace.model_validate({**own, "stages": table, **fields})


def mixed_space(depths: tuple[int, ...], **fields: Any) -> MixedSpace:
    own = {
        "family": "mixed", "input_size": 8, "stem_widths": (8,), "head_widths": (8,),
        "stages": ({"depths": depths, "widths": (8, 16)},),
        "blocks": {
            "inverted_residual": {"kernels": (3,), "expansions": (1, 2)},
            "residual": {"kernels": (3,), "expansions": (1,)},
            "shuffle": {"kernels": (3,), "expansions": (1,)},
        },
    }  # fmt: skip
    return MixedSpace.model_validate({**own, **fields})


TWO_FORMATS = {"weight_format": ("fp32", "int4"), "pruning_ratio": (0.0, 0.5)}


@pytest.mark.parametrize(
    ("space", "compression"),
    [
        (small_space([(1, 2), (1, 3)], head_widths=(8, 16)), freedom("network")),
        (small_space([(1, 2), (1, 2)]), freedom("stage", **TWO_FORMATS)),
        (small_space([(1, 2), (1,)]), freedom("block", **TWO_FORMATS)),
        (small_space([(1, 2)]), freedom("layer", **TWO_FORMATS)),
        (small_space([(1,)], squeeze_excite=(False, True)), freedom("layer", **TWO_FORMATS)),
        (small_space([(1,)], expansions=(1,)), freedom("stage", edges_below_int8=True)),
        (small_space([(2,)], stem_widths=(8, 16)), freedom("block", weight_format=("int4",))),
        (small_space([(2,)]), freedom("layer", pruning_ratio=(0.5,), weight_format=("int4", "int8"))),
        (mixed_space((1, 2), head_widths=(0, 8)), freedom("network", **TWO_FORMATS)),
        (mixed_space((1, 2), input_size=(8, 16)), freedom("stage", **TWO_FORMATS)),
        (mixed_space((1, 2), head_widths=(0, 8)), freedom("block", **TWO_FORMATS)),
        (mixed_space((1,), head_widths=(0, 8)), freedom("layer", **TWO_FORMATS)),
        (mixed_space((1, 2)), freedom("network", pruning_ratio=(0.0, 0.5), stage_widths=True)),
    ],
)
def test_space_size_counts_all_answers(space: Space, compression: Compression) -> None:
    found = list(assignments(space, compression))
    assert len(set(found)) == len(found) == space_size(space, compression)


def test_what_further_steps_draw_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy step with two genes for the whole network: each of its answers goes with each of the others."""

    def drawn(trial: Trial, architecture: Architecture, compression: Compression, *, grid: int) -> dict[str, int]:
        more = trial.suggest_int("network.more", 1, 2)
        return {"stem.conv": ask(trial, "network.rank", (4, 8, 16)), "head.conv": more}

    def asked(plan: CompressionPlan) -> Mapping[str, Any] | None:
        return plan.steps.get("toy") or None

    space, compression = small_space([(1, 2)]), Compression(pruning_ratio=(0.0, 0.5), weight_format=("int8",))
    before = space_size(space, compression)
    monkeypatch.setitem(STEPS, "toy", Step("toy", asked=asked, method=None, after=ANYTHING))
    monkeypatch.setitem(DRAWS, "toy", drawn)
    assert space_size(space, compression) == len(set(assignments(space, compression))) == 6 * before


def test_one_ratio_of_the_whole_network_is_counted_once() -> None:
    """Both stages have blocks to prune in every network; a block without an inner width is one all the same."""
    space = small_space([(1,), (1, 2)], expansions=(2,))
    compression = Compression(pruning_ratio=(0.0, 0.25, 0.5), weight_format=("fp32", "int8"), pruning_scope="global")
    assert space_size(space, compression) == len(set(assignments(space, compression)))
