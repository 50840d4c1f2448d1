"""Networks by name: torchvision's, and those of the user's own code, which runs only where it is trusted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces.existing.bases import build_base, torchvision_builder
from search_spaces.existing.errors import Unreadable
from search_spaces.own_code import FOLDERS, make_importable

SOURCE = """
from torch import nn
import {sibling}

ran = []


class Plain(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.fc = nn.Linear({sibling}.FEATURES, num_classes)

    class Inner(nn.Identity):
        pass


def drawn():
    ran.append(1)
    from {late} import FEATURES
    return nn.Linear(FEATURES, 2)


def deep(depth, width): ...
def number(): return 3
def broken(): raise RuntimeError("first\\n  second")
def ending(): raise SystemExit("no --data")
def empty(): return nn.Linear(2, 2, device="meta")


NUMBER = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in a folder that code is looked for in; it imports others beside it, one of them late."""
    name = f"own_networks_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE.format(sibling=f"{name}_beside", late=f"{name}_late"))
    (tmp_path / f"{name}_beside.py").write_text("FEATURES = 5")
    (tmp_path / f"{name}_late.py").write_text("FEATURES = 6")
    (tmp_path / f"{name}_torn.py").write_text("def f(:")
    (tmp_path / f"{name}_raising.py").write_text("1 / 0")
    (tmp_path / "json.py").write_text("raise SystemExit")  # shadows nothing
    monkeypatch.setenv(FOLDERS, "")
    make_importable(tmp_path)
    yield name
    for key in [key for key in sys.modules if key.startswith(name)]:
        del sys.modules[key]


def test_functions_and_classes_are_called(module: str) -> None:
    before, path = torch.random.get_rng_state(), list(sys.path)
    plain = build_base(f"{module}:Plain", trusted=True)
    assert plain.get_submodule("fc").weight.shape == (10, 5)
    one, same = (build_base(f"{module}:drawn", trusted=True) for _ in range(2))
    assert torch.equal(one.weight, same.weight)  # type: ignore[arg-type]
    assert isinstance(build_base(f"{module}:Plain.Inner", trusted=True), nn.Identity)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sys.path == path
    import json

    assert json.dumps(1) == "1"


def test_nothing_runs_without_trust(module: str) -> None:
    with pytest.raises(
        Unreadable, match=rf"^{module}:drawn would run code of your own, .*: expected `trusted: true` or"
    ):
        build_base(f"{module}:drawn")
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{m}:deep", r"{m}:deep: expected a function without arguments, got one that needs depth, width"),
        ("{m}:number", r"{m}:number: expected a torch module to be returned, got int"),
        ("{m}:broken", r"{m}:broken: could not be built: RuntimeError: first second$"),
        ("{m}:ending", r"{m}:ending: could not be built: SystemExit: no --data$"),
        ("{m}:empty", r"{m}:empty: expected a network with weights, got one on the meta device"),
        ("{m}:NUMBER", r"{m}:NUMBER: expected a function that returns a torch module, got int"),
        ("{m}:Plane", r"{m}:Plane: {m} has no Plane; did you mean Plain\?"),
        ("{m}_torn:f", r"{m}_torn: could not be imported: SyntaxError: "),
        ("{m}_raising:f", r"{m}_raising: could not be imported: ZeroDivisionError: "),
        ("{m}_absent:f", r"{m}_absent: no module {m}_absent \(looked in /.* and in what is installed\)"),
        ("{m}:f:g", r"expected package.module:name, got '{m}:f:g'"),
        ("{m}.py:f()", r"expected package.module:name"),
    ],
)
def test_what_cannot_be_built_is_named(module: str, name: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said.format(m=module)):
        build_base(name.format(m=module), trusted=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision.resnet81", r"got 'torchvision.resnet81'; did you mean torchvision.resnet1"),
        ("torchvision.ResNet18", r"did you mean torchvision.resnet18\?"),
        (
            "resnet18",
            r"expected torchvision. and the name of a classifier, got 'resnet18'; did you mean torchvision.resn",
        ),
        ("torchvision.maskrcnn_resnet50_fpn", r"expected torchvision. and the name of a classifier"),
        ("no", r"a classifier, got 'no'; code of your own is package.module:function$"),
        ("torchvision.no", r"expected torchvision. and the name of a classifier, got 'torchvision.no'$"),
    ],
)
def test_names_of_torchvision(name: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        build_base(name)


def test_networks_of_torchvision_are_built_without_data_where_they_can_be() -> None:
    assert {value.is_meta for value in build_base("torchvision.resnet18").parameters()} == {True}
    assert {value.is_meta for value in build_base("torchvision.regnet_y_400mf").parameters()} == {False}
    with pytest.raises(Unreadable, match="expected torchvision"):
        torchvision_builder("torchvision.resnet18", without=("resnet18",))
