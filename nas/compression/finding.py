"""A plan that keeps to limits, found by costs alone: they depend on structure, which is known without training.

A ladder of rungs is climbed, the mildest first: 8-bit integers, then channels are cut, by one ratio for all groups,
then layers are factored too, at last weights get 4 bits. Of the first rung that can keep the limits it is the least
ratio that does. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from compressors.formats import WeightFormat
from compressors.low_rank.factoring import Factoring
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError

STEP = 1 / 64  # of the ratio
MARGINS = {"latency_ms": 1.03}  # measured again when it is trained, two passes differ by so much
Costs = Mapping[str, float]


@dataclass(frozen=True)
class Rung:
    """Formats and factoring of all layers, and the largest ratio that is tried with them."""

    format: WeightFormat
    rank: Factoring | None
    largest_ratio: float


HALF = Factoring(method="svd", ratio=0.5)
LADDER = (Rung("int8", None, 0.75), Rung("int8", HALF, 0.75), Rung("int4", HALF, 0.875))


@dataclass(frozen=True)
class Found:
    """Wishes by which the limits are kept, the costs of what they come to, and how many plans were looked at."""

    wishes: Wishes
    costs: Costs
    tried: int


def find(wishes: Wishes, costs_of: Callable[[Wishes], Costs], *, say: Callable[[str], None] = lambda _: None) -> Found:
    """The mildest wishes of the ladder that keep to the limits; what the user says stays as it is.

    `costs_of` tells the costs that are limited, without training. Raises InputError where no rung keeps to them.
    """
    tried, costs = 0, dict[str, float]()

    def keeps(asked: Wishes) -> bool:
        nonlocal tried, costs
        tried, costs = tried + 1, dict(costs_of(asked))
        say(words(asked))
        return not missed(costs, wishes.limits)

    for rung in rungs(wishes):
        if (ratio := least_ratio(lambda share, rung=rung: keeps(at(wishes, rung, share)), rung.largest_ratio)) is None:  # type: ignore[misc]
            continue
        found = at(wishes, rung, ratio)
        return Found(found, dict(costs_of(found)), tried)
    raise InputError(f"--max: no plan keeps to it: with {words(strongest(wishes))}, {shortfall(costs, wishes.limits)}")


def least_ratio(keeps: Callable[[float], bool], largest: float) -> float | None:
    """The least multiple of STEP up to `largest` that `keeps`, by bisection; None where even that does not."""
    if keeps(0.0):
        return 0.0
    if not keeps(largest):
        return None
    low, high = 0, round(largest / STEP)  # low does not keep, high does
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle * STEP) else (middle, high)
    return high * STEP


def rungs(wishes: Wishes) -> Iterator[Rung]:
    """The ladder with what the user says in place, each rung once."""
    seen = set[Rung]()
    for rung in LADDER:
        own = replace(
            rung,
            format=wishes.format.choices[0] if wishes.format.choices else rung.format,
            rank=wishes.rank.choices[0] if wishes.rank.choices else rung.rank,
        )
        if own not in seen:
            seen.add(own)
            yield own


def strongest(wishes: Wishes) -> Wishes:
    """The strongest of the ladder."""
    *_, last = rungs(wishes)
    return at(wishes, last, last.largest_ratio)


def at(wishes: Wishes, rung: Rung, ratio: float) -> Wishes:
    """The wishes with a rung's plan and a ratio; what is said of single layers stays."""
    return replace(
        wishes,
        ratio=Asked((ratio,), wishes.ratio.layers),
        format=Asked((rung.format,), wishes.format.layers),
        rank=Asked((rung.rank,), wishes.rank.layers),
    )


def missed(costs: Costs, limits: Mapping[str, float]) -> list[str]:
    """The limits that these costs break, with a margin for what is measured."""
    return [name for name, limit in limits.items() if costs[name] * MARGINS.get(name, 1.0) > limit]


def shortfall(costs: Costs, limits: Mapping[str, float]) -> str:
    """By what the limits are broken, in words."""
    return "; ".join(f"{name} is {costs[name]:,.6g} of at most {limits[name]:,.6g}" for name in missed(costs, limits))


def words(wishes: Wishes) -> str:
    """The plan for all layers in a few words: `int8, 0.25 of channels cut`."""
    told = [str(one) for one in wishes.format.choices]
    told += [f"{one:.4g} of channels cut" for one in wishes.ratio.choices if one]
    told += [f"low rank ({one})" for one in wishes.rank.choices if one is not None]
    return ", ".join(told) or "nothing changed"
