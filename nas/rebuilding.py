"""A trained float network as torch modules again, from the folder that holds it."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from compressors.pipeline import Options, compress
from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.workbench import Workbench, build

WEIGHTS, CANDIDATE = "weights.safetensors", "candidate.json"


def float_network(folder: Path, bench: Workbench) -> nn.Module:
    """The network as it is shipped, folded, on the CPU.

    Raises InputError where the folder lacks its candidate or weights, or where its layers hold integers.
    """
    try:
        candidate = Candidate.from_json(json.loads((folder / CANDIDATE).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, TypeError, SafetensorError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: expected {CANDIDATE} and {WEIGHTS} of a network, got {reason}") from None
    plan = candidate.plan
    if plan.formats or plan.steps:
        made = ", ".join(sorted({*plan.formats.values(), *plan.steps}))
        raise InputError(f"{folder}: expected a float network, whose feature maps can teach, got one with {made}")
    options = Options(groups=candidate.architecture.all_groups())
    network = compress(build(candidate, bench, seed=0, dropout=0.0).cpu(), plan, options, (), trained=False)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder / WEIGHTS}: expected the weights of its {CANDIDATE}, got {reason}") from None
    return network
