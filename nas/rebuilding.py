"""A trained float network as torch modules again, from the folder that holds it."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from compressors.pipeline import Options, compress
from nas.candidates.corners import float_candidate
from nas.errors import InputError
from nas.workbench import Workbench, build

WEIGHTS = "weights.safetensors"


def float_network(folder: Path, bench: Workbench, *, key: str) -> nn.Module:
    """The network as it is shipped, folded, on the CPU.

    Raises InputError, beginning with `key`, where the folder lacks its candidate or weights, or where its layers hold
    integers.
    """
    candidate = float_candidate(folder, key=key)
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{key}: expected {WEIGHTS} of a network in {folder}, got {error}") from None
    plan = candidate.plan
    options = Options(groups=candidate.architecture.all_groups())
    network = compress(build(candidate, bench, seed=0, dropout=0.0).cpu(), plan, options, (), trained=False)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{key}: expected {folder / WEIGHTS} to fit its candidate.json, got {reason}") from None
    return network
