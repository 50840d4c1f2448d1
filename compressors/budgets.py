"""One budget of channels for a whole network, shared out over its channel groups. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressors.plan import NETWORK, is_number
from compressors.requests.shapes import GroupShape

LARGEST_SHARE = 0.875  # of the channels of a group that may go, and of those of the network


@dataclass(frozen=True)
class Budget:
    """The share `ratio` of all channels goes, in steps of `grid` channels; of those of `groups` alone, unless None.

    Channels are counted where they are written: what a group of channels counts as one may be several of them.
    """

    ratio: float
    grid: int = 8
    groups: tuple[str, ...] | None = None

    def among(self, groups: Sequence[Any]) -> list[Any]:
        """Those that share the budget, in the given order. Raises ValueError for names that are none of them."""
        if self.groups is None:
            return list(groups)
        known = {group.name for group in groups}
        if unknown := [name for name in self.groups if name not in known]:
            raise ValueError(f"pruned.network.groups: no channel group {', '.join(unknown)}, expected {sorted(known)}")
        return [group for group in groups if group.name in self.groups]


def budget_of(decisions: Mapping[str, Any]) -> Budget | None:
    """The budget that a plan's decisions ask for, {"network": {"ratio": r}} with `grid` and `groups` where given.

    None where nothing is to go. Raises ValueError, with the key, for whatever else.
    """
    if set(decisions) - {NETWORK} or not isinstance(asked := decisions.get(NETWORK, {}), Mapping):
        raise ValueError(f"pruned: expected {{'network': {{'ratio': ...}}}}, got {dict(decisions)}")
    if unknown := sorted(set(asked) - {"ratio", "grid", "groups"}):
        raise ValueError(f"pruned.network: expected ratio, grid and groups, got {', '.join(unknown)}")
    ratio, grid, groups = asked.get("ratio", 0.0), asked.get("grid", 8), asked.get("groups")
    if not is_number(ratio) or not 0 <= ratio <= LARGEST_SHARE:
        raise ValueError(f"pruned.network.ratio: expected 0..{LARGEST_SHARE}, got {ratio!r}")
    if not isinstance(grid, int) or not is_number(grid) or grid < 1:
        raise ValueError(f"pruned.network.grid: expected a whole number from 1 on, got {grid!r}")
    if groups is not None and not (isinstance(groups, list | tuple) and all(isinstance(g, str) for g in groups)):
        raise ValueError(f"pruned.network.groups: expected names of channel groups, got {groups!r}")
    return Budget(float(ratio), grid, None if groups is None else tuple(groups)) if ratio else None


def without(decisions: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """The decisions of a plan without groups that are gone; nothing where the budget was theirs alone."""
    budget = budget_of(decisions)
    if budget is None or budget.groups is None:
        return dict(decisions)
    left = [name for name in budget.groups if name not in gone]
    return {NETWORK: {**decisions[NETWORK], "groups": left}} if left else {}


def least_width(width: int, grid: int) -> int:
    """The fewest channels that are left of `width`: an eighth, rounded up to the grid."""
    return min(width, -(-width // (8 * grid)) * grid)


def own_grid(grid: int, unit: int) -> int:
    """The grid of a group in its own channels, each of which is `unit` channels of the layer that writes them."""
    return max(1, grid // unit)


def shared_out(
    scores: Mapping[str, Sequence[float]], ratio: float, grid: int, units: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Group -> channels kept, of the groups that lose any.

    `scores` are a group's, one per channel, comparable between groups; `units` say of groups whose channels are several
    of a layer how many. A group is cut in lots: down to a multiple of its grid first, then by that many channels, its
    least important ones first. Lots go by their mean score, the lowest first, until the sum of removed channels of
    layers is as near to `ratio` of all as it gets.
    """
    units = {name: (units or {}).get(name, 1) for name in scores}
    widths = {name: len(own) for name, own in scores.items()}
    lots = {name: _lots(own, own_grid(grid, units[name])) for name, own in scores.items()}
    waiting = sorted((mean, place, size, name) for name in lots for mean, place, size in lots[name])
    target, removed, kept = ratio * sum(widths[name] * units[name] for name in widths), 0, dict(widths)
    for _, _, size, name in waiting:
        channels = size * units[name]
        if abs(removed + channels - target) >= abs(removed - target):
            break
        removed += channels
        kept[name] -= size
    return {name: count for name, count in kept.items() if count < widths[name]}


def _lots(scores: Sequence[float], grid: int) -> Iterator[tuple[float, int, int]]:
    """What a group may lose, in order: mean score, place in the order, channels."""
    ascending, width = sorted(scores), len(scores)
    start, place = 0, 0
    while (left := width - start) > least_width(width, grid):
        size = (left - 1) % grid + 1
        yield sum(ascending[start : start + size]) / size, place, size
        start, place = start + size, place + 1


def fewest(groups: Sequence[GroupShape], budget: Budget) -> dict[str, int]:
    """Group -> the fewest channels that the budget can leave it, of those that may lose any."""
    total = sum(group.width * group.unit for group in groups)
    least = {group.name: _fewest(group, budget, total) for group in groups}
    return {group.name: least[group.name] for group in groups if least[group.name] < group.width}


def _fewest(group: GroupShape, budget: Budget, total: int) -> int:
    """The last lot goes where it brings the sum nearer to what is asked, hence by half of itself beyond it."""
    grid = own_grid(budget.grid, group.unit)
    most = int(budget.ratio * total + grid * group.unit / 2) // group.unit
    return max(least_width(group.width, grid), group.width - most)
