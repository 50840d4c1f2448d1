"""A candidate's network as runs of operations, each with its layers as shipped. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nas.candidates.candidate import Candidate
from search_spaces.flows import Flow, Stretch, has_flow, of_classifier, of_head, of_stem, with_factors
from search_spaces.layers import LayerSpec
from search_spaces.linear import flow_of, linear_flow
from search_spaces.parts import Part

OF_ENDS = {"stem": of_stem, "head": of_head}


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One part of a network, or several in a row: layers, their names in the flow, and what is done.

    Equal runs are mostly one object, so that what is worked out of one is quickly found again.
    """

    layers: tuple[LayerSpec, ...]
    names: tuple[str, ...]
    flow: Flow

    @property
    def by_name(self) -> dict[str, LayerSpec]:
        return dict(zip(self.names, self.layers, strict=True))


def runs_of(candidate: Candidate, num_classes: int) -> list[Run] | None:
    """The network from its pixels to its logits; None where it is not known what it does between its layers."""
    parts, stretches = candidate.parts(num_classes), candidate.architecture.stretches()
    if stretches is None:
        is_known = bool(candidate.architecture.blocks()) and all(map(_is_known, parts))
        return [_run(part) for part in parts] if is_known else None
    by_name = {part.name: part for part in parts}
    return [_joined(stretch, tuple(by_name[name] for name in stretch.parts)) for stretch in stretches]


def _is_known(part: Part) -> bool:
    if part.site is None:
        return part.name in OF_ENDS or part.name == "classifier"
    return has_flow(part.site.config.kind)


@lru_cache(maxsize=1 << 16)
def _run(part: Part) -> Run:
    """Names are without the part's own name."""
    names = tuple(layer.name[len(part.name) + 1 :] for layer in part.layers)
    return Run(part.layers, names, with_factors(_whole_flow(part), names))


def _whole_flow(part: Part) -> Flow:
    """What the part does where no layer is factored."""
    if part.site is not None:
        return linear_flow(part.site) if part.is_linear else flow_of(part.site)
    return of_classifier() if part.name == "classifier" else OF_ENDS[part.name](part.activation)


@lru_cache(maxsize=1 << 16)
def _joined(stretch: Stretch, parts: tuple[Part, ...]) -> Run:
    layers = tuple(layer for part in parts for layer in part.layers)
    names = tuple(layer.name for layer in layers)
    return Run(layers, names, with_factors(stretch.flow, names))
