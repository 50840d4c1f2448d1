"""Teachers that torchvision builds: fitted to images and classes, begun with weights from a file or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.models import resnet18, squeezenet1_1
from torchvision.models._api import WeightsEnum

from compressors.taps import scale_ends
from nas.built_teacher import FittedInput, bare_teacher, build_teacher, refuse_unknown
from nas.errors import InputError
from nas.study import Distillation

torch.set_num_threads(1)
KEY = "training.distillation"


def options(teacher: str = "torchvision.resnet18", **keys: Any) -> Distillation:
    return Distillation(**{"teacher": teacher, "weights": "none", **keys})


def test_grey_images_are_repeated_scaled_and_normalised() -> None:
    fitted, images = FittedInput(4), torch.rand(2, 1, 4, 4)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images.repeat(1, 3, 1, 1) - mean[:, None, None]) / std[:, None, None]
    assert torch.equal(fitted(images), expected)
    large = FittedInput(8)(torch.rand(2, 3, 4, 4))
    assert large.shape == (2, 3, 8, 8)
    flat = FittedInput(8)(torch.full((1, 3, 4, 4), 0.5))
    assert torch.allclose(flat, ((0.5 - mean) / std)[None, :, None, None].expand_as(flat))


@pytest.mark.parametrize(("size", "own", "expected"), [(None, 8, 32), (None, 96, 96), (64, 8, 64)])
def test_small_images_are_enlarged(size: int | None, own: int, expected: int) -> None:
    built = build_teacher(options(size=size), 5, own, seed=0, key=KEY)
    assert built.network.fitted.size == expected
    assert not built.is_finished
    assert built.network.eval()(torch.rand(2, 1, own, own)).shape == (2, 5)


def test_enlarged_images_end_no_stage() -> None:
    """Of 8 pixels they become 32: maps of 16 and 8 are of the network's first stages all the same."""
    teacher = bare_teacher(options(), 5, 8).eval()
    found = scale_ends(teacher, torch.rand(2, 1, 8, 8))
    assert found == ("network.relu", "network.layer1", "network.layer2", "network.layer3")


def test_random_weights_are_those_of_the_seed() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = (build_teacher(options(), 5, 32, seed=seed, key=KEY).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["network.fc.weight"], other["network.fc.weight"])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("classes", [5, 7])
def test_a_file_of_weights(tmp_path: Path, ending: str, classes: int) -> None:
    """Its classifier is taken where it is for as many classes; such a network is finished."""
    torch.manual_seed(0)
    given, file = resnet18(weights=None, num_classes=classes).eval(), tmp_path / f"w.{ending}"
    save_file(given.state_dict(), file) if ending == "safetensors" else torch.save(given.state_dict(), file)
    built = build_teacher(options(weights=str(file)), 5, 32, seed=1, key=KEY)
    assert built.is_finished == (classes == 5)
    found = built.network.network.state_dict()
    same = {name for name, value in given.state_dict().items() if value.shape == found[name].shape}
    assert all(torch.equal(found[name], given.state_dict()[name]) for name in same)
    assert set(found) - same == (set() if classes == 5 else {"fc.weight", "fc.bias"})
    if classes == 5:
        images = torch.rand(2, 3, 32, 32)
        expected = given(built.network.fitted(images))
        assert torch.equal(built.network.eval()(images), expected)


def test_files_of_older_versions_lack_the_counts_of_batch_norms(tmp_path: Path) -> None:
    """As torchvision's own of ResNet do."""
    given = {n: t for n, t in resnet18(num_classes=5).state_dict().items() if not n.endswith("num_batches_tracked")}
    assert len(given) == 102
    save_file(given, tmp_path / "w.safetensors")
    built = build_teacher(options(weights=str(tmp_path / "w.safetensors")), 5, 32, seed=1, key=KEY)
    assert built.is_finished
    found = built.network.network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in given.items())


def test_a_classifier_may_be_a_convolution(tmp_path: Path) -> None:
    save_file(squeezenet1_1(weights=None).state_dict(), tmp_path / "w.safetensors")
    given = options("torchvision.squeezenet1_1", weights=str(tmp_path / "w.safetensors"))
    built = build_teacher(given, 5, 64, seed=1, key=KEY)
    assert not built.is_finished
    assert built.network.eval()(torch.rand(1, 3, 64, 64)).shape == (1, 5)


def test_weights_are_given_back_to_a_bare_one() -> None:
    built = build_teacher(options(size=40), 5, 8, seed=4, key=KEY).network.eval()
    again = bare_teacher(options(size=40, weights=None), 5, 8).eval()
    again.load_state_dict(built.state_dict())
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(F.softmax(again(images), 1), F.softmax(built(images), 1))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"teacher": "torchvision.resnet81"},
            r"distillation.teacher: expected torchvision. and .* mean torchvision.resnet",
        ),
        ({"teacher": "torchvision.googlenet"}, "distillation.teacher: expected torchvision. and the name"),
        (
            {"weights": "no-such.safetensors"},
            "distillation.weights: expected DEFAULT, none or a file of weights, got no-",
        ),
        (
            {"weights": "no-such.pth"},
            "distillation.weights: expected DEFAULT, none or a file of weights, got no-such.pth",
        ),
    ],
)
def test_what_there_is_not_is_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        refuse_unknown(options(**keys), KEY)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    squeeze, wide, code = (tmp_path / name for name in ("squeeze.safetensors", "wide.safetensors", "code.pth"))
    save_file(squeezenet1_1(weights=None).state_dict(), squeeze)
    with pytest.raises(InputError, match=r"weights: expected this network's weights, got none for conv1.weight and"):
        build_teacher(options(weights=str(squeeze)), 5, 32, seed=0, key=KEY)
    state = resnet18(weights=None).state_dict()
    save_file({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, wide)
    with pytest.raises(InputError, match=r"expected conv1.weight of shape \(64, 3, 7, 7\), got \(64, 1, 7, 7\)"):
        build_teacher(options(weights=str(wide)), 5, 32, seed=0, key=KEY)
    torch.save(resnet18(weights=None), code)
    with pytest.raises(InputError, match=r"expected a file that holds tensors alone, got .*code.pth"):
        build_teacher(options(weights=str(code)), 5, 32, seed=0, key=KEY)
    torch.save([1.0], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"expected tensors by name in .*list.pth, got list"):
        build_teacher(options(weights=str(tmp_path / "list.pth")), 5, 32, seed=0, key=KEY)


def test_without_a_network_the_download_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = dict[str, Any]()

    def fail(self: WeightsEnum, **keys: Any) -> None:
        asked.update(keys)
        raise URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(InputError) as caught:
        refuse_unknown(options(weights=None), KEY)
    assert str(caught.value).startswith(
        "training.distillation.weights: those of torchvision.resnet18 could not be downloaded from https://"
    )
    assert str(caught.value).endswith("give a file of weights, or none")
    assert (asked["weights_only"], asked["check_hash"]) == (True, True)
