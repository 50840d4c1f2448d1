"""Anchors: both ends of each kind come first, and the sampler goes on from there as from any other trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.run_folder.paths import RunFolder
from nas.search.anchors import anchors
from nas.search.driver import WAIT
from nas.search.journal import GENERATION
from nas.search.search import Search
from nas.study import Study
from nas.tasks import Task
from search_spaces.trials import Pick, first, last

KINDS = ("residual", "fused_inverted_residual", "inverted_residual", "shuffle")


def study_of(fields: dict[str, Any]) -> Study:
    return Study.model_validate_json(json.dumps(fields))


def make_study(space: dict[str, Any] | None = None, **search: Any) -> Study:
    return study_of(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": space or {"family": "mixed", "preset": "8px"},
            "compression": {"pruning_ratio": [0.0, 0.25, 0.5], "weight_format": ["int8", "int3", "int4"]},
            "search": {"population": 8, "sampler": "nsga2", "trials": 8, **search},
        }
    )


def proposed(study: Study, path: Path, count: int) -> list[Candidate]:
    path.mkdir(exist_ok=True)
    search = Search(study, RunFolder(path))
    tasks = [task for _ in range(count) if isinstance(task := search.propose(), Task)]
    return [task.candidate for task in tasks]


def test_the_first_trials_are_the_ends_of_each_kind(tmp_path: Path) -> None:
    study = make_study()
    found = proposed(study, tmp_path, 8)
    kinds = list(zip(KINDS, study.space.of_one_kind(), strict=True))
    ends = [(end, kind, space) for end in (last, first) for kind, space in kinds]
    for (end, kind, space), candidate in zip(ends, found, strict=True):
        assert candidate.architecture == space.sample(Pick(end), input_channels=1), (end, kind)
        assert set(candidate.plan.formats.values()) == {"int8", "int4"}  # first and last layer, and the others
        for group in candidate.architecture.groups():
            assert candidate.plan.kept.get(group.name, group.width) < group.width or group.width <= 16
    largest = extreme_candidates(study)["largest"].architecture
    assert sum(candidate.architecture == largest for candidate in found) == 1
    assert len({candidate.id for candidate in found}) == 8


def test_a_stage_that_may_not_hold_a_kind_has_another(tmp_path: Path) -> None:
    stages = [{"depths": [1], "widths": [8, 16], "families": ["residual", "shuffle"]}, {"depths": [1], "widths": [16]}]
    a, *_ = proposed(make_study({"family": "mixed", "preset": "8px", "stages": stages}), tmp_path / "a", 3)
    assert [stage.blocks[0].kind for stage in a.architecture.stages] == ["residual", "residual"]
    third = proposed(make_study({"family": "mixed", "preset": "8px", "stages": stages}), tmp_path / "b", 3)[2]
    assert [stage.blocks[0].kind for stage in third.architecture.stages] == ["shuffle", "inverted_residual"]


def test_searched_numbers_are_in_the_middle(tmp_path: Path) -> None:
    study = make_study({"preset": "8px"})
    rates = {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}, "dropout": {"choices": [0.0, 0.1, 0.2]}}
    study = study_of({**study.model_dump(mode="json"), "training": rates})
    search = Search(study, RunFolder(tmp_path))
    task = search.propose()
    assert isinstance(task, Task)
    assert task.training == pytest.approx({"learning_rate": 0.1, "dropout": 0.1})


@pytest.mark.parametrize("search", [{"sampler": "random"}, {"anchors": False}])
def test_no_anchors(search: dict[str, Any], tmp_path: Path) -> None:
    study = make_study(**search)
    assert anchors(study) == []
    largest = extreme_candidates(study)["largest"].architecture
    assert all(candidate.architecture != largest for candidate in proposed(study, tmp_path, 3))


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "tpe"])
def test_draws_after_the_anchors_are_those_without_them(sampler: str, tmp_path: Path) -> None:
    """Seeds belong to trial numbers, so the first generation differs in the anchors alone."""
    ends = 2 * len(KINDS)
    with_them = proposed(make_study(sampler=sampler, population=12, trials=12), tmp_path / "a", 12)
    without = proposed(make_study(sampler=sampler, population=12, trials=12, anchors=False), tmp_path / "b", 12)
    assert len(with_them) == len(without) == 12
    assert [c.id for c in with_them[ends:]] == [c.id for c in without[ends:]]
    assert not {c.id for c in with_them[:ends]} & {c.id for c in without}


def test_a_space_of_one_network_waits_for_it(tmp_path: Path) -> None:
    space = {
        "input_size": 8, "stem_widths": [8], "head_widths": [8], "kernels": [3], "expansions": [1],
        "squeeze_excite": [False], "activations": ["relu"], "stages": [{"depths": [1], "widths": [8]}],
    }  # fmt: skip
    study = study_of({**make_study(space).model_dump(mode="json"), "compression": {}})
    search = Search(study, RunFolder(tmp_path))
    assert isinstance(search.propose(), Task)
    assert search.propose() is WAIT


def test_anchors_are_of_the_first_generation(tmp_path: Path) -> None:
    """Without the mark NSGA would not breed from them."""
    study = make_study()
    proposed(study, tmp_path, 8)
    marks = [trial.system_attrs for trial in Search(study, RunFolder(tmp_path)).journal.trials()]
    assert [[value for key, value in mark.items() if key.endswith(GENERATION)] for mark in marks] == [[0]] * 8


def test_a_further_step_is_asked_midway_too() -> None:
    """Whichever end the network is at: a gene of `compression` is named as its key; others go to the end."""
    for rule, end in zip(anchors(make_study({"family": "mobile", "preset": "8px"})), (last, first), strict=True):
        assert rule("stage1.block1.granularity", ("a", "c", "b")) == "c"
        assert rule("stage1.block1.kernel", (3, 5, 7)) == end((3, 5, 7))
