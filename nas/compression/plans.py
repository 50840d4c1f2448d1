"""The candidate that wishes come to: a study's one draw, with what is decided for single layers. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from compressors.budgets import own_grid
from compressors.plan import CompressionPlan, kept_channels
from nas.candidates.candidate import Candidate, canonical
from nas.candidates.sampling import prunable_groups, sample_of
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError
from nas.study import Study
from search_spaces.architectures import AnyArchitecture
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.groups import fixed_layers
from search_spaces.layers import ChannelGroup
from search_spaces.trials import Pick, first

WRITTEN = 0  # the axis of a weight along which its output channels lie


def candidate_of(study: Study, wishes: Wishes) -> Candidate:
    """The network by the study's plan and by what is said of single layers.

    Raises InputError, with the layer, for a name that the network does not have and for what cannot be done there.
    """
    drawn = sample_of(Pick(first), study)
    plan, groups = drawn.plan, prunable_groups(drawn.architecture, study.compression)
    names = [layer.name for layer in drawn.architecture.layers(1)]
    told: Mapping[str, Asked[Any]] = {"--ratio": wishes.ratio, "--format": wishes.format, "--rank": wishes.rank}
    for option, asked in told.items():
        _refuse_unknown(option, asked.layers, names)
    own = kept_of(wishes.ratio.layers, groups, grid=study.space.width_grid, fixed=_fixed(drawn.architecture))
    kept = {**plan.kept, **own}
    plan = plan.model_copy(update={"kept": kept, "formats": {**plan.formats, **wishes.format.layers}})
    plan = _factored(plan, wishes)
    try:
        return canonical(Candidate(architecture=drawn.architecture, plan=CompressionPlan(**dict(plan))))
    except ValueError as error:
        raise InputError(str(error)) from None


def kept_of(
    ratios: Mapping[str, float],
    groups: Iterable[ChannelGroup],
    *,
    grid: int,
    fixed: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, int]:
    """Channels left, by group, of the groups that these layers write or pass on; `fixed` says why others have none."""
    of_layer: dict[str, list[ChannelGroup]] = {}
    for group in groups:
        for name in dict.fromkeys(name for name, axis in group.members if axis == WRITTEN):
            of_layer.setdefault(name, []).append(group)
    kept, said = dict[str, int](), dict[str, tuple[str, float]]()
    for layer, ratio in ratios.items():
        if layer not in of_layer:
            raise InputError(f"--ratio: {layer}: its output channels cannot be cut: {_why_not(layer, of_layer, fixed)}")
        for group in of_layer[layer]:
            other, earlier = said.setdefault(group.name, (layer, ratio))
            if earlier != ratio:
                raise InputError(
                    f"--ratio: {layer} and {other} are cut together: expected one ratio, got {earlier:g} and {ratio:g}"
                )
            kept[group.name] = kept_channels(group.width, ratio, own_grid(grid, group.unit))
    return kept


def _why_not(layer: str, able: Iterable[str], fixed: Mapping[str, str]) -> str:
    """Why a layer cannot be cut, and layers that can."""
    near = difflib.get_close_matches(layer, list(able), n=3, cutoff=0.0)
    return (
        f"{fixed.get(layer, 'no group of channels is written by it')}; layers that can are {', '.join(near) or 'none'}"
    )


def _fixed(architecture: AnyArchitecture) -> Mapping[str, str]:
    """Why layers of an existing network cannot be cut, by layer."""
    if not isinstance(architecture, ExistingArchitecture):
        return {}
    return fixed_layers(architecture.blueprint, architecture.input_size)


def _refuse_unknown(option: str, layers: Iterable[str], known: list[str]) -> None:
    for layer in layers:
        if layer not in known:
            near = difflib.get_close_matches(layer, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{option}: {layer}: the network has no such layer{hint}")


def _factored(plan: CompressionPlan, wishes: Wishes) -> CompressionPlan:
    """The plan with single layers factored, or left whole."""
    if not wishes.rank.layers:
        return plan
    decided: dict[str, Any] = dict(plan.steps.get("low_rank", {}))
    for layer, how in wishes.rank.layers.items():
        decided.pop(layer, None)
        if how is not None:
            decided[layer] = how.decision()
    return plan.with_step("low_rank", decided)
