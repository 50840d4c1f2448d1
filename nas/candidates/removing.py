"""What is left of a network whose blocks or activations are removed: parts, channel groups, decisions. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.layers import ChannelGroup, Member
from search_spaces.linear import linear_part, merged_away, merges, own_activations
from search_spaces.parts import Part
from search_spaces.protocols import ArchitectureLike
from search_spaces.sites import BlockSite

BLOCKS, ACTIVATIONS = "blocks_removed", "activations_removed"
Steps = Mapping[str, Mapping[str, Any]]


def removable_block(site: BlockSite | None) -> bool:
    """Whether a block may go: where its input is added to its output, the input is left."""
    return site is not None and site.has_skip


def removable_activations(site: BlockSite | None) -> bool:
    """Whether a block has activations of its own, at places that are known."""
    return site is not None and bool(own_activations(site))


def without_block(part: Part, decisions: Mapping[str, Any]) -> Part | None:
    """The part, or None where it is removed."""
    return None if decisions.get(part.name) else part


def without_activations(part: Part, decisions: Mapping[str, Any]) -> Part | None:
    """The part, with fewer layers where some are merged."""
    return linear_part(part) if decisions.get(part.name) else part


@dataclass(frozen=True)
class Gone:
    """What removal leaves no place for: layers, channel groups, and blocks; by name."""

    layers: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()


def check_removals(architecture: ArchitectureLike, steps: Steps) -> None:
    """Raises ValueError for names that are no blocks of this network, and for blocks from which nothing can go."""
    sites = {site.name: site for site in architecture.blocks()}
    for step, what, may_go in (
        (BLOCKS, "a skip", removable_block), (ACTIVATIONS, "activations at known places", removable_activations),
    ):  # fmt: skip
        for name in steps.get(step, {}):
            if name not in sites:
                raise ValueError(f"plan names {name}, which this architecture does not have")
            if not may_go(sites[name]):
                kind = sites[name].config.kind
                raise ValueError(f"plan.steps.{step}: expected a block with {what}, got {name} ({kind})")


def gone_from(architecture: ArchitectureLike, steps: Steps) -> Gone:
    """What a plan with these steps leaves out."""
    removed, linear = steps.get(BLOCKS, {}), steps.get(ACTIVATIONS, {})
    if not removed and not linear:
        return Gone()
    layers, groups = set[str](), set[str]()
    for site in architecture.blocks():
        if site.name in removed:
            layers |= {f"{site.name}.{row.layer}" for row in site.rows()}
            groups.add(site.group_name)
        elif site.name in linear:
            layers |= set(merged_away(site))
    for site in architecture.blocks():
        if site.name in linear and site.name not in removed and site.has_group:
            writers = {name for name, axis in site.group().members if axis == 0 and not name.endswith("_bn")}
            groups |= {site.group_name} if writers <= layers else set()
    return Gone(frozenset(layers), frozenset(groups), frozenset(removed))


def groups_left(architecture: ArchitectureLike, steps: Steps) -> tuple[ChannelGroup, ...]:
    """Everything that can be pruned, of the layers that stay; a merged layer reads what its first part read."""
    gone = gone_from(architecture, steps)
    if not (gone.layers or gone.blocks):
        return architecture.all_groups()
    renamed = dict(_renamed(architecture, steps))
    groups = (group for group in architecture.all_groups() if group.name not in gone.groups)
    return tuple(replace(group, members=tuple(_members(group, gone, renamed))) for group in groups)


def _renamed(architecture: ArchitectureLike, steps: Steps) -> Iterator[tuple[str, str]]:
    """Every layer that is merged away, and the layer that takes it in."""
    for site in architecture.blocks():
        if site.name in steps.get(ACTIVATIONS, {}) and site.name not in steps.get(BLOCKS, {}):
            yield from ((f"{site.name}.{a}", f"{site.name}.{b}") for a, b in merges(site).items())


def _members(group: ChannelGroup, gone: Gone, renamed: Mapping[str, str]) -> Iterator[Member]:
    for name, axis in group.members:
        if axis == 1 and name in renamed:
            yield (_last(name, renamed), axis)
        elif name.removesuffix("_bn") not in gone.layers:
            yield (name, axis)


def _last(name: str, renamed: Mapping[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name
