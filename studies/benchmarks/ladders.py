"""Ladders of networks: of each kind of block and input size some whose int8 weights take about so many bytes.

ReLU and 3x3 kernels unless a ladder says otherwise, int8 throughout. Beyond 32 pixels the stem halves the map; each
stage halves it again, unless the ladder's first stage works on the whole map, which is tried at 32 pixels only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nas.candidates.candidate import Candidate
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.kinds import read_block

CLASSES = 10
TARGETS_BYTES = (12_000, 50_000, 200_000, 1_000_000)
WHOLE_UP_TO = 32  # pixels
SMALL = 50_000  # up to here networks have the lower depth
STEM_STRIDES: Mapping[int, Literal[1, 2]] = {32: 1, 64: 2, 96: 2, 128: 2, 224: 2}
STAGES = {32: 3, 64: 3, 96: 3, 128: 4, 224: 4}  # the last map has 4 to 7 pixels a side
WIDTHS = range(8, 225, 8)  # of the first stage
GROWTH = 1.5  # of widths from stage to stage

Fields = Mapping[str, Any]
PLAIN: Fields = {"kind": "plain", "kernel": 3}
RESIDUAL: Fields = {"kind": "residual", "kernel": 3}
FUSED: Fields = {"kind": "fused_inverted_residual", "kernel": 3, "expansion": 2}
INVERTED: Fields = {"kind": "inverted_residual", "kernel": 3, "expansion": 4}
SHUFFLE: Fields = {"kind": "shuffle", "kernel": 3}


@dataclass(frozen=True)
class Ladder:
    """The blocks of the stages, the last of them repeated; how many a stage has in small and in large networks."""

    blocks: tuple[Fields, ...]
    depths: tuple[int, int] = (1, 2)
    first_stride: Literal[1, 2] = 2


LADDERS = {
    "plain": Ladder((PLAIN,)),
    "residual": Ladder((RESIDUAL,)),
    "residual, whole map": Ladder((RESIDUAL,), first_stride=1),
    "fused x1": Ladder(({**FUSED, "expansion": 1},)),
    "fused x2": Ladder((FUSED,)),
    "inverted x4": Ladder((INVERTED,), (1, 3)),
    "inverted x4, SE, hardswish": Ladder(({**INVERTED, "squeeze_excite": True, "activation": "hardswish"},), (1, 3)),
    "shuffle": Ladder((SHUFFLE,), (2, 4)),
    "residual, then inverted x4": Ladder((RESIDUAL, RESIDUAL, INVERTED)),
    "fused x2, then inverted x4": Ladder((FUSED, FUSED, INVERTED)),
}


@dataclass(frozen=True)
class Step:
    """A step of a ladder: a network whose weights take about `target_bytes`."""

    ladder: str
    input_size: int
    target_bytes: int
    candidate: Candidate

    @property
    def name(self) -> str:
        return f"{self.ladder} {self.input_size}px {self.target_bytes // 1000} kB"


def steps(input_size: int, targets_bytes: tuple[int, ...] = TARGETS_BYTES) -> Iterator[Step]:
    """Of every ladder the networks of this input size that come next to the targets."""
    for name, ladder in LADDERS.items():
        if ladder.first_stride == 1 and input_size > WHOLE_UP_TO:
            continue
        found = {depth: [network(ladder, input_size, width, depth) for width in WIDTHS] for depth in ladder.depths}
        sized = {depth: {made.weight_bytes(CLASSES): made for made in every} for depth, every in found.items()}
        for target in targets_bytes:
            by_bytes = sized[ladder.depths[target > SMALL]]
            yield Step(name, input_size, target, by_bytes[min(by_bytes, key=lambda size: abs(size - target))])


def network(ladder: Ladder, input_size: int, width: int, depth: int) -> Candidate:
    """The network whose first stage has this width, with `depth` blocks a stage."""
    stages = tuple(
        StageConfig(
            width=_on_grid(width * GROWTH**s),
            stride=2 if s else ladder.first_stride,
            blocks=(read_block(_of_stage(ladder, s)),) * depth,
        )
        for s in range(STAGES[input_size])
    )
    stem = StemConfig(width=_on_grid(width / GROWTH), stride=STEM_STRIDES[input_size])
    architecture = Architecture(input_size=input_size, input_channels=3, stem=stem, stages=stages, head=None)
    formats = dict.fromkeys((layer.name for layer in architecture.layers(CLASSES)), "int8")
    return Candidate.model_validate({"architecture": architecture, "plan": {"formats": formats}})


def _of_stage(ladder: Ladder, stage: int) -> Fields:
    return ladder.blocks[min(stage, len(ladder.blocks) - 1)]


def _on_grid(width: float) -> int:
    return max(8, round(width / 8) * 8)
