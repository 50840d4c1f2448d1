"""The baseline: the plain three-layer CNN that every search has to beat. No torch."""

from __future__ import annotations

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.study import Study
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import PlainConfig

WIDTHS = (32, 64, 64)
LAST_MAP = 8  # pixels along a side after the last layer, if three halvings are enough for that


def baseline_candidate(study: Study) -> Candidate:
    """Three 3x3 convolutions with batch norm and ReLU, global average pooling and a linear classifier, in float32.

    It takes images of the study's largest size. With colour and ten classes it has 56 970 parameters, at any size.
    """
    size = study.space.input_sizes[-1]
    first, *rest = zip(WIDTHS, strides(size), strict=True)
    block = PlainConfig(kind="plain", kernel=3)
    architecture = Architecture(
        input_size=size,
        input_channels=study.data.input_channels,
        stem=StemConfig(width=first[0], stride=first[1]),
        stages=tuple(StageConfig(width=width, stride=stride, blocks=(block,)) for width, stride in rest),
        head=None,
    )
    return Candidate(architecture=architecture)


def quantized_baseline(study: Study) -> Candidate:
    """The same network with int8 weights in every layer."""
    plain = baseline_candidate(study)
    formats = {layer.name: "int8" for layer in plain.architecture.layers(1)}
    return plain.model_copy(update={"plan": CompressionPlan.model_validate({"formats": formats})})


def strides(size: int) -> tuple[int, int, int]:
    """Of the three layers; the last ones halve, as often as leaves LAST_MAP pixels, but at least once."""
    halvings = 1
    while halvings < len(WIDTHS) and size // 2 ** (halvings + 1) >= LAST_MAP:
        halvings += 1
    first, second, third = (2 if place >= len(WIDTHS) - halvings else 1 for place in range(len(WIDTHS)))
    return first, second, third
