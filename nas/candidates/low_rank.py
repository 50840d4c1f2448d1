"""Low rank in a candidate: what is drawn, which decisions have an effect, and the layers that result. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from compressors.low_rank.factoring import Factoring, factoring_of
from compressors.low_rank.factors import Pair, Shape
from nas.candidates.drawing_steps import draw_each
from nas.study import Compression
from search_spaces.layers import LayerKind, LayerSpec
from search_spaces.parts import Part
from search_spaces.protocols import ArchitectureLike, SpaceLike
from search_spaces.trials import Pick, Trial, last

TYPICAL = Shape(64, 64, (3, 3))
LOST_AS_NOISE = 0.5  # share of weights that a rank by VBMF is taken to cost


def draw_low_rank(
    trial: Trial, architecture: ArchitectureLike, compression: Compression, *, grid: int
) -> dict[str, dict[str, Any]]:
    """How each layer is factored. The first and the last are left whole: they have few weights, and all are needed."""
    choices = compression.low_rank_choices
    asked = [choice for choice in choices if choice is not None]
    if not asked:
        return {}

    def offered(part: Part) -> list[str]:
        return [name for name, shape in _offered(part) if any(choice.fits(shape) for choice in asked)]

    return draw_each(trial, architecture, compression, key="low_rank", choices=choices, names=offered)


def _offered(part: Part) -> Iterator[tuple[str, Shape]]:
    """The layers of a part that a study may factor."""
    if not part.is_edge:
        yield from ((layer.name, shape_of(layer)) for layer in part.layers)


def idle_choices(space: SpaceLike, compression: Compression, *, input_channels: Literal[1, 3]) -> list[str]:
    """Choices that no layer of a space can be factored by."""
    largest = [kind.sample(Pick(last), input_channels=input_channels) for kind in space.of_one_kind()]
    shapes = [shape for one in largest for part in one.parts(1) for _, shape in _offered(part)]
    choices = [choice for choice in compression.low_rank_choices if choice is not None]
    return [str(choice) for choice in choices if not any(choice.fits(shape) for shape in shapes)]


def factored(part: Part, decisions: Mapping[str, Any]) -> Part:
    """The part with its factored layers as chains of factors; those whose ranks depend on weights are whole as yet."""
    given = ((layer.name, decisions.get(layer.name)) for layer in part.layers)
    asked = tuple(None if one is None else factoring_of(name, one) for name, one in given)
    return _factored(part, asked) if any(asked) else part


@lru_cache(maxsize=1 << 14)  # so that equal parts stay one object
def _factored(part: Part, asked: tuple[Factoring | None, ...]) -> Part:
    layers = tuple(one for layer, how in zip(part.layers, asked, strict=True) for one in _factors(layer, how))
    return part if layers == part.layers else replace(part, layers=layers)


def with_effect(decisions: Mapping[str, Any], layers: Iterable[LayerSpec]) -> dict[str, Any]:
    """The decisions by which one of the `layers`, as pruned, is factored. The classifier's waits for its classes."""
    shapes = {layer.name: shape_of(layer) for layer in layers}
    return {
        name: given
        for name, given in decisions.items()
        if name in shapes and (shapes[name].is_linear or _has_effect(factoring_of(name, given), shapes[name]))
    }


def check_low_rank(decisions: Mapping[str, Any], layers: Iterable[LayerSpec]) -> None:
    """Raise ValueError for decisions that are none, or of layers that cannot be factored so; absent layers are left."""
    by_name = {layer.name: layer for layer in layers}
    for name, given in decisions.items():
        asked, layer = factoring_of(name, given), by_name.get(name)
        if layer is None or asked.fits(shape_of(layer)):
            continue
        if why := why_whole(layer):
            raise ValueError(
                f"low_rank of {name}: expected a convolution over all channels or a linear layer, got {why}"
            )
        got = "linear layer" if layer.kind == "linear" else f"{layer.kind} one"
        raise ValueError(f"low_rank of {name}: {asked.method}: expected a k x k convolution, got a {got}")


def share_left(choice: Factoring | None) -> float:
    """About what share of a layer's parameters a choice leaves at the least: its order among choices."""
    if choice is None:
        return 1.0
    asked = choice.least() if choice.depends_on_weights else choice
    return sum(factor.parameters for factor in asked.factors_of(TYPICAL)) / TYPICAL.parameters


def likely_losses(decisions: Mapping[str, Any]) -> float:
    """The sum, over layers whose ranks depend on weights, of the share of weights that they are taken to lose: the
    larger, the less of their energy stays.
    """
    asked = (factoring_of(name, given) for name, given in decisions.items())
    return sum(1 - one.energy if one.energy is not None else LOST_AS_NOISE for one in asked if one.depends_on_weights)


def shape_of(layer: LayerSpec) -> Shape:
    return Shape(
        layer.in_channels,
        layer.out_channels,
        layer.kernels,
        layer.strides,
        is_linear=layer.kind == "linear",
        is_depthwise=bool(why_whole(layer)),
    )


def why_whole(layer: LayerSpec) -> str:
    """What a layer is that no method can factor; empty of one that some can."""
    if layer.kind == "depthwise":
        return "a depthwise one, which has no rank to reduce"
    if layer.groups > 1:
        return f"one in {layer.groups} groups, which has no rank to reduce"
    if layer.runs_again:
        return "one that is run more than once"
    if any(pad and side == 1 for pad, side in zip(layer.paddings, layer.kernels, strict=True)):
        return "one that pads along a side of one pixel"
    return "one whose kernel has gaps" if layer.dilation != (1, 1) else ""


def _has_effect(asked: Factoring, shape: Shape) -> bool:
    return (asked.least() if asked.depends_on_weights else asked).ranks_of(shape) is not None


def _factors(layer: LayerSpec, asked: Factoring | None) -> Iterator[LayerSpec]:
    if asked is None or asked.depends_on_weights:
        yield layer
        return
    shapes = asked.factors_of(shape_of(layer))
    if len(shapes) == 1:
        yield layer
        return
    before = layer.input_map
    for number, shape in enumerate(shapes):
        after = _after(before, shape, layer.paddings)
        yield _spec(layer, number, shape, before, after)
        before = after


def _padding(shape: Shape, padding: Pair) -> Pair:
    """A factor pads as the layer does, along the sides where it has more than a pixel."""
    (down, right), (height, width) = padding, shape.kernel
    return down if height > 1 else 0, right if width > 1 else 0


def _after(size: Pair, shape: Shape, padding: Pair) -> Pair:
    sides = zip(size, _padding(shape, padding), shape.kernel, shape.stride, strict=True)
    height, width = ((side + 2 * pad - kernel) // step + 1 for side, pad, kernel, step in sides)
    return height, width


def _spec(layer: LayerSpec, number: int, shape: Shape, before: Pair, after: Pair) -> LayerSpec:
    """A factor of a layer, by its number, between maps of these sizes."""
    height, width = ((shape.kernel[side], shape.stride[side], before[side], after[side]) for side in (0, 1))
    return LayerSpec(
        f"{layer.name}.{number}", layer.block, _kind(shape), shape.inputs, shape.outputs, *height,
        wide=None if width == height else width, padding=_own_padding(layer, shape), of=layer.name,
    )  # fmt: skip


def _own_padding(layer: LayerSpec, shape: Shape) -> Pair | None:
    return None if layer.padding is None else _padding(shape, layer.padding)


def _kind(shape: Shape) -> LayerKind:
    if shape.is_linear:
        return "linear"
    if shape.is_depthwise:
        return "depthwise"
    return "pointwise" if shape.kernel == (1, 1) else "conv"
