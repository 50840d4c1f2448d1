"""The layers of an existing network as planned: their shapes once, and their widths in closed form. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from search_spaces.existing.blocks import block_names
from search_spaces.existing.blueprint import Blueprint, Node
from search_spaces.existing.executed import layer_runs
from search_spaces.existing.fields import number, pair
from search_spaces.existing.groups import groups_of
from search_spaces.existing.shapes import Shape, shapes_of
from search_spaces.layers import LayerKind, LayerSpec, Member
from search_spaces.remembered import remembered

Terms = tuple[tuple[str, int, int], ...]
"""Groups along an axis: name, width, how many channels of the axis one of the group's is."""


@dataclass(frozen=True, eq=False, slots=True)
class LayerPlan:
    """A layer before pruning, and how its widths follow from what is kept of the groups along its axes."""

    spec: LayerSpec
    reads: Terms
    writes: Terms
    is_head: bool

    def groups(self) -> Iterator[str]:
        return (name for name, _, __ in self.reads + self.writes)

    def at(self, kept: Mapping[str, int], num_classes: int) -> LayerSpec:
        """The layer as pruned."""
        spec = self.spec
        after = num_classes if self.is_head else spec.out_channels - _gone(self.writes, kept)
        if spec.groups == 1:
            before = spec.in_channels - _gone(self.reads, kept)
            if (before, after) == (spec.in_channels, spec.out_channels):
                return spec
            return replace(spec, in_channels=before, out_channels=after)
        if after == spec.out_channels:
            return spec
        split = after * spec.groups // spec.out_channels  # whole groups go, with their inputs
        before = split * (spec.in_channels // spec.groups)
        left = 1 if spec.kind == "depthwise" else split
        return replace(spec, in_channels=before, out_channels=after, split=left)


@remembered
def layer_plans(blueprint: Blueprint, input_size: int) -> tuple[LayerPlan, ...]:
    """Every layer once, in order of execution. Raises Unfit for images that the network cannot take."""
    shapes, terms = shapes_of(blueprint, input_size), _terms(blueprint, input_size)
    head, homes = blueprint.by_name[blueprint.head].path, block_names(blueprint)
    return tuple(
        LayerPlan(
            spec=_spec(runs[0], homes[path], [(shapes[run.reads[0]], shapes[run.name]) for run in runs]),
            reads=tuple(terms.get((path, 1), ())),
            writes=tuple(terms.get((path, 0), ())),
            is_head=path == head,
        )
        for path, runs in layer_runs(blueprint).items()
    )


def _gone(terms: Terms, kept: Mapping[str, int]) -> int:
    return sum((width - kept.get(name, width)) * each for name, width, each in terms)


def _terms(blueprint: Blueprint, input_size: int) -> Mapping[Member, list[tuple[str, int, int]]]:
    found: dict[Member, list[tuple[str, int, int]]] = {}
    for group in groups_of(blueprint, input_size):
        for place, member in enumerate(group.members):
            span = group.spans[place] if group.spans else None
            found.setdefault(member, []).append((group.name, group.width, len(span[0]) if span else 1))
    return found


def _spec(node: Node, block: str, runs: list[tuple[Shape, Shape]]) -> LayerSpec:
    """A layer that is run between these shapes, one pair a run, before pruning."""
    (before, after), again = runs[0], tuple(_pixels(shape) for _, shape in runs[1:])
    if node.op == "linear":
        return LayerSpec(node.path, block, "linear", before[0], after[0], again=again)
    (_, height, width), (_, output_height, output_width) = before, after
    kernel, stride = pair(node, "kernel_size", (1, 1)), pair(node, "stride", (1, 1))
    padding, split = pair(node, "padding", (0, 0)), number(node, "groups") if node.op == "conv" else before[0]
    kind: LayerKind = "pointwise" if split == 1 and kernel == (1, 1) and padding == (0, 0) else "conv"
    if node.op == "norm" or split == before[0] > 1:  # a batch norm alone scales each channel
        kind = "depthwise"
    wide = (kernel[1], stride[1], width, output_width)
    return LayerSpec(
        node.path,
        block,
        kind,
        before[0],
        after[0],
        kernel[0],
        stride[0],
        height,
        output_height,
        wide=None if wide == (kernel[0], stride[0], height, output_height) else wide,
        split=1 if kind == "depthwise" else split,
        padding=None if padding == (kernel[0] // 2, kernel[1] // 2) else padding,
        dilation=pair(node, "dilation", (1, 1)),
        again=again,
    )


def _pixels(shape: Shape) -> int:
    return shape[1] * shape[2] if len(shape) == 3 else 1
