"""What a teacher holds inside, in the loss: which parts are compared, and what the loss then is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from compressors.distillation import attention_loss, distillation_loss, feature_loss, soft_targets
from compressors.quantization import calibrate, prepare
from nas.errors import InputError
from nas.training.augmentation import Batch
from nas.training.hints import Hints, Pair, pairs_of, stage_ends
from nas.training.losses import Loss, network_teacher
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig
from search_spaces.network import build_network

torch.set_num_threads(1)
IMAGES = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
BATCH = Batch(IMAGES, torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6))


def network(*depths: int, width: int = 8, seed: int = 0) -> nn.Module:
    block = InvertedResidualConfig(kernel=3, expansion=1)
    stages = tuple(StageConfig(width=width, stride=2 if i else 1, blocks=(block,) * n) for i, n in enumerate(depths))
    architecture = Architecture(
        input_size=16, input_channels=1, stem=StemConfig(width=8), stages=stages, head=HeadConfig(width=8)
    )
    return build_network(architecture, 3, seed=seed).eval()


def hints(student: nn.Module, teacher: nn.Module, *pairs: Pair, features: float = 1.0, attention: float = 1.0) -> Hints:
    return Hints.between(student, teacher, pairs, IMAGES, features_weight=features, attention_weight=attention)


def test_stages_are_compared_with_those_of_their_name() -> None:
    found = pairs_of((), network(1, 2, 1), network(2, 1, 1, width=16), IMAGES)
    assert found == (Pair("stage1", "stage1"), Pair("stage2", "stage2"), Pair("stage3", "stage3"))


def test_parts_are_compared_with_those_of_their_depth() -> None:
    """Where the teacher has none of their name; what the student lacks is left out."""
    student = network(2, 2)
    asked = ("stage1.block1", "stage1", "stage2.block2", "stage7", "stage2.block9")
    found = pairs_of(asked, student, network(1, 1, 1, 1), IMAGES)
    assert [pair.student for pair in found] == ["stage1.block1", "stage1", "stage2.block2"]
    assert [pair.teacher for pair in found] == ["stage1.block1", "stage1", "stage4"]
    quarter = pairs_of(("stage1.block2", "stage2"), student, network(1, 1, 1, 1), IMAGES)
    assert [pair.teacher for pair in quarter] == ["stage2", "stage2"]


def test_depth_counts_the_blocks_that_are_left() -> None:
    """Three of a stage's four blocks were removed: the last one, whatever its number, is the stage's end."""
    student = network(1, 4)
    for name in ("block1", "block2", "block3"):
        del student.get_submodule("stage2")._modules[name]
    found = pairs_of(("stage2.block4",), student, network(1, 1, 1, 1), IMAGES)
    assert found == (Pair("stage2.block4", "stage4"),)


def test_a_foreign_teacher_s_scales_are_its_stages() -> None:
    teacher = nn.Sequential(nn.Conv2d(1, 3, 2, 2), nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 5, 2, 2), nn.Flatten())
    found = pairs_of((), network(1, 1), teacher, IMAGES)
    assert found == (Pair("stage1", "0"), Pair("stage2", "2"))
    assert stage_ends(["stage10", "stage2", "stage2.block1", "layer1"]) == ("stage2", "stage10")


def test_a_teacher_without_maps_is_refused() -> None:
    with pytest.raises(InputError, match=r"feature maps of several sizes, got Sequential on images of \(16, 16\)"):
        pairs_of((), network(1), nn.Sequential(nn.Flatten(), nn.Linear(256, 3)), IMAGES)


@pytest.mark.parametrize(("features", "attention"), [(0.7, 0.0), (0.0, 3.0), (0.7, 3.0)])
def test_the_loss_is_the_sum_of_its_terms(features: float, attention: float) -> None:
    student, teacher = network(1, 1), network(1, 1, width=16, seed=1)
    pairs = Pair("stage1", "stage1"), Pair("stage2", "stage2")
    made = hints(student, teacher, *pairs, features=features, attention=attention)
    made.fit([IMAGES])
    loss = Loss(teacher=network_teacher(teacher), weight=0.4, temperature=3.0, hints=made)
    logits, held = loss.forward(student, IMAGES)

    own = [student.stem(student.normalize(IMAGES))]
    wanted = [teacher.stem(teacher.normalize(IMAGES))]
    for name in ("stage1", "stage2"):
        own.append(student.get_submodule(name)(own[-1]))
        wanted.append(teacher.get_submodule(name)(wanted[-1]))
    assert all(torch.equal(one, other) for one, other in zip(held, own[1:], strict=True))
    expected = 0.6 * F.cross_entropy(logits, BATCH.labels)
    expected = expected + 0.4 * distillation_loss(logits, soft_targets(teacher(IMAGES), 3.0), 3.0)
    for i, (one, other) in enumerate(zip(own[1:], wanted[1:], strict=True)):
        if features:
            expected = expected + features / 2 * feature_loss(one, other, made.projections[i])
        if attention:
            expected = expected + attention / 2 * attention_loss(one, other)
    assert torch.allclose(loss(logits, BATCH, held), expected, atol=1e-6)
    assert len(loss.projections) == (2 if features else 0)


def test_gradients_reach_the_student_and_the_projections_alone() -> None:
    student, teacher = network(1, 1).train(), network(1, 1, width=16, seed=1)
    loss = Loss(teacher=network_teacher(teacher), hints=hints(student, teacher, Pair("stage1", "stage1")))
    loss.fit([IMAGES])
    logits, held = loss.forward(student, IMAGES)
    loss(logits, BATCH, held).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in teacher.parameters())
    (projection,) = loss.projections
    assert projection.grad is not None
    assert student.get_submodule("stage1.block1.depthwise").weight.grad.abs().sum() > 0


def test_projections_begin_where_they_fit_best_and_modes_are_left() -> None:
    student, teacher = network(1).train(), network(1, width=16, seed=1)
    before = copy.deepcopy(student.state_dict())
    made = hints(student, teacher, Pair("stage1", "stage1"))
    assert float(made.projections[0].abs().max()) == 0
    made.fit([IMAGES[:3], IMAGES[3:]])
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert student.training
    assert not teacher.training
    own, wanted = (  # the student as it is trained: the statistics of an untrained network are of nothing
        torch.cat([net.stage1(net.stem(net.normalize(part))).detach() for part in IMAGES.split(3)])
        for net in (student, teacher)
    )
    flat = [maps.movedim(1, 3).flatten(0, 2).double().numpy() for maps in (own, wanted)]
    expected = np.linalg.lstsq(*flat, rcond=None)[0].T
    np.testing.assert_allclose(made.projections[0].detach().numpy(), expected, atol=0.05 * np.abs(expected).max())


def test_a_quantized_student_is_read_too() -> None:
    student, teacher = network(1, 1), network(1, 1, seed=1)
    quantized = prepare(student, {"stage1.block1.project": "int4", "stage1.block1.depthwise": "int8"}, keep_norms=True)
    calibrate(quantized, [IMAGES])
    loss = Loss(teacher=network_teacher(teacher), hints=hints(quantized, teacher, Pair("stage1", "stage1")))
    loss.fit([IMAGES])
    logits, held = loss.forward(quantized.train(), IMAGES)
    loss(logits, BATCH, held).backward()  # type: ignore[no-untyped-call]
    assert quantized.get_submodule("stage1.block1.project").layer.conv.weight.grad.abs().sum() > 0


def test_maps_of_a_network_of_torchvision() -> None:
    teacher = resnet18(weights=None, num_classes=3)
    teacher.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    pairs = pairs_of((), network(1, 1), teacher.eval(), torch.rand(2, 1, 64, 64))
    assert pairs == (Pair("stage1", "layer1"), Pair("stage2", "layer4"))
