"""What ranks single weights: one score per weight; the lowest become zero first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from compressors.evidence import Evidence, evaluating
from compressors.masking.layers import Layer
from compressors.requests.masked import Ranking

Scores = dict[str, Tensor]
Scoring = Callable[[nn.Module, Mapping[str, Layer], Evidence | None], Scores]


def magnitudes(_: nn.Module, layers: Mapping[str, Layer], __: Evidence | None) -> Scores:
    """|w| (Han et al. 2015, arXiv:1506.02626)."""
    return {name: layer.weight.detach().abs() for name, layer in layers.items()}


def sensitivities(network: nn.Module, layers: Mapping[str, Layer], evidence: Evidence | None) -> Scores:
    """|w * dL/dw| with the mean loss over the evidence: how much the loss changes where w goes (SNIP, Lee et al. 2019,
    arXiv:1810.02340). Raises ValueError without evidence.
    """
    if evidence is None:
        raise ValueError("mask: expected evidence, which by: sensitivity reads, got None")
    gradients = _gradients(network, {name: layer.weight for name, layer in layers.items()}, evidence)
    return {name: (layers[name].weight.detach() * gradient).abs() for name, gradient in gradients.items()}


def _gradients(network: nn.Module, weights: Mapping[str, Tensor], evidence: Evidence) -> Scores:
    """Gradients of the mean loss, by running statistics of batch norm."""
    totals, images = {name: torch.zeros_like(weight) for name, weight in weights.items()}, 0
    with evaluating(network):
        for batch, labels in evidence.batches:
            loss = evidence.loss(network(batch), labels) * len(labels)
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for total, gradient in zip(totals.values(), found, strict=True):
                if gradient is not None:
                    total += gradient
            images += len(labels)
    return {name: total / max(1, images) for name, total in totals.items()}


SCORINGS: Mapping[Ranking, Scoring] = {"magnitude": magnitudes, "sensitivity": sensitivities}
