"""Candidate: an architecture and its compression in canonical form, with its ids. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from compressors.budgets import budget_of, without
from compressors.formats import WeightFormat
from compressors.plan import CompressionPlan
from compressors.steps import STEPS, depends_on_weights, least_of, requests_of
from nas.candidates.removing import ACTIVATIONS, Gone, check_removals, gone_from, groups_left
from nas.candidates.shaping import SHOWN_BY_LAYERS, check_decisions, shaped, with_effects
from nas.candidates.zeros import mask_of_plan, stored_bits, zeros_in
from search_spaces.architectures import AnyArchitecture
from search_spaces.layers import ChannelGroup, LayerSpec
from search_spaces.parts import Part
from search_spaces.remembered import remembered

SCHEMA = 1


class Candidate(BaseModel):
    """What is trained: stores what results (kept channels, formats), never two spellings of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: AnyArchitecture
    plan: CompressionPlan = CompressionPlan()

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON: fields at their default and decisions without effect are left out."""
        return {"schema": SCHEMA, **canonical(self).model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Candidate:
        fields = dict(data)
        if fields.pop("schema", None) != SCHEMA:
            raise ValueError(f"candidate: expected schema {SCHEMA}, got {data.get('schema')!r}")
        return canonical(cls.model_validate(fields))

    @property
    def id(self) -> str:
        """First 12 hex digits of the sha256 of the canonical JSON."""
        return _digest(self.to_json())

    def layers(self, num_classes: int) -> tuple[LayerSpec, ...]:
        """Every layer as shipped, pruned."""
        return tuple(layer for part in self.parts(num_classes) for layer in part.layers)

    @remembered
    def parts(self, num_classes: int) -> tuple[Part, ...]:
        """The layers as shipped, by stem, block, head and classifier; removed blocks are left out."""
        return shaped(self.architecture.parts(num_classes, self.plan.kept), self.plan.steps)

    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups of the layers that stay, before pruning."""
        return groups_left(self.architecture, self.plan.steps)

    @property
    def depends_on_weights(self) -> bool:
        """Whether its shapes or its file's size are known only when it is trained."""
        return bool(self.plan.steps) and depends_on_weights(self.plan)

    def resulting(self, plan: CompressionPlan) -> Candidate:
        """What a training made of it: the same network by a plan in which nothing depends on weights."""
        return Candidate.model_construct(architecture=self.architecture, plan=plan)

    def as_recorded(self, resulted: Mapping[str, Any]) -> Candidate:
        """What a record says that resulted, a plan in JSON; this very candidate where it says nothing."""
        return self.resulting(CompressionPlan.model_validate(resulted)) if resulted else self

    def least(self, num_classes: int) -> Candidate:
        """A candidate that depends on no weights and costs no more than whatever this one comes down to."""
        return self.resulting(least_of(self.plan, self.groups(), self.layers(num_classes)))

    def parameters(self, num_classes: int) -> int:
        return sum(layer.parameters for layer in self.layers(num_classes))

    def macs(self, num_classes: int) -> int:
        return sum(layer.macs for layer in self.layers(num_classes))

    def integer_layers(self, num_classes: int) -> tuple[str, ...]:
        """Layers as shipped, factors each, whose weights are integers; by name."""
        names = (layer.name for layer in self.layers(num_classes))
        return tuple(sorted(name for name in names if self.plan.format_of(name) != "fp32"))

    def weight_bytes(self, num_classes: int) -> int:
        """Bytes of packed weights and biases alone: a lower bound of the file, before anything is built."""
        if self.depends_on_weights:
            return self.least(num_classes).weight_bytes(num_classes)
        layers, mask = self.layers(num_classes), mask_of_plan(self.plan)
        bits = sum(stored_bits(layer, self.plan.format_of(layer.name), zeros_in(layer, mask)) for layer in layers)
        return bits // 8 + 4 * sum(layer.out_channels for layer in layers)

    def structure_id(self, num_classes: int) -> str:
        """Digest of all that costs depend on: shipped shapes, formats, operations and input size."""
        shipped = [
            [layer.name, layer.kind, layer.in_channels, layer.out_channels, layer.kernel, layer.stride,
             layer.input_size, self.plan.format_of(layer.name), *(layer.wide or ())]
            for layer in self.layers(num_classes)
        ]  # fmt: skip
        told = {"layers": shipped, **self.architecture.operations()}
        unlike = self._without_skip(num_classes)
        told |= {"no_skip": unlike} if unlike else {}
        steps = {name: given for name, given in self.plan.steps.items() if given and shapes_file(name)}
        return _digest({**told, "steps": steps} if steps else told)

    def _without_skip(self, num_classes: int) -> list[str]:
        """Blocks whose ends pruning made equal: shaped like a block with a skip, which they do not have."""
        ends: dict[str, tuple[int, int]] = {}
        for layer in self.layers(num_classes):
            ends[layer.block] = (ends.get(layer.block, (layer.in_channels, 0))[0], layer.out_channels)
        plain = [site for site in self.architecture.blocks() if site.stride == 1 and not site.has_skip]
        return [site.name for site in plain if len(set(ends[site.name])) == 1]


def canonical(candidate: Candidate) -> Candidate:
    """Drop decisions without effect (all channels kept, fp32, steps asked nothing).

    Raises ValueError for names that the network does not have, and for steps that are unknown or cannot be combined.
    """
    architecture, plan = candidate.architecture, candidate.plan
    widths = {group.name: group.width for group in architecture.all_groups()}
    layers = {layer.name: layer for layer in architecture.layers(1)}
    unknown = [name for name in plan.kept if name not in widths] + [n for n in plan.formats if n not in layers]
    if unknown:
        raise ValueError(f"plan names {', '.join(unknown)}, which this architecture does not have")
    for name, kept in plan.kept.items():
        if kept > widths[name]:
            raise ValueError(f"plan keeps {kept} channels of {name}, which has {widths[name]}")
    for name, fmt in plan.formats.items():
        if fmt != "fp32" and layers[name].runs_again:
            raise ValueError(f"plan stores {name} in {fmt}, expected fp32: it is run more than once")
    check_removals(architecture, plan.steps)
    left = effective(plan, widths, gone_from(architecture, plan.steps))
    if budget := budget_of(left.steps.get("pruned", {})):
        budget.among(groups_left(architecture, left.steps))
    check_decisions(left, architecture)
    left = with_effects(left, architecture)
    requests_of(left)
    if "dynamic" in left.steps:
        _check_dynamic(left, {layer.name: layer.kind for layer in architecture.layers(1)})
    return candidate.model_copy(update={"plan": left})


def effective(plan: CompressionPlan, widths: Mapping[str, int], gone: Gone) -> CompressionPlan:
    """A valid plan without what has no effect: channel groups have these `widths`, and the plan leaves out `gone`."""
    kept = {name: kept for name, kept in plan.kept.items() if kept != widths[name] and name not in gone.groups}
    formats = {name: fmt for name, fmt in plan.formats.items() if fmt != "fp32" and name not in gone.layers}
    steps = {
        step: {n: value for n, value in given.items() if n not in gone.layers} for step, given in plan.steps.items()
    }
    if gone.blocks and ACTIVATIONS in steps:
        steps[ACTIVATIONS] = {name: value for name, value in steps[ACTIVATIONS].items() if name not in gone.blocks}
    if gone.groups and "pruned" in steps:
        steps["pruned"] = without(steps["pruned"], gone.groups)
    left = {name: decisions for name, decisions in steps.items() if decisions and (formats or _stands(name))}
    return CompressionPlan.model_construct(kept=kept, formats=formats, steps=left)


def _stands(name: str) -> bool:
    """Whether a step has something to do in a network of floats."""
    return not (name in STEPS and STEPS[name].of_formats)


def shapes_file(name: str) -> bool:
    """Whether costs depend on what a step is told, beside the layers that result."""
    return name not in SHOWN_BY_LAYERS and not (name in STEPS and STEPS[name].same_costs)


def _check_dynamic(plan: CompressionPlan, kinds: Mapping[str, str]) -> None:
    """Raises ValueError where a layer that is no linear one is to be quantized dynamically."""
    for layer, fmt in plan.formats.items():
        if kinds[layer] != "linear":
            raise ValueError(f"step dynamic: expected fp32 for {layer}, a convolution, got {fmt}")


def formats_of(part: Part, plan: CompressionPlan) -> tuple[WeightFormat, ...]:
    """The formats of a part's layers."""
    return tuple(plan.format_of(layer.name) for layer in part.layers)


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
