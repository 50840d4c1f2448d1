"""The table of roundings: how weights are brought to the codes of a format, by the name that FORMATS has for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from compressors.quantization import asymmetric, codebook, fixed_point, numerics, signs
from compressors.quantization.rounding import Grid, Rounding

__all__ = ["ROUNDINGS", "Grid", "Rounding"]


def _nearest(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    return numerics.nearest_codes(weight, grid.steps, codes)


def _rounded(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    return numerics.rounded(weight, grid.steps, codes)


def _learned(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    return numerics.learned_step(weight, grid.steps, codes)


def _by_scales(scales: Callable[[Tensor, range], Tensor]) -> Callable[[Tensor, range], Grid]:
    return lambda weight, codes: Grid(scales(weight, codes))


def _asymmetric_fit(weight: Tensor, codes: range) -> Grid:
    return Grid(*asymmetric.range_grid(weight, codes))


def _asymmetric_codes(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    assert grid.zero_points is not None
    return asymmetric.shifted_codes(weight, grid.steps, grid.zero_points, codes)


def _asymmetric_values(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    assert grid.zero_points is not None
    return asymmetric.on_shifted_grid(weight, grid.steps, grid.zero_points, codes)


def _codebook_fit(weight: Tensor, codes: range) -> Grid:
    entries = codebook.kmeans(weight, len(codes))
    return Grid(codebook.entry_step(entries).repeat(len(weight)), entries=entries)


def _codebook_steps(grid: Grid, floor: Tensor) -> Tensor:
    assert grid.entries is not None
    return torch.maximum(codebook.entry_step(grid.entries), floor.amax()).repeat(len(floor))


def _codebook_codes(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    assert grid.entries is not None
    stored = codebook.entry_codes(grid.entries, grid.steps[0]) * grid.steps[0]
    return codebook.index_codes(codebook.nearest_entries(weight, stored), len(codes)).to(weight.dtype)


def _codebook_values(weight: Tensor, grid: Grid, _: range) -> Tensor:
    assert grid.entries is not None
    return codebook.on_entries(weight, grid.entries, grid.steps[0])


def _codebook_positions(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    assert grid.entries is not None
    return codes[0] + codebook.between(weight, grid.entries, grid.steps[0])


def _asymmetric_positions(weight: Tensor, grid: Grid, codes: range) -> Tensor:
    assert grid.zero_points is not None
    return numerics.in_steps(weight, grid.steps, codes) + numerics.per_channel(grid.zero_points, weight)


ROUNDINGS: dict[str, Rounding] = {
    "uniform": Rounding(
        fit=_by_scales(numerics.mse_scales),
        to_codes=_nearest,
        on_grid=_rounded,
        learned=_learned,
    ),
    "ternary": Rounding(
        fit=_by_scales(lambda weight, _: signs.ternary_scales(weight)),
        to_codes=_nearest,
        on_grid=_rounded,
        learned=_learned,
    ),
    "binary": Rounding(
        fit=_by_scales(lambda weight, _: signs.mean_magnitudes(weight)),
        to_codes=lambda weight, *_: signs.sign_codes(weight),
        on_grid=lambda weight, grid, _: signs.on_signs(weight, grid.steps),
        learned=lambda weight, grid, _: signs.learned_signs(weight, grid.steps),
    ),
    "codebook": Rounding(
        fit=_codebook_fit,
        to_codes=_codebook_codes,
        on_grid=_codebook_values,
        steps=_codebook_steps,
        of_channels=False,
        positions=_codebook_positions,
    ),
    "pow2": Rounding(
        fit=_by_scales(fixed_point.power_scales),
        to_codes=_nearest,
        on_grid=_rounded,
        steps=lambda grid, floor: fixed_point.power_above(torch.maximum(grid.steps, floor)),
        of_channels=False,
    ),
    "asymmetric": Rounding(
        fit=_asymmetric_fit,
        to_codes=_asymmetric_codes,
        on_grid=_asymmetric_values,
        positions=_asymmetric_positions,
    ),
}
