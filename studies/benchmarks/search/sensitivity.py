"""Formats of weights by sensitivity and integer program, as in HAWQ-V3 (Yao et al. 2021, arXiv:2011.10680).

A layer's sensitivity to a format is the mean of the Hessian's diagonal, of the loss by its weights, times the squared
error of rounding them (Dong et al. 2020, arXiv:1911.03852); the trace is estimated with random signs (Hutchinson 1990).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from compressors.formats import FORMATS
from compressors.quantization.roundings import ROUNDINGS

STEP = 1e-4  # along the random signs
Table = Mapping[str, Mapping[str, float]]  # by group of layers and format


def hessian_traces(
    network: nn.Module, layers: Sequence[str], images: Tensor, labels: Tensor, *, probes: int = 16
) -> dict[str, float]:
    """Trace of each layer's block of the Hessian of the cross-entropy by its weights.

    Products with the Hessian are differences of gradients: some activations have no second derivative in torch.
    images: (N, C, H, W), as the network takes them; labels: (N,).
    """
    network, images = copy.deepcopy(network).double().eval(), images.double()
    weights = [network.get_submodule(name).get_parameter("weight") for name in layers]

    def gradients_at(signs: Sequence[Tensor], length: float) -> Sequence[Tensor]:
        with torch.no_grad():
            for weight, sign in zip(weights, signs, strict=True):
                weight.add_(sign, alpha=length)
        found = torch.autograd.grad(nn.functional.cross_entropy(network(images), labels), weights)
        with torch.no_grad():
            for weight, sign in zip(weights, signs, strict=True):
                weight.sub_(sign, alpha=length)
        return found

    generator, sums = torch.Generator().manual_seed(0), [0.0] * len(weights)
    for _ in range(probes):
        signs = [torch.randint(0, 2, w.shape, generator=generator).to(w) * 2 - 1 for w in weights]
        ahead, behind = gradients_at(signs, STEP), gradients_at(signs, -STEP)
        products = [float((s * (a - b)).sum()) / (2 * STEP) for s, a, b in zip(signs, ahead, behind, strict=True)]
        sums = [total + product for total, product in zip(sums, products, strict=True)]
    return {name: total / probes for name, total in zip(layers, sums, strict=True)}


def rounding_error(weight: Tensor, name: str) -> float:
    """Sum of the squared errors of weights (out, ...) in a format."""
    row = FORMATS[name]
    if row.is_float:
        return 0.0
    rounding = ROUNDINGS[row.rounding]
    return float((rounding.on_grid(weight, rounding.fit(weight, row.codes), row.codes) - weight).square().sum())


def cheapest_harm(harm: Table, size: Table, limit: float) -> dict[str, str] | None:
    """A format for each group: the least sum of `harm` with a sum of `size` of at most `limit`; None: none is so small.

    An integer program with one binary variable for each group and format.
    """
    pairs = [(group, name) for group, formats in harm.items() for name in formats]
    costs = np.array([harm[group][name] for group, name in pairs])
    one_each = np.array([[float(group == own) for own, _ in pairs] for group in harm])
    sizes = np.array([[size[group][name] for group, name in pairs]])
    constraints = [LinearConstraint(one_each, 1, 1), LinearConstraint(sizes, -np.inf, limit)]
    scale = max(float(np.abs(costs).max()), 1e-30)  # the solver's tolerances are absolute
    found = milp(costs / scale, constraints=constraints, bounds=Bounds(0, 1), integrality=np.ones(len(pairs)))
    if found.x is None:
        return None
    return {group: name for (group, name), taken in zip(pairs, found.x, strict=True) if taken > 0.5}
