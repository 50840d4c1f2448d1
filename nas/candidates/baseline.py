"""The baseline: what every search has to beat, a plain three-layer CNN or the network as it was given. No torch."""

from __future__ import annotations

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.study import Study
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import PlainConfig
from search_spaces.trials import Pick, last

PLAIN, GIVEN = "a plain three-layer CNN", "the network as it was given"
WIDTHS = (32, 64, 64)
LAST_MAP = 8  # pixels along a side after the last layer, if three halvings are enough for that


def baseline_candidate(study: Study) -> Candidate:
    """In float32, on images of the study's largest size: three 3x3 convolutions with batch norm and ReLU, global
    average pooling and a linear classifier; of a network that exists already that network, uncompressed.

    With colour and ten classes the plain one has 56 970 parameters, at any size.
    """
    if is_the_network(study):
        return Candidate(architecture=study.space.sample(Pick(last), input_channels=study.data.input_channels))
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


def is_the_network(study: Study) -> bool:
    """Whether the baseline is the network that the study compresses."""
    return not study.space.block_spaces()


def baseline_words(study: Study) -> str:
    """What the baseline is."""
    return GIVEN if is_the_network(study) else PLAIN


def quantized_baseline(study: Study) -> Candidate:
    """The same network with int8 weights in every layer."""
    plain = baseline_candidate(study)
    formats = {layer.name: "int8" for layer in plain.architecture.layers(1) if not layer.runs_again}
    return plain.model_copy(update={"plan": CompressionPlan.model_validate({"formats": formats})})


def strides(size: int) -> tuple[int, int, int]:
    """Of the three layers; the last ones halve, as often as leaves LAST_MAP pixels, but at least once."""
    halvings = 1
    while halvings < len(WIDTHS) and size // 2 ** (halvings + 1) >= LAST_MAP:
        halvings += 1
    first, second, third = (2 if place >= len(WIDTHS) - halvings else 1 for place in range(len(WIDTHS)))
    return first, second, third
