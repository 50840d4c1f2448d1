"""What a scan suggests: the strongest choice that loses little enough, gene by gene, and when it is proposed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from by_hand import SPACE, drive, finish, make_study, task_of

from nas.candidates.candidate import Candidate
from nas.candidates.sampling import prunable_groups
from nas.errors import InputError
from nas.run_folder.paths import RunFolder
from nas.run_folder.sensitivity import JSON_FILE, Point, Scan, write_scan
from nas.search.draws import Draws
from nas.search.search import Search
from nas.search.suggestions import TOLERANCES, Answers, suggested_by, suggestions, unusable_scans
from nas.study import Search as Search_
from nas.study import Study
from nas.study.search import OWN_SCAN
from search_spaces.trials import Pick, last

pytestmark = pytest.mark.usefixtures("no_fsync")

FREEDOM = {"weight_format": ("fp32", "int8", "int4"), "pruning_ratio": (0.0, 0.25, 0.5), "granularity": "block"}


def study_of(*warm_start: str, compression: dict[str, Any] | None = None, **search: Any) -> Study:
    given = make_study(**{"trials": 8, "warm_start": warm_start, **search}).model_dump()
    return Study.model_validate({**given, "compression": {**given["compression"], **FREEDOM, **(compression or {})}})


class Recorded(Pick):
    """A trial of last choices that keeps them as a table writes them."""

    def __init__(self) -> None:
        super().__init__(last)
        self.genes: dict[str, str] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        value = super().suggest_categorical(name, choices)
        self.genes[name] = str(value)
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        raise AssertionError(name)


def scan_of(study: Study, loss: dict[tuple[str, Any], float] | None = None, default: float = 0.03) -> Scan:
    """Of the largest network, every change losing `default` unless `loss` says otherwise of a name and value."""
    trial = Recorded()
    candidate, _ = Draws(study)(trial)
    asked = [("format", layer.name, fmt) for layer in candidate.architecture.layers(1) for fmt in ("int8", "int4")] + [
        ("ratio", group.name, ratio)
        for group in prunable_groups(candidate.architecture, study.compression)
        for ratio in (0.25, 0.5)
    ]
    points = [
        Point.model_validate({"kind": k, "name": n, "value": v, "accuracy": 0.9 - (loss or {}).get((n, v), default)})
        for k, n, v in asked
    ]
    return Scan(
        trial="0", artifact="artifacts/x/search-0", candidate_id=candidate.id, candidate=candidate.to_json(),
        genes=trial.genes, weights_sha256="", images=100, accuracy=0.9, points=tuple(points),
    )  # fmt: skip


def drawn(study: Study, values: dict[str, Any]) -> Candidate:
    trial = Answers(scan_of(study), 0.0)
    trial.values.update(values)
    return Draws(study)(trial)[0]


def test_each_gene_takes_the_strongest_choice_that_every_layer_of_it_bears() -> None:
    study = study_of()
    loss = {("stem.conv", "int8"): 0.0, ("head.conv", "int4"): 0.01, ("head.conv", "int8"): 0.0}
    loss |= {(f"stage1.block2.{layer}", "int4"): 0.02 for layer in ("expand", "depthwise", "project")}
    loss |= {(f"stage1.block2.{layer}", "int8"): 0.02 for layer in ("expand", "depthwise")}
    loss |= {("stage1.block2.inner", 0.25): 0.04, ("stage1.block2.inner", 0.5): 0.02}
    found = Answers(scan_of(study, loss), 0.02)
    Draws(study)(found)
    assert found.values["head.weight_format"] == "int4"
    assert found.values["stem.weight_format"] == "int8"
    assert found.values["classifier.weight_format"] == "fp32"
    assert found.values["stage1.block1.weight_format"] == "fp32"
    assert found.values["stage1.block2.weight_format"] == "int4"  # though int8 of its project loses more
    assert found.values["stage1.block2.pruning_ratio"] == 0.5
    assert found.values["stage1.block1.pruning_ratio"] == 0.0


@pytest.mark.parametrize(("granularity", "scope"), [("network", "network"), ("stage", "stage1"), ("layer", None)])
def test_a_gene_of_many_layers_waits_for_all(granularity: str, scope: str | None) -> None:
    study = study_of(compression={"granularity": granularity})
    bears = {(layer, "int4"): 0.0 for layer in ("stage1.block1.expand", "stage1.block1.project")}
    found = Answers(scan_of(study, bears), 0.0)
    Draws(study)(found)
    if scope is not None:
        assert found.values[f"{scope}.weight_format"] == "fp32"
    else:
        assert found.values["stage1.block1.expand.weight_format"] == "int4"
        assert found.values["stage1.block1.depthwise.weight_format"] == "fp32"
    everything = Answers(scan_of(study, default=0.0), 0.0)
    Draws(study)(everything)
    formats = {value for gene, value in everything.values.items() if gene.endswith("weight_format")}
    assert formats <= {"int4", "int8"}


def test_a_larger_tolerance_never_compresses_less() -> None:
    study = study_of()
    names = [layer.name for layer in Draws(study)(Recorded())[0].architecture.layers(1)]
    loss = {(name, fmt): i * 0.007 for i, name in enumerate(names) for fmt in ("int8", "int4")}
    candidates = [drawn(study, values) for values in suggested_by(scan_of(study, loss), study)]
    assert len(candidates) == len(TOLERANCES)
    sizes = [candidate.weight_bytes(10) for candidate in candidates]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_what_was_not_scanned_is_not_compressed() -> None:
    study = study_of(compression={"weight_format": ("fp32", "int3")})
    found = next(suggested_by(scan_of(study, default=0.0), study))
    inner = {value for gene, value in found.items() if gene.endswith("weight_format") and "stage" in gene}
    assert inner == {"fp32"}


def test_suggestions_follow_the_anchors_each_once(folder: RunFolder) -> None:
    study = study_of(OWN_SCAN)
    write_scan(folder.path, scan_of(study, {("head.conv", "int4"): 0.01, ("head.conv", "int8"): 0.0}))
    wanted = list(dict.fromkeys(drawn(study, values).id for values in suggestions(study, folder)))
    assert 2 <= len(wanted) <= len(TOLERANCES)
    search = Search(study, folder)
    drive(search)
    ids = [search.notes(trial.number).id for trial in search.journal.trials()]
    anchored = search.sampling.anchored
    assert ids[anchored : anchored + len(wanted)] == [name for name in wanted if name not in ids[:anchored]]
    assert sum(row.state == "DUPLICATE" for row in search.rows() if row.number < anchored + len(wanted)) == 0


def test_a_restart_goes_on_where_it_was(folder: RunFolder) -> None:
    study = study_of(OWN_SCAN)
    write_scan(folder.path, scan_of(study, {("head.conv", "int4"): 0.01, ("head.conv", "int8"): 0.0}))
    first = Search(study, folder)
    for _ in range(first.sampling.anchored + 1):
        finish(first, task_of(first))
    again = Search(study, folder)
    drive(again)
    ids = [again.notes(trial.number).id for trial in again.journal.trials()]
    wanted = [drawn(study, values).id for values in suggestions(study, folder)]
    assert all(ids.count(one) == 1 for one in wanted)


def test_a_run_without_a_scan_says_so(folder: RunFolder) -> None:
    with pytest.raises(InputError, match=r"^search\.warm_start\[0\]: expected a scan, written by `nas sensitivity`"):
        Search(study_of(OWN_SCAN), folder)


def test_a_file_of_another_run(tmp_path: Path, folder: RunFolder) -> None:
    study = study_of(str(tmp_path / JSON_FILE))
    assert list(unusable_scans(study_of(OWN_SCAN))) == []  # its folder is not known yet
    assert next(unusable_scans(study)).startswith("search.warm_start[0]: expected a scan")
    write_scan(tmp_path, scan_of(study))
    assert list(unusable_scans(study)) == []
    assert suggestions(study, folder) == suggestions(study, None) != []
    (tmp_path / JSON_FILE).write_text(json.dumps({"schema": 5}))
    assert "expected schema 1, got 5" in next(unusable_scans(study))


def test_a_scan_of_another_space_is_refused(tmp_path: Path) -> None:
    study = study_of(str(tmp_path / JSON_FILE))
    write_scan(tmp_path, scan_of(study))
    other = study.model_copy(
        update={"space": type(study.space).model_validate({**SPACE, "stages": ({"depths": (1,), "widths": (24,)},)})}
    )
    with pytest.raises(InputError, match="expected a scan of a network of this study's space"):
        suggestions(other, None)


def test_a_scan_is_for_every_sampler_but_a_grid() -> None:
    assert study_of(OWN_SCAN, sampler="random").search.warm_start == (OWN_SCAN,)
    assert Search_.model_validate({"warm_start": OWN_SCAN}).warm_start == (OWN_SCAN,)
    with pytest.raises(ValueError, match="warm_start: expected another sampler beside a scan, got grid"):
        study_of(OWN_SCAN, sampler="grid")
    with pytest.raises(ValueError, match="warm_start: expected sampler pareto beside it, got nsga2"):
        study_of(OWN_SCAN, "runs/earlier")


def test_searched_numbers_are_the_scanned_trial_s() -> None:
    numbers = {"training": {"epochs": 8, "weight_decay": {"low": 1e-5, "high": 1e-3, "log": True}}}
    study = Study.model_validate({**study_of().model_dump(), **numbers})
    scan = scan_of(study_of())
    own = scan.model_copy(update={"genes": {**scan.genes, "training.weight_decay": "0.0002"}})
    assert next(suggested_by(own, study))["training.weight_decay"] == pytest.approx(2e-4)
    assert next(suggested_by(scan, study))["training.weight_decay"] == pytest.approx(1e-4)
