"""How many candidates a space holds, in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from compressors.plan import CompressionPlan
from nas.candidates.sampling import DRAWS, Draw, edge_formats
from nas.study import Compression, Study
from search_spaces.protocols import SpaceLike
from search_spaces.sites import BlockSite
from search_spaces.spaces import Space
from search_spaces.trials import Pick, last

Sites = Sequence[BlockSite]


def candidates_of(study: Study) -> int:
    """Number of ways to answer all questions of `sample_of`."""
    size = space_size(study.space, study.compression, input_channels=study.data.input_channels)
    return size * len(study.training.quantizations)


def space_size(space: SpaceLike, compression: Compression, *, input_channels: Literal[1, 3] = 1) -> int:
    """Number of ways to answer all questions of `sample`; a gene that is not asked for multiplies by 1.

    With `stage_widths` it counts a ratio for the stem and every stage, also where a skip ties two of them together or a
    block splits one, which is then not pruned. Of what further rows of DRAWS ask, every network is taken to be asked as
    much as the largest.
    """
    if not isinstance(space, Space):  # every draw is asked the same
        return _ways_of(space, compression, DRAWS.values(), input_channels) * len(space.input_sizes)
    return _plain_size(space, compression) * _further_ways(space, compression)


def _plain_size(space: Space, compression: Compression) -> int:
    """The size by architecture, pruning ratios and formats."""
    is_global = compression.pruning_scope == "global"  # its one ratio is asked for by a further row
    ratios, formats = 1 if is_global else len(compression.pruning_ratio), len(compression.weight_format)
    edges = len(edge_formats(compression)) ** 2
    widths = ratios ** (1 + len(space.stages)) if compression.stage_widths else 1

    def head(width: int) -> int:
        return formats if width else 1

    def together(firsts: Sites, others: Sites, depth: int) -> int:
        unpruned = 0 if compression.stage_widths else _unpruned(firsts, others, depth)
        return formats * (ratios * (_all(firsts, others, depth) - unpruned) + unpruned)

    match compression.granularity:
        case "network":
            unpruned = 0 if compression.stage_widths else space.count(_unpruned, lambda _: 1)
            return formats * (ratios * (space.count(_all, lambda _: 1) - unpruned) + unpruned)
        case "stage":
            return (ratios if compression.stage_widths else 1) * space.count(together, head) * edges
        case "block":
            blocks = _each(lambda site: formats * (ratios if site.has_group else 1))
            return widths * space.count(blocks, head) * edges
        case "layer":
            blocks = _each(lambda site: formats ** len(site.rows()) * (ratios if site.has_group else 1))
            return widths * space.count(blocks, head) * edges


def _further_ways(space: SpaceLike, compression: Compression) -> int:
    """Ways to answer what rows of DRAWS ask for the `steps` of a plan, of the largest network of any kind."""
    rows = [draw for name, draw in DRAWS.items() if name not in CompressionPlan.model_fields]
    return max(_ways_of(kind, compression, rows, 1) for kind in space.of_one_kind()) if rows else 1


def _ways_of(space: SpaceLike, compression: Compression, rows: Iterable[Draw], input_channels: Literal[1, 3]) -> int:
    """Ways to answer what these rows ask of the largest network."""
    architecture, asked = space.sample(Pick(last), input_channels=input_channels), _Asked()
    for draw in rows:
        draw(asked, architecture, compression, grid=space.width_grid)
    return math.prod(asked.choices.values())


class _Asked(Pick):
    """A trial that notes how many choices each gene has."""

    def __init__(self) -> None:
        super().__init__(last)
        self.choices: dict[str, int] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.choices[name] = len(choices)
        return super().suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.choices[name] = high - low + 1
        return super().suggest_int(name, low, high)


def _all(firsts: Sites, others: Sites, depth: int) -> int:
    """Stages of `depth` blocks: one of `firsts` and then any of `others`."""
    total: int = len(firsts) * len(others) ** (depth - 1)
    return total


def _unpruned(firsts: Sites, others: Sites, depth: int) -> int:
    """Stages without any free inner width."""
    return _each(lambda site: not site.has_group)(firsts, others, depth)


def _each(ways: Callable[[BlockSite], int]) -> Callable[[Sites, Sites, int], int]:
    """Stages counted with `ways(site)` for each of their blocks."""

    def count(firsts: Sites, others: Sites, depth: int) -> int:
        total: int = sum(map(ways, firsts)) * sum(map(ways, others)) ** (depth - 1)
        return total

    return count
