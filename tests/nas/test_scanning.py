"""One change at a time: against the change made by hand, and nothing is computed twice."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from drafts import shared
from known_networks import architecture_of
from torch import Tensor, fx, nn

import nas.scanning
from compressors.folding import fold_batch_norm
from compressors.plan import CompressionPlan
from compressors.pruning import prune, weight_norm
from compressors.quantization import calibrate, prepare
from nas.candidates.candidate import Candidate
from nas.run_folder.sensitivity import Point
from nas.scanning import Changes, Subject, scan, with_format, without_channels
from search_spaces.architecture import Architecture, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.network import build_network

torch.set_num_threads(1)

BLOCK = InvertedResidualConfig(kernel=3, expansion=2)
ARCHITECTURE = Architecture(
    input_size=8,
    input_channels=1,
    stem=StemConfig(width=8),
    stages=(StageConfig(width=8, stride=2, blocks=(BLOCK, BLOCK)),),
    head=None,
)
KEPT = {"stage1.block2.inner": 12}
GROUPS = ("stage1.block1.inner", "stage1.block2.inner")
CHANGES = Changes(formats=("int8", "int2"), ratios=(0.25, 0.5), groups=GROUPS, grid=4)


@pytest.fixture(scope="module")
def subject() -> Subject:
    candidate = Candidate(architecture=ARCHITECTURE, plan=CompressionPlan(kept=KEPT))
    network = build_network(ARCHITECTURE, 4, seed=0)
    prune(network, candidate.groups(), KEPT, importance=weight_norm(1))
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(0, 0.5)
    pixels = torch.randint(0, 256, (120, 1, 8, 8), dtype=torch.uint8)
    folded = fold_batch_norm(network.eval())
    labels = folded(pixels / 255).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return Subject(folded, candidate, [pixels[:40] / 255], pixels, labels)


def outputs(network: nn.Module) -> Tensor:
    pixels = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found: Tensor = network.eval()(pixels).detach()
    return found


def test_every_change_in_order(subject: Subject) -> None:
    layers = [layer.name for layer in subject.candidate.layers(4)]
    found = [(point.kind, point.name, point.value) for point in scan(subject, CHANGES)]
    assert found == CHANGES.all_of(subject.candidate)
    assert found == [("format", layer, fmt) for layer in layers for fmt in ("int8", "int2")] + [
        ("ratio", group, ratio) for group in GROUPS for ratio in (0.25, 0.5)
    ]


def test_a_layer_that_is_run_again_has_no_format() -> None:
    """Which it can never have: the scan would end there."""
    architecture = architecture_of(shared())
    changes = Changes(formats=("int8",), ratios=(), groups=(), grid=1)
    layers = [layer.name for layer in architecture.layers(1)]
    assert "again" in layers
    names = [name for _, name, _ in changes.all_of(Candidate(architecture=architecture))]
    assert names == [name for name in layers if name != "again"]


def test_the_network_itself_is_right_on_four_fifths(subject: Subject) -> None:
    before = copy.deepcopy(subject.network.state_dict())
    points = list(scan(subject, CHANGES))
    assert subject.accuracy() == pytest.approx(0.8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.network.state_dict().items())
    assert max(p.accuracy for p in points if p.value == "int8") > min(p.accuracy for p in points if p.value == "int2")


def test_a_format_is_that_of_one_layer(subject: Subject) -> None:
    changed = with_format(subject, "stage1.block2.project", "int2")
    by_hand = prepare(subject.network, {"stage1.block2.project": "int2"})
    calibrate(by_hand, subject.batches)
    assert torch.equal(outputs(changed), outputs(by_hand))
    assert len(changed.get_submodule("stage1.block2.project").packed().codes.unique()) <= 4
    assert type(changed.get_submodule("stage1.block2.expand")) is nn.Conv2d


def test_a_ratio_is_of_the_width_before_any_pruning(subject: Subject) -> None:
    """16 channels, of which 12 are left: a quarter less is what there is, a half less leaves 8 of 16."""
    assert without_channels(subject, "stage1.block2.inner", 0.25, 4) is None
    changed = without_channels(subject, "stage1.block2.inner", 0.5, 4)
    assert changed is not None
    assert changed.get_submodule("stage1.block2.depthwise").out_channels == 8
    whole = next(p for p in scan(subject, CHANGES) if (p.name, p.value) == ("stage1.block2.inner", 0.25))
    assert whole.accuracy == pytest.approx(0.8)


def test_the_channels_of_least_norm_go(subject: Subject) -> None:
    name = "stage1.block1"
    changed = without_channels(subject, f"{name}.inner", 0.5, 4)
    assert changed is not None
    by_hand = copy.deepcopy(subject.network)
    expand, depthwise, project = (by_hand.get_submodule(f"{name}.{n}") for n in ("expand", "depthwise", "project"))
    norms = [expand.weight.flatten(1), depthwise.weight.flatten(1), project.weight[:, :, 0, 0].T]
    scores = sum(rows.norm(dim=1) / rows.norm(dim=1).mean() for rows in norms)
    gone = scores.argsort()[:8]
    project.weight.data[:, gone] = 0  # nobody reads them
    assert torch.allclose(outputs(changed), outputs(by_hand), atol=1e-6)


def test_what_is_known_is_not_computed_again(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = nas.scanning.with_format

    def counting(subject: Subject, layer: str, weight_format: str) -> fx.GraphModule:
        made.append(f"{layer} {weight_format}")
        return original(subject, layer, weight_format)

    monkeypatch.setattr(nas.scanning, "with_format", counting)
    known = Point(kind="format", name="stem.conv", value="int2", accuracy=0.125)
    strange = Point(kind="format", name="stem.conv", value="int3", accuracy=0.5)
    few = Changes(formats=("int8", "int2"), ratios=(), groups=(), grid=4)
    found: Iterator[Point] = scan(subject, few, [strange, known])
    assert next(found) == known
    rest = list(found)
    assert known not in rest
    assert strange not in rest
    assert len(made) == len(rest) == 2 * len(subject.candidate.layers(4)) - 1
