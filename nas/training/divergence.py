"""Whether a training has diverged: which values are no longer finite numbers, and where that was seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compressors.quantization.activations import ActivationQuantizer
from nas.errors import TrainingDiverged


def require_finite(values: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Raise TrainingDiverged with the names of those `values` that hold NaN or infinity; `where` ends the message.

    The device is waited for once.
    """
    floats = [(name, tensor) for name, tensor in values if tensor.is_floating_point()]
    if not floats:
        return
    finite = torch.stack([torch.isfinite(tensor).all() for _, tensor in floats]).tolist()
    bad = list(dict.fromkeys(name for (name, _), is_finite in zip(floats, finite, strict=True) if not is_finite))
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise TrainingDiverged(f"NaN or infinity in {bad[0]}{more} {where}")


@contextmanager
def overflow_diverges(where: str) -> Iterator[None]:
    """Raise TrainingDiverged where Python or torch refuse a number as too large: a rate or a penalty, for example."""
    try:
        yield
    except (OverflowError, RuntimeError) as error:
        if isinstance(error, OverflowError) or "without overflow" in str(error):
            raise TrainingDiverged(f"a number is too large for float32 in {where}") from error
        raise


def learned_values(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights, batch-norm statistics and quantization scales by name.

    The bounds of an activation's range are left out: they are infinite until something is observed, and the scale is
    computed from them.
    """
    ranges = [name for name, module in network.named_modules() if isinstance(module, ActivationQuantizer)]
    bounds = {f"{name}.{bound}" for name in ranges for bound in ("low", "high")}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name not in bounds:
            yield name, tensor
