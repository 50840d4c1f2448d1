"""What a compressed network is held to: its file is as the closed form says, and a runtime answers as torch does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnxruntime import InferenceSession
from step_examples import ARCHITECTURE, CLASSES, small_network
from torch import Tensor, nn

from compressors.evidence import Evidence
from compressors.pipeline import STEPS, Options, compress
from compressors.plan import CompressionPlan
from compressors.steps import ordered
from nas.candidates.candidate import Candidate
from nas.runtimes.onnx.costs import read_costs
from nas.runtimes.onnx.emission import FileHeader, emit

HEADER = FileHeader(1, 8, tuple("abcd"))
ROWS, PAIRS = tuple(STEPS), tuple(itertools.combinations(STEPS, 2))


def images(count: int = 32) -> Tensor:
    """On the grid of pixels, which is exact in every file."""
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(3)).mul(255).round() / 255


def batches() -> list[Tensor]:
    return list(images().split(16))


def options() -> Options:
    labels = torch.arange(16) % CLASSES
    evidence = Evidence([(part, labels) for part in batches()])
    return Options(groups=ARCHITECTURE.all_groups(), evidence=evidence)


def compressed(plan: CompressionPlan, network: nn.Module | None = None) -> nn.Module:
    return compress(network or small_network(), plan, options(), batches()).eval()


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def file_of(network: nn.Module) -> onnx.ModelProto:
    return emit(network, HEADER)


def answers(model: onnx.ModelProto) -> Tensor:
    (logits,) = InferenceSession(model.SerializeToString()).run(None, {"image": images().numpy()})
    return torch.from_numpy(np.asarray(logits))


def legal(names: Sequence[str]) -> bool:
    try:
        ordered(names)
    except ValueError:
        return False
    return True


LEGAL = [pair for pair in PAIRS if legal(pair)]
ILLEGAL = [pair for pair in PAIRS if not legal(pair)]


def wholes() -> list[tuple[str, ...]]:
    """The largest sets of steps that may go together: no two of them are ways to do the same."""
    for size in range(len(ROWS), 0, -1):
        if found := [names for names in itertools.combinations(ROWS, size) if legal(names)]:
            return found
    return []


def check_file(plan: CompressionPlan, network: nn.Module) -> None:
    """Its parameters are those of the closed form, and the runtime answers as torch does."""
    candidate = Candidate(architecture=ARCHITECTURE, plan=plan)
    assert read_costs(file_of(network)).parameters == candidate.parameters(CLASSES)
    check_answers(network)


def check_answers(network: nn.Module) -> None:
    model = file_of(network)
    with torch.no_grad():
        expected = network(images())
    # Kernels round codes near a half in other directions.
    difference, spread = (answers(model) - expected).abs(), float(expected.std())
    assert float(difference.max()) < 0.1 * spread
    assert float(difference.mean()) < 0.02 * spread
    assert float((answers(model).argmax(1) == expected.argmax(1)).float().mean()) > 0.9
