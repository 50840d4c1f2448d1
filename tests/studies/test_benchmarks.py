"""Scripts beside the studies: they can be read, and what they reckon is right."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from by_hand import evaluated
from torch import Tensor, nn

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.records import State
from nas.run_folder.paths import RunFolder, write_evaluation
from nas.search.search import Search
from nas.study.file import load_study
from nas.tasks import Task
from search_spaces.architecture import Architecture, HeadConfig, StageConfig, StemConfig
from search_spaces.block_configs import InvertedResidualConfig

FOLDER = Path(__file__).parents[2] / "studies" / "benchmarks"
SCRIPTS = sorted(FOLDER.rglob("*.py"))
SMALL = Candidate(
    architecture=Architecture(
        input_size=8, input_channels=1, stem=StemConfig(width=8), head=None,
        stages=(StageConfig(width=8, stride=1, blocks=(InvertedResidualConfig(kernel=3, expansion=2),)),),
    )
)  # fmt: skip


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script as a module; its neighbours can be imported, as when it is run."""
    for other in {path.stem for path in FOLDER.glob("*.py")} & set(sys.modules):
        monkeypatch.delitem(sys.modules, other)  # a helper of tests that is named alike; it comes back
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_is_and_how_it_is_run(path: Path) -> None:
    source = path.read_text()
    documentation = ast.get_docstring(ast.parse(source)) or ""
    assert documentation.split("\n\n")[0].endswith((".", ":", "?"))
    place = path.relative_to(FOLDER).as_posix()
    assert (f"studies/benchmarks/{place}" in documentation) == ('__name__ == "__main__"' in source)


def test_a_paired_gain_and_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    paired = script("paired_gain", monkeypatch)
    same = paired.summary([{"with": 0.75, "without": 0.5}] * 6)
    assert (same["pairs"], same["mean"], same["low"], same["high"]) == (6, 0.25, 0.25, 0.25)
    random = np.random.default_rng(1)
    differences = random.normal(0.02, 0.01, 200)
    found = paired.summary([{"with": d, "without": 0.0} for d in differences])
    half = 1.96 * differences.std() / 200**0.5  # the normal interval, which many pairs come close to
    assert found["mean"] == pytest.approx(differences.mean())
    assert found["low"] == pytest.approx(differences.mean() - half, abs=half / 5)
    assert found["high"] == pytest.approx(differences.mean() + half, abs=half / 5)


def test_deep_compression_in_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = script("deep_compression", monkeypatch)

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.relu, self.classify = nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Any:
            return self.classify(self.relu(self.hidden(torch.flatten(x, 1))))

    monkeypatch.setitem(deep.NETWORKS, "small", Small)
    ways = [
        deep.Way("paper", {"small": 0.9}, "codebook4", coders=deep.HUFFMAN),
        deep.Way("ranged", {"small": 0.9}, "codebook4"),
        deep.Way("rate alone", {"small": 0.0}, "int4", rate_weight=1.0),
    ]
    rows = deep.rows_of("small", ways, deep.Epochs(1, 1, 1), seed=0, most=128)
    dense, paper, ranged, _ = rows
    assert [row["way"] for row in rows] == ["dense", "paper", "ranged", "rate alone"]
    assert dense["weight_bytes"] == 4 * (784 * 16 + 16 + 16 * 10 + 10)
    assert dense["size_bytes"] > dense["weight_bytes"] > dense["coded_bytes"] > 0.8 * dense["weight_bytes"]
    assert ranged["size_bytes"] == paper["size_bytes"]  # one network, coded in two ways
    assert ranged["accuracy"] == paper["accuracy"]
    assert ranged["coded_bytes"] < paper["coded_bytes"] < dense["weight_bytes"] / 10
    found = deep.summary([row | {"seed": seed} for seed in (0, 1) for row in rows])
    assert found[2]["times_smaller"] == pytest.approx(dense["weight_bytes"] / ranged["coded_bytes"])
    assert found[2]["points"]["mean"] == pytest.approx(100 * (ranged["accuracy"] - dense["accuracy"]))
    assert deep.table_of(found).row_count == 4


def test_a_pair_is_bound_by_no_constraint(monkeypatch: pytest.MonkeyPatch) -> None:
    paired, asked = script("paired_gain", monkeypatch), list[Task]()
    complete = SimpleNamespace(state=State.COMPLETE, validation=SimpleNamespace(accuracy=0.5))
    monkeypatch.setattr(paired, "evaluate", lambda task, _: asked.append(task) or complete)
    bench = SimpleNamespace(study=load_study(FOLDER.parent / "digits.yaml"))
    assert paired.accuracy(SMALL, bench, seed=3) == 0.5
    assert [(task.seed, task.is_constrained) for task in asked] == [(3, False)]


def test_hypervolumes_of_a_pair_have_one_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = script("beside_the_front", monkeypatch)
    ours = [{"accuracy": 0.9, "latency_ms": 1.0}, {"accuracy": 0.5, "latency_ms": 0.1}]
    worse = [{"accuracy": 0.5, "latency_ms": 1.0}]
    own, other = beside.pair(ours, worse, ("accuracy", "latency_ms"))
    step = np.log10(1.1)
    edge = 0.5 / 1.1
    assert other == pytest.approx((0.5 - edge) * step)
    assert own == pytest.approx((0.9 - edge) * step + (0.5 - edge) * 1.0)


def test_the_uniform_plan_is_int8_and_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = script("beside_the_front", monkeypatch)
    block = InvertedResidualConfig(kernel=3, expansion=2)
    architecture = Architecture(
        input_size=8, input_channels=1, stem=StemConfig(width=8), head=HeadConfig(width=16),
        stages=(StageConfig(width=8, stride=1, blocks=(block,)),),
    )  # fmt: skip
    plan = beside.uniform(Candidate(architecture=architecture)).plan
    assert not plan.kept
    assert set(plan.formats) == {layer.name for layer in architecture.layers(10)}
    assert set(plan.formats.values()) == {"int8"}


def test_twins_of_finalists_are_trained_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its own recipe, in a folder of its own."""
    beside = script("beside_the_front", monkeypatch)
    study, folder, rows = load_study(FOLDER.parent / "digits.yaml"), RunFolder(tmp_path), list[dict[str, str]]()
    recipes: tuple[dict[str, Any], ...] = ({}, {"epochs": 30, "train_images": 100})
    for recipe in recipes:
        place = folder.artifact(SMALL.id, "final", 5, recipe)
        task = Task(0, SMALL, "final", 5, recipe.get("epochs", 20), place, recipe=recipe)
        write_evaluation(place, evaluated(task, study, State.COMPLETE, recipe=recipe))
        (place / "candidate.json").write_text(json.dumps(SMALL.to_json()))
        rows.append({"state": "COMPLETE", "artifact": folder.relative(place)})
    pd.DataFrame(rows).to_csv(folder.finalists, index=False)
    tasks = beside.uniform_tasks(folder)
    assert [(task.seed, task.epochs, task.recipe) for task in tasks] == [(5, 20, {}), (5, 30, recipes[1])]
    assert len({task.folder for task in tasks}) == 2
    assert all(task.reads_test and not task.is_constrained for task in tasks)


def test_random_candidates_beside_a_search_are_those_of_the_random_sampler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the anchors the first generation of NSGA-II is drawn as they are, and has evaluations to take over."""
    beside = script("beside_the_front", monkeypatch)
    smaller = ["search.train_images=100", "search.input_size=8"]
    study = load_study(FOLDER.parent / "digits.yaml", ["search.trials=4", "search.sampler=nsga2", *smaller])
    search = Search(study, RunFolder(tmp_path))
    anchor, _, drawn = search.propose(), search.propose(), search.propose()
    assert isinstance(anchor, Task)
    assert isinstance(drawn, Task)
    tasks = beside.random_tasks(RunFolder(tmp_path), study, 4)
    assert tasks[0].candidate.id != anchor.candidate.id
    assert tasks[2].candidate.id == drawn.candidate.id
    assert len({task.candidate.id for task in tasks}) == 4
    assert {task.epochs for task in tasks} == {drawn.epochs}
    assert all((task.recipe, task.train_size) == (drawn.recipe, drawn.train_size) for task in tasks)
    assert (drawn.recipe, drawn.train_size) == ({"train_images": 100}, 8)
    assert tasks[2].folder != drawn.folder
    monkeypatch.setattr(beside, "read_evaluation", lambda folder: folder == drawn.folder or None)
    assert beside.random_tasks(RunFolder(tmp_path), study, 4)[2].folder == drawn.folder


def test_random_candidates_that_break_a_constraint_are_drawn_beyond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second one is infeasible: five draws for three."""
    beside = script("beside_the_front", monkeypatch)
    study = load_study(FOLDER.parent / "digits.yaml", ["search.trials=3"])
    evaluated = set[str]()
    monkeypatch.setattr(beside, "evaluate_all", lambda *given: evaluated.update(t.candidate.id for t in given[-1]))
    monkeypatch.setattr(beside, "rows_of", lambda tasks, study: [{"id": task.candidate.id} for task in tasks[::2]])
    rows = beside.random_rows(RunFolder(tmp_path), study)
    expected = beside.random_tasks(RunFolder(tmp_path), study, 5)[::2]
    assert [row["id"] for row in rows] == [task.candidate.id for task in expected]
    assert len(evaluated) == 5


def test_one_pair_at_a_time_keeps_the_other_of_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = script("beside_the_front", monkeypatch)
    row = {"id": "a", "accuracy": 0.5, "latency_ms": 1.0, "size_bytes": 10}
    better = {**row, "id": "b", "accuracy": 0.75}
    pairs = {"search": ("one", lambda *_: ([better], [row])), "finalists": ("other", lambda *_: ([row], [better]))}
    monkeypatch.setattr(beside, "PAIRS", pairs)
    run, file = RunFolder(tmp_path / "run"), tmp_path / "beside.json"
    run.path.mkdir()
    text = (FOLDER.parent / "digits.yaml").read_text()
    for name, pair in (("digits", "search"), ("digits", "finalists"), ("letters", "search")):
        run.study.write_text(text.replace("name: digits", f"name: {name}"))
        monkeypatch.setattr("sys.argv", ["beside", str(run.path), "--json", str(file), "--pairs", pair])
        if name == "digits":
            beside.main()
        else:
            with pytest.raises(SystemExit):
                beside.main()
    written = json.loads(file.read_text())
    (ours, beside_it), other = written["hypervolumes"]["one"], written["hypervolumes"]["other"]
    assert ours / beside_it == pytest.approx((0.75 - 0.5 / 1.1) / (0.5 - 0.5 / 1.1))
    assert other == [beside_it, ours]
    assert [[r["id"] for r in part] for part in written["rows"]["one"]] == [["b"], ["a"]]


def test_what_pruning_removed_is_a_share_of_the_inner_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of inner width 16, one cut to 8."""
    compare = script("compare_fronts", monkeypatch)
    block = InvertedResidualConfig(kernel=3, expansion=2)
    architecture = Architecture(
        input_size=8, input_channels=1, stem=StemConfig(width=8), head=None,
        stages=(StageConfig(width=8, stride=1, blocks=(block, block)),),
    )  # fmt: skip
    assert compare.removed(Candidate(architecture=architecture)) == 0
    plan = CompressionPlan(kept={"stage1.block1.inner": 8})
    assert compare.removed(Candidate(architecture=architecture, plan=plan)) == 0.25


def test_the_published_fronts_are_of_the_networks_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ids, parameters and removed channels follow from what the JSON file says they are."""
    compare = script("compare_fronts", monkeypatch)
    results = FOLDER.parent / "results"
    known = json.loads((results / "cifar10-fronts.json").read_text())
    rows = pd.read_csv(results / "cifar10-fronts.csv").dropna(subset="id").set_index("id")
    assert set(known) == set(rows.index)
    for member, what in known.items():
        candidate = Candidate.from_json(what)
        assert candidate.id == member
        assert candidate.parameters(10) == rows.loc[member, "parameters"]
        assert compare.removed(candidate) == pytest.approx(rows.loc[member, "removed"])


def test_a_reference_trained_otherwise_is_not_continued(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    references = script("stock_references", monkeypatch)
    for epochs, survives in ((20, False), (20, True), (3, False)):
        references.keep_only(tmp_path / "ResNet-8", {"seed": 1, "training": {"epochs": epochs}})
        checkpoint = tmp_path / "ResNet-8" / "checkpoint.pt"
        assert checkpoint.exists() is survives
        checkpoint.touch()


def test_a_reference_is_beaten_in_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    compare = script("compare_fronts", monkeypatch)
    reference = {"test_accuracy": 0.8, "size_bytes": 100, "latency_ms": 1.0}
    better = {"test_accuracy": 0.8, "size_bytes": 99, "latency_ms": 0.9}
    worse = [better | {key: reference[key] if key != "test_accuracy" else 0.79} for key in reference]
    frame = pd.DataFrame([better, *worse])
    assert list(compare.beating(frame, reference).index) == [0]


def test_stock_references_are_the_known_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-8 of MLPerf Tiny has 77 706 parameters once batch norm is folded."""
    references = script("stock_references", monkeypatch)
    assert Candidate(architecture=references.resnet(1)).parameters(10) == 77_706
    assert len(references.resnet(3).layers(10)) == 1 + 18 + 2 + 1


def test_resnet8_is_trained_as_finalists_are(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = script("beside_resnet8", monkeypatch)
    study = load_study(FOLDER.parent / "digits.yaml", ["finals.epochs=30", "finals.train_images=100"])
    tasks = beside.tasks_of(RunFolder(Path("run")), study)
    assert set(tasks) == {"int8", "int4", "int3"}
    for task in tasks.values():
        assert (task.epochs, task.recipe) == (30, {"epochs": 30, "train_images": 100})
        assert (task.reads_test, task.is_constrained) == (True, False)


def test_resnet8_keeps_its_ends_at_8_bits_and_is_judged_by_accuracy_and_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = script("beside_resnet8", monkeypatch)
    candidate = beside.resnet8("int3")
    formats = [candidate.plan.format_of(layer.name) for layer in candidate.layers(10)]
    assert candidate.parameters(10) == 77_706
    assert (formats[0], formats[-1], set(formats[1:-1])) == ("int8", "int8", {"int3"})
    reference = {"test_accuracy": 0.8, "size_bytes": 100}
    rows = [
        {"id": "a", "test_accuracy": 0.8, "size_bytes": 99, "accuracy": 0.8},
        {"id": "b", "test_accuracy": 0.79, "size_bytes": 50, "accuracy": 0.9},
        {"id": "c", "test_accuracy": 0.9, "size_bytes": 100, "accuracy": 0.7},
    ]
    assert beside.beaten_by(reference, rows) == ["a"]
    assert [row["id"] for row in beside.front_of(rows, ("accuracy", "size_bytes"))] == ["b"]
