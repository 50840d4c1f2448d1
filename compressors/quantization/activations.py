"""Activations on a grid: one per tensor, as a scheme says, with a range that is observed, given or known beforehand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressors.formats import UNSIGNED_8, ActivationScheme
from compressors.quantization.fixed_point import power_above
from compressors.quantization.numerics import RoundToGrid


class ActivationQuantizer(nn.Module):
    """Rounds a tensor to the codes of a scheme and back; gradients pass straight through inside the range.

    While `observing`, each forward pass first moves the range towards the batch's by `momentum`. With `fixed`,
    a (scale, zero point) pair, nothing is ever observed. `ceiling` bounds the range from above (6 after ReLU6).
    """

    is_traced_as_leaf = True
    low: Tensor
    high: Tensor
    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        *,
        fixed: tuple[float, int] | None = None,
        ceiling: float = torch.inf,
        momentum: float = 0.1,
        scheme: ActivationScheme = UNSIGNED_8,
    ) -> None:
        super().__init__()
        scale, zero_point = fixed or (1.0, 0)
        self.is_fixed, self.ceiling, self.momentum = fixed is not None, ceiling, momentum
        self.scheme, self.observing = scheme, False
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("zero_point", torch.tensor(zero_point, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        if self.observing and not self.is_fixed:
            self._observe(x.detach())
        if x.device.type == "cpu":
            rounded: Tensor = RoundToGrid.apply(x, *self.grid(), self.scheme.low, self.scheme.high)
            return rounded
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, self.scheme.low, self.scheme.high)

    def _observe(self, x: Tensor) -> None:
        low, high = (bound.to(self.low.dtype) for bound in torch.aminmax(x))
        first = torch.isinf(self.low)
        self.low.copy_(torch.where(first, low, torch.lerp(self.low, low, self.momentum)))
        self.high.copy_(torch.where(first, high, torch.lerp(self.high, high, self.momentum)).clamp(max=self.ceiling))
        self._set_grid()

    @torch.no_grad()
    def set_range(self, low: float, high: float) -> None:
        """Lay the grid over a range that was found elsewhere; one that is fixed stays as it is."""
        if not self.is_fixed:
            self.low.fill_(low)
            self.high.fill_(high).clamp_(max=self.ceiling)
            self._set_grid()

    def _set_grid(self) -> None:
        bottom, top = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        if self.scheme.symmetric:
            self.scale.copy_(torch.maximum(-bottom, top).clamp(min=1e-6) / self.scheme.high)
        else:
            self.scale.copy_((top - bottom).clamp(min=1e-6) / self.scheme.levels)
        if self.scheme.powers_of_two:
            self.scale.copy_(self._power_of_two())
        if not self.scheme.symmetric:
            self.zero_point.copy_((-bottom / self.scale / self._unit).round() * self._unit + self.scheme.low)

    @property
    def _unit(self) -> int:
        """What zero points are multiples of. On scales that are powers of two exact halves are frequent; they go to
        the even code, and kernels that add the zero point before they round find the same one where it is even itself.
        """
        return 2 if self.scheme.powers_of_two else 1

    def _power_of_two(self) -> Tensor:
        """The scale that just holds the range; under a ceiling one that ends below it, so that nothing is clipped
        before it is rounded.
        """
        covering = power_above(self.scale)
        if self.ceiling == torch.inf:
            return covering
        highest = torch.full_like(covering, self.ceiling / self.scheme.levels)
        return torch.minimum(covering, power_above(highest * (1 + 1e-6)) / 2)

    def grid(self) -> tuple[float, int]:
        """Scale and zero point."""
        return float(self.scale), int(self.zero_point)


class SharedGrid(nn.Module):
    """Behind a move of codes: they lie on the grid they come from, so nothing is rounded or observed."""

    is_traced_as_leaf = True

    def __init__(self, source: ActivationQuantizer) -> None:
        super().__init__()
        self._source = (source,)  # in a tuple, so that its buffers are not registered here a second time

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def source(self) -> ActivationQuantizer:
        return self._source[0]

    @property
    def scheme(self) -> ActivationScheme:
        return self.source.scheme

    def grid(self) -> tuple[float, int]:
        return self.source.grid()


def observe(module: nn.Module, on: bool) -> None:
    """Switch range observation of every activation quantizer."""
    for child in module.modules():
        if isinstance(child, ActivationQuantizer):
            child.observing = on
