"""Kinds of a user's own: what a class must carry, and that nothing of it runs before the study trusts it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from search_spaces.block_configs import Activation, Kernel, Positive, Record
from search_spaces.flows import OWN_FLOWS, has_flow
from search_spaces.kinds import KINDS, OWN_KINDS, LayerRow, kind_of, read_block
from search_spaces.network import build_block
from search_spaces.own_code import FOLDERS, make_importable, named_code
from search_spaces.own_kinds import learn_class, learn_kind
from search_spaces.sites import BlockSite
from search_spaces.spaces import MixedSpace
from search_spaces.trials import Pick, last

NAME = "mine:Block"
SOURCE = """
from search_spaces.blocks import Plain
from search_spaces.block_configs import Activation, Kernel, Record
from search_spaces.kinds import LayerRow
from typing import Literal

class Config(Record):
    kind: Literal["mine:Block"]
    kernel: Kernel
    activation: Activation = "relu"

class Block(Plain):
    config, widens, adds_input = Config, None, False

    @staticmethod
    def rows(config, keeps_shape):
        yield LayerRow("conv", "conv", "in", "out", config.kernel, "strided")

class Apart:
    config, widens, adds_input, rows, module = Config, None, False, Block.rows, "search_spaces.blocks:Plain"
"""


@pytest.fixture(autouse=True)
def _mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mine.py").write_text(SOURCE)
    monkeypatch.setenv(FOLDERS, "")
    make_importable(tmp_path)
    yield
    sys.modules.pop("mine", None)
    OWN_KINDS.pop(NAME, None)
    OWN_FLOWS.pop(NAME, None)


def space(**given: Any) -> MixedSpace:
    own = {"family": "mixed", "preset": "8px", "blocks": {NAME: {"kernels": (3, 5)}}, "trusted": True}
    return MixedSpace.model_validate({**own, **given})


class Config(Record):
    kind: Literal["mine:Block"]
    kernel: Kernel
    expansion: Positive = 1
    activation: Activation = "relu"


def rows(config: Any, keeps_shape: bool) -> Iterator[LayerRow]:
    yield LayerRow("conv", "conv", "in", "out", config.kernel, "strided")


def own(**attributes: Any) -> type:
    """A class with all that is needed, but for what is given; None leaves an attribute out."""
    full = {"config": Config, "rows": staticmethod(rows), "widens": "out", **attributes}
    return type("Block", (), {name: value for name, value in full.items() if value is not ...})


def test_a_space_of_it_is_drawn_and_built() -> None:
    architecture = space().sample(Pick(last), input_channels=3)
    blocks = architecture.blocks()
    assert {site.config.kind for site in blocks} == {NAME}
    assert {site.config.kernel for site in blocks} == {5}
    assert type(build_block(blocks[0])).__name__ == "Block"
    assert [layer.kind for layer in architecture.layers(10)][1:-2] == ["conv"] * len(blocks)


def test_the_class_may_name_its_torch_module() -> None:
    row = learn_class(NAME, named_code("mine:Apart", trusted=True, purpose=""))
    built = build_block(BlockSite("stage1.block1", read_block({"kind": NAME, "kernel": 3}), 8, 8, 1, 8))
    assert (row.module, type(built).__name__) == ("search_spaces.blocks:Plain", "Plain")


def test_a_family_of_a_stage_may_be_one() -> None:
    stages = ({"depths": (1,), "widths": (8,), "families": (NAME,)},)
    assert space(stages=stages).kinds(space(stages=stages).stages[0]) == (NAME,)


@pytest.mark.parametrize("trusted", [{}, {"trusted": False}])
@pytest.mark.parametrize("where", ["blocks", "families"])
def test_nothing_is_imported_without_trust(trusted: dict[str, Any], where: str) -> None:
    stages = ({"depths": (1,), "widths": (8,), "families": (NAME,)},)
    own = {"blocks": {NAME: {"kernels": (3,)}}} if where == "blocks" else {"stages": stages}
    with pytest.raises(ValidationError, match="trusted: expected true, since this study would run the code of mine:Bl"):
        MixedSpace.model_validate({"family": "mixed", "preset": "8px", **own, **trusted})
    assert "mine" not in sys.modules
    assert NAME not in OWN_KINDS


def test_its_name_alone_means_nothing_before_a_study_was_read() -> None:
    with pytest.raises(ValueError, match="kind: expected a kind of a study that this process has read, got mine:Block"):
        read_block({"kind": NAME, "kernel": 3})


def test_it_is_no_kind_of_a_space_that_names_none() -> None:
    space()
    assert NAME not in MixedSpace.model_validate({"family": "mixed", "preset": "8px"}).blocks
    assert NAME not in KINDS


def test_a_flow_comes_with_the_class() -> None:
    assert not has_flow(NAME)
    learn_class(NAME, own(flow=staticmethod(lambda flow, config, keeps_shape: None)))
    assert has_flow(NAME)


def test_a_kind_is_learned_once() -> None:
    assert learn_kind(NAME) is learn_kind(NAME) is kind_of(NAME)


class Narrow(Record):
    kind: Literal["mine:Block"]
    kernel: Kernel


class Stranger(Config):
    kind: Literal["other:Block"]  # type: ignore[assignment]


class Untold(Config):
    kind: str  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"rows": ...}, "expected a class with the attributes config, rows, widens, got one without rows"),
        ({"config": ...}, "expected a class with the attributes config, rows, widens, got one without config"),
        ({"config": dict}, "expected config to be a class made from block_configs.Record, got <class 'dict'>"),
        ({"config": Narrow},
         "expected config to have the fields activation, expansion, kernel, kind, got kernel, kind"),
        ({"config": Stranger}, 'expected kind: Literal["mine:Block"] in Stranger, got \'other:Block\''),
        ({"config": Untold}, 'expected kind: Literal["mine:Block"] in Untold, got no Literal'),
        ({"choices": ("depth",)}, "expected choices among squeeze_excite, got depth"),
    ],
)  # fmt: skip
def test_a_class_that_is_no_kind_is_refused_by_name(attributes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{NAME}: ") as error:
        learn_class(NAME, own(**attributes))
    assert str(error.value) == f"{NAME}: {expected}"
    assert NAME not in OWN_KINDS


def test_a_space_says_so_in_one_line() -> None:
    with pytest.raises(ValidationError, match=r"blocks: mine:Gone: mine has no Gone"):
        space(blocks={"mine:Gone": {"kernels": (3,)}})
