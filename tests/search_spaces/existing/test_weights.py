"""Weights for a blueprint: read from files, fitted by name and shape; what does not fit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from search_spaces.existing.edits import with_grey_input, with_linear_head, with_small_stem
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.reading import Read, read_network
from search_spaces.existing.weights import digest_of, downloaded, fit, normalization_of, read_weights


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    features = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    body = [nn.Conv2d(8, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*features, *body, nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, classes))


@pytest.fixture
def read() -> Read:
    return read_network(network())


def test_weights_of_the_same_network_all_fit(read: Read) -> None:
    found = fit(read.state, read.blueprint, read.blueprint)
    assert found.state.keys() == read.state.keys() == network().state_dict().keys()
    assert all(torch.equal(value, read.state[name]) for name, value in found.state.items())
    assert found.anew == ()
    older = {name: value for name, value in read.state.items() if not name.endswith("num_batches_tracked")}
    assert fit(older, read.blueprint, read.blueprint).state.keys() == older.keys()


def test_weights_and_statistics_of_norms_of_features_fit() -> None:
    normed = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    read = read_network(normed)
    assert fit(read.state, read.blueprint, read.blueprint).state.keys() == normed.state_dict().keys()
    with pytest.raises(Unreadable, match=r"2\.running_var"):
        fit({**read.state, "2.running_var": torch.ones(5)}, read.blueprint, read.blueprint)


def test_the_head_may_have_any_number_of_classes(read: Read) -> None:
    assert fit(network(9).state_dict(), read.blueprint, read.blueprint).state["10.weight"].shape == (9, 6)


def test_what_was_edited_begins_anew(read: Read) -> None:
    small = with_small_stem(read.blueprint)
    found = fit(read.state, read.blueprint, small)
    assert found.anew == ("0",)
    assert found.state.keys() == read.state.keys() - {"0.weight"}
    linear = fit(read.state, read.blueprint, with_linear_head(read.blueprint))
    assert linear.anew == ("10",)
    assert linear.state.keys() == {name for name in read.state if name.split(".")[0] not in ("8", "10")}
    grey = fit(read.state, read.blueprint, with_grey_input(read.blueprint))
    assert (grey.state.keys(), grey.anew) == (read.state.keys(), ())


def test_weights_of_a_network_that_was_edited_alike_fit_too(read: Read) -> None:
    edited = with_small_stem(read.blueprint)
    given = {**read.state, "0.weight": torch.ones(8, 3, 3, 3)}
    found = fit(given, read.blueprint, edited)
    assert (found.anew, found.state["0.weight"].shape) == ((), (8, 3, 3, 3))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"4.weight": None}, r"^expected this network's weights, got none for 4.weight$"),
        (
            {"4.weight": None, "4.bias": None, "1.bias": None, "8.bias": None},
            r"got none for 1.bias, 4.weight, 4.bias and 1",
        ),
        ({"aux.weight": torch.zeros(1)}, r"got unknown aux.weight$"),
        (
            {"4.weight": torch.zeros(4, 9, 3, 3)},
            r"of another shape 4.weight \(4, 9, 3, 3\) where \(4, 8, 3, 3\) is expec",
        ),
        ({"10.weight": torch.zeros(3, 7)}, r"10.weight \(3, 7\) where \(classes, 6\) is expected$"),
        (
            {"1.bias": None, "a": torch.zeros(1), "8.bias": torch.zeros(2)},
            r"none for 1.bias; unknown a; of another shape 8",
        ),
    ],
)
def test_what_does_not_fit_is_named(read: Read, changes: dict[str, Tensor | None], said: str) -> None:
    given = {name: value for name, value in {**read.state, **changes}.items() if value is not None}
    with pytest.raises(Unreadable, match=said):
        fit(given, read.blueprint, read.blueprint)
    with pytest.raises(Unreadable):
        fit(given, read.blueprint, with_grey_input(read.blueprint))


def test_names_that_no_operation_reads_are_known(read: Read) -> None:
    given = {**read.state, "aux.weight": torch.zeros(1)}
    assert "aux.weight" not in fit(given, read.blueprint, read.blueprint, unused={"aux.weight"}).state


@pytest.mark.parametrize("ending", ["safetensors", "pth", "pt"])
def test_files(tmp_path: Path, read: Read, ending: str) -> None:
    file = tmp_path / f"weights.{ending}"
    save_file(dict(read.state), file) if ending == "safetensors" else torch.save(dict(read.state), file)
    assert digest_of(read_weights(str(file))) == digest_of(read.state)


@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_checkpoints(tmp_path: Path, read: Read, key: str | None) -> None:
    copies = {f"module.{name}": value for name, value in read.state.items()}
    torch.save({key: copies, "epoch": 3} if key else copies, tmp_path / "w.pth")
    assert read_weights(str(tmp_path / "w.pth")).keys() == read.state.keys()


def test_files_of_something_else(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "code.pt")
    with pytest.raises(
        Unreadable, match=r"expected a file that holds tensors alone, got .*code.pt \(.*save the network's"
    ):
        read_weights(str(tmp_path / "code.pt"))
    torch.save({"epoch": 3}, tmp_path / "number.pt")
    with pytest.raises(Unreadable, match=r"expected tensors by name in .*number.pt, got dict"):
        read_weights(str(tmp_path / "number.pt"))
    for name in ("absent.safetensors", "absent.pth"):
        with pytest.raises(Unreadable, match=f"expected DEFAULT, none or a file of weights, got .*{name}"):
            read_weights(str(tmp_path / name))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(Unreadable, match=r"got .*torn.safetensors: "):
        read_weights(str(tmp_path / "torn.safetensors"))


def test_a_digest_is_of_names_shapes_types_and_bytes() -> None:
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3)}
    others: list[dict[str, Any]] = [
        {"a": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([1.0, 2.5]), "b": torch.tensor(3)},
        {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor(3)},
        {"a": torch.tensor([1.0, 2.0]).view(torch.int32), "b": torch.tensor(3)},
        {"c": torch.tensor([1.0, 2.0]), "b": torch.tensor(3)},
    ]
    digests = {digest_of(base), *(digest_of(other) for other in others)}
    assert len(digests) == 6
    assert digest_of(dict(reversed(base.items()))) == digest_of(base)
    strided = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).t()
    assert digest_of({"a": strided}) == digest_of({"a": strided.contiguous()})
    assert len(digest_of(base)) == 12


def test_pixels_of_pretrained_networks() -> None:
    assert normalization_of("torchvision.resnet18").mean == (0.485, 0.456, 0.406)
    assert normalization_of("torchvision.resnet18").std == (0.229, 0.224, 0.225)
    assert normalization_of("torchvision.inception_v3").std == (0.5, 0.5, 0.5)
    with pytest.raises(Unreadable, match=r"expected none, own or a file of weights for a.b:c, got DEFAULT"):
        downloaded("a.b:c")
