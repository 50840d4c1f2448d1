"""A trained network out of its artifact folder, in floats: what `shipping` stored, put back into its modules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from compressors.pipeline import Options, compress
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.shaping import SHAPINGS
from nas.errors import InputError
from nas.run_folder.paths import read_evaluation
from search_spaces.building import build_any
from search_spaces.existing.known import remember_near

WEIGHTS = "weights.safetensors"


def trained_candidate(artifact: Path) -> Candidate:
    """What was trained into an artifact folder: where its plan depended on weights, what that came down to.

    Raises InputError where the folder holds no finished network.
    """
    evaluation = read_evaluation(artifact)
    if evaluation is None or evaluation.state not in ("COMPLETE", "INFEASIBLE") or not (artifact / WEIGHTS).exists():
        raise InputError(f"{artifact}: expected a finished network with its {WEIGHTS}, got none")
    _remember_network(artifact)
    record = artifact / "candidate.json"
    try:
        candidate = Candidate.from_json(json.loads(record.read_bytes()))
    except ValidationError as error:  # a network that is not known here, for one
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{record}: expected the record of a candidate, got another: {why}") from None
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(f"{record}: expected the record of a candidate, got none") from None
    return candidate.as_recorded(evaluation.resulted)


def _remember_network(artifact: Path) -> None:
    """Read which existing network the artifact is of, where it is of one: the candidate's record only names it."""
    try:
        remember_near(artifact)
    except ValueError as error:
        raise InputError(str(error)) from None


def restored(candidate: Candidate, weights: Path, num_classes: int) -> nn.Module:
    """The network as it was shipped, batch norm folded, on the CPU and in eval mode, without quantizers.

    Where a layer's integer codes are kept, it has the values they stand for; activations are floats. Raises InputError
    where the file does not hold the network's weights.
    """
    network = compress(
        build_any(candidate.architecture, num_classes, seed=0, begins=False),
        shape_plan(candidate.plan),
        Options(groups=candidate.groups()),
        (),
        trained=False,
    )
    try:
        stored = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{weights}: expected the weights of a network ({error})") from None
    for name, module in network.named_modules():
        if not any(True for _ in module.children()):
            _load(module, name, stored, weights)
    return network.eval()


def shape_plan(plan: CompressionPlan) -> CompressionPlan:
    """What of a plan changes shapes."""
    steps = {name: decisions for name, decisions in plan.steps.items() if name in SHAPINGS}
    return CompressionPlan(kept=plan.kept, steps=steps)


@torch.no_grad()
def _load(module: nn.Module, name: str, stored: Mapping[str, Tensor], file: Path) -> None:
    """Put what is stored of one module into it."""
    found, needed = layer_values(name, stored), module.state_dict().keys()
    for own, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        value = found.get(own)
        if value is None and own not in needed:
            continue  # the architecture tells it
        if value is None or value.shape != tensor.shape:
            came = "none" if value is None else f"one of shape {tuple(value.shape)}"
            raise InputError(f"{file}: expected {name}.{own} of shape {tuple(tensor.shape)}, got {came}")
        tensor.copy_(value)


def layer_values(name: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is stored under a module's name; of a quantized layer the weight and bias that its codes stand for."""
    own = {key[len(name) + 1 :]: value for key, value in stored.items() if key.rpartition(".")[0] == name}
    if "codes" not in own:
        return own
    entries = own["codes"].float() if "codebook" not in own else own["codebook"].float()[own["codes"].long()]
    each = (-1, *[1] * (entries.dim() - 1))
    if "zero_points" in own:
        entries = entries - own["zero_points"].float().reshape(each)
    if "mask" in own:
        entries = entries * own["mask"]
    # A layer that rounds its inputs as it runs has no grid for its bias, which is in floats.
    bias = own["bias"] if "bias" in own else own["bias_codes"].float() * own["input_scale"] * own["scales"]
    return {"weight": entries * own["scales"].reshape(each), "bias": bias}
