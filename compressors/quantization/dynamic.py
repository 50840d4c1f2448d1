"""Dynamic quantization as a step: linear layers multiply integers, and find the range of what they read as they run."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressors.folding import check_read_by_its_call, fold_batch_norm
from compressors.formats import format_named
from compressors.low_rank.paths import of_factors
from compressors.masking.layers import MASK, mask_of
from compressors.pipeline import Method, Options
from compressors.quantization.numerics import per_channel
from compressors.quantization.roundings import ROUNDINGS
from compressors.requests.quantized import QuantizeDynamically
from compressors.support import check_floats, check_no_hooks, check_own_type, check_sizes

INT8 = format_named("int8")
_LEVELS = 255
_SMALLEST_SCALE = 1e-12


class DynamicLinear(nn.Module):
    """A linear layer of int8 weights, with a scale per output, and float bias: (N, in) -> (N, out).

    Its inputs are rounded to 8 bits on a grid over the range of all that one call is given, as ONNX's
    DynamicQuantizeLinear does: a batch of one image has a finer grid than that image among others.

    codes: int8 (out, in); scales, bias: float32 (out,); a masked layer's mask goes with it.
    """

    is_traced_as_leaf = True
    codes: Tensor
    scales: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        rounding, weight = ROUNDINGS[INT8.rounding], linear.weight.detach()
        grid = rounding.fit(weight, INT8.codes)
        bias = torch.zeros_like(grid.steps) if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("codes", rounding.to_codes(weight, grid, INT8.codes).to(torch.int8))
        self.register_buffer("scales", grid.steps)
        self.register_buffer("bias", bias)
        if (mask := mask_of(linear)) is not None:
            self.register_buffer(MASK, mask)

    def forward(self, x: Tensor) -> Tensor:
        codes, scale = dynamic_codes(x)
        products: Tensor = F.linear(codes, self.codes.float())
        return products * (scale * self.scales) + self.bias

    @property
    def weight(self) -> Tensor:
        """What the codes stand for."""
        return self.codes.float() * per_channel(self.scales, self.codes)


def dynamic_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes less their zero point, as floats of x's shape, and the step of the grid over the range of x and zero."""
    low, high = (bound.float() for bound in torch.aminmax(x.detach()))
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = ((high - low) / _LEVELS).clamp(min=_SMALLEST_SCALE)
    zero_point = (-low / scale).round().clamp(0, _LEVELS)
    return (x / scale).round().add(zero_point).clamp(0, _LEVELS) - zero_point, scale


def _apply(network: nn.Module, record: QuantizeDynamically, _: Options) -> nn.Module:
    """Factors of a layer are quantized as the whole.

    Raises Unsupported where a format is asked of anything but a linear layer, ValueError for other formats.
    """
    folded = fold_batch_norm(network)
    calls = [str(node.target) for node in folded.graph.find_nodes(op="call_module")]
    for path, fmt in of_factors(record.formats, calls).items():
        layer = folded.get_submodule(path)
        check_own_type(path, layer, (nn.Linear,), "quantize dynamically")
        assert isinstance(layer, nn.Linear)
        if fmt != INT8.name:
            raise ValueError(f"{path}: dynamic quantization takes int8, got {fmt}")
        check_no_hooks(path, layer)
        check_floats(path, layer, (torch.float32,))
        check_sizes(path, layer)
        check_read_by_its_call(folded, path)
        folded.set_submodule(path, DynamicLinear(layer))
    folded.recompile()
    return folded


DYNAMIC = Method(apply=_apply)
