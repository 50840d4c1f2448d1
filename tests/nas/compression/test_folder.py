"""The folder of a result: begun by one request, gone on with by the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_network import DATA, SPACE, Small, know_small
from torch import nn

from compressors.low_rank.factoring import Factoring
from nas.compression.folder import ResultFolder, keep_plan, keep_request, recorded_plan
from nas.compression.settings import study_of
from nas.compression.wishes import Asked, Wishes
from nas.errors import InputError
from search_spaces.existing.known import Known, remember
from search_spaces.existing.reading import read_network
from search_spaces.existing.space import ExistingSpace

LIMITED = Wishes(space=SPACE, data=DATA, limits={"macs": 1e5})


@pytest.fixture(autouse=True)
def _known() -> None:
    know_small()


def keep(folder: ResultFolder, wishes: Wishes) -> None:
    keep_request(folder, study_of(wishes, folder.study), wishes)


def test_the_same_request_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "to")
    wishes = Wishes(space=SPACE, data=DATA, ratio=Asked((0.5,)))
    keep(folder, wishes)
    (folder.path / "model.onnx").touch()
    keep(folder, wishes)
    with pytest.raises(InputError, match=r"--to: .*another command began.*\n.*pruning_ratio: .*0.5.* -> .*0.25"):
        keep(folder, replace(wishes, ratio=Asked((0.25,))))
    with pytest.raises(InputError, match=r"single layers: .*conv1"):
        keep(folder, replace(wishes, ratio=Asked((0.5,), {"conv1": 0.25})))


def test_other_code_or_weights_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """What lies in the folder was begun with what the names stood for then."""
    folder, wishes = ResultFolder(tmp_path / "to"), Wishes(space=SPACE, data=DATA, ratio=Asked((0.5,)))
    keep(folder, wishes)
    asked = ExistingSpace.model_validate(SPACE).asked(1)
    wider = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    remember(asked, Known(read_network(wider).blueprint))
    with pytest.raises(InputError, match=r"another command began.*\n  the network itself: \w+ -> \w+$"):
        keep(folder, wishes)
    remember(asked, Known(read_network(Small()).blueprint, "another digest"), {})
    with pytest.raises(InputError, match=r"\n  the weights themselves:  -> another digest$"):
        keep(folder, wishes)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        keep(ResultFolder(tmp_path), LIMITED)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        keep(ResultFolder(tmp_path / "mine.txt"), LIMITED)


def test_a_folder_that_was_left_before_its_request_is_taken(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    folder.work.path.mkdir()
    folder.work.lock.touch()
    keep(folder, LIMITED)
    assert folder.request.exists()


@pytest.mark.parametrize("rank", [None, Factoring(method="svd", ratio=0.5)])
def test_a_plan_that_was_found_is_found_again(tmp_path: Path, rank: Factoring | None) -> None:
    folder = ResultFolder(tmp_path)
    assert recorded_plan(folder, LIMITED) is None
    keep(folder, LIMITED)
    found = replace(LIMITED, ratio=Asked((0.25,)), format=Asked(("int8",)), rank=Asked((rank,)))
    keep_plan(folder, found)
    assert recorded_plan(folder, LIMITED) == found
