"""The baseline beside a front: by dominance, and in words."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from nas.report.html import render
from nas.report.payload import payload
from nas.report.picture import draw
from nas.report.progress import progress
from nas.report.references import compared, references_of, verdict, words
from nas.report.run import read_run, shown_figures
from nas.report.tables import front_rows, read_trials, records, stands
from nas.report.terminal import print_front
from nas.run_folder.columns import REFERENCE_COLUMNS
from nas.study import Search, Study

OBJECTIVES = ("accuracy", "latency_ms", "size_bytes")


def member(trial: int, accuracy: float, latency: float, size: int) -> dict[str, Any]:
    return {"trial": trial, "accuracy": accuracy, "latency_ms": latency, "size_bytes": size}


def reference(form: str, accuracy: float | None, latency: float, size: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(REFERENCE_COLUMNS) | {"state": "COMPLETE", "reason": "", "flags": ""}
    row |= {"reference": f"baseline {form}", "accuracy": accuracy, "accuracy_se": 0.01, "latency_ms": latency}
    return row | {"size_bytes": size} | changes


def study_of(**changes: Any) -> Study:
    given = {"name": "t", "data": {"source": "digits"}, "space": {"preset": "8px"}}
    return Study.model_validate(given | changes)


STUDY = study_of()
points = st.tuples(st.integers(0, 4).map(lambda n: n / 4), st.integers(1, 4).map(float), st.integers(1, 4))
Point = tuple[float, float, int]


def better(a: Point, b: Point) -> bool:
    pairs = [(-a[0], -b[0]), (a[1], b[1]), (a[2], b[2])]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


@given(st.lists(points, min_size=1, max_size=6), points)
def test_who_beats_whom_is_dominance(front: list[Point], own: Point) -> None:
    rows = [member(i, *point) for i, point in enumerate(front)]
    (found,) = compared([reference("int8", *own)], rows, OBJECTIVES, STUDY)
    assert found.beaten_by == tuple(i for i, point in enumerate(front) if better(point, own))
    assert found.beats == tuple(i for i, point in enumerate(front) if better(own, point))
    assert found.is_on_front == (not found.beaten_by)


FRONT = [member(7, 0.9, 0.2, 5000), member(3, 0.8, 0.1, 2000)]


def told(*rows: dict[str, Any], front: list[dict[str, Any]] = FRONT, **study: Any) -> tuple[str, list[str]]:
    found = compared(rows, front, OBJECTIVES, study_of(**study))
    return verdict(found, front, OBJECTIVES), words(found, front)


def test_a_search_that_has_beaten_it_has_no_verdict_and_says_by_what() -> None:
    """In one sentence for both where one trial beats both."""
    beaten = reference("int8", 0.8, 0.1, 2001), reference("fp32", 0.8, 0.15, 9000)
    assert told(*beaten) == ("", [
        "The baseline in int8 and fp32 is beaten by trial 3, as good or better in every objective.",
    ])  # fmt: skip
    assert told(reference("int8", 0.7, 0.3, 6000))[1] == [
        "The baseline in int8 is beaten by trials 7 and 3, as good or better in every objective."
    ]


def test_one_that_no_network_beats_is_the_first_sentence() -> None:
    sentence, others = told(reference("fp32", 0.85, 0.3, 9000), reference("int8", 0.85, 0.15, 3000))
    assert sentence == (
        "The search has not beaten a plain three-layer CNN: the baseline stands on the front, as int8 "
        "(85.0 ± 1.0 %, 0.150\u00a0ms, 3.00\u00a0KB)."
    )
    assert others == ["The baseline in fp32 is beaten by trial 7, as good or better in every objective."]


def test_both_forms_are_named_where_neither_beats_the_other() -> None:
    sentence, _ = told(reference("fp32", 0.95, 0.3, 9000), reference("int8", 0.85, 0.15, 3000))
    assert "as fp32 (95.0 ± 1.0 %, 0.300\u00a0ms, 9.00\u00a0KB) and int8 (85.0" in sentence


def test_what_it_beats_is_named_and_a_lost_search_is_called_lost() -> None:
    assert told(reference("int8", 0.9, 0.2, 4999))[0].endswith(
        "It beats trial 7, as good or better in every objective."
    )
    assert told(reference("int8", 0.9, 0.1, 2000))[0] == (
        "The search has lost to a plain three-layer CNN: the baseline, as int8 (90.0 ± 1.0 %, 0.100\u00a0ms, "
        "2.00\u00a0KB), beats every network of the front, as good or better in every objective."
    )


def test_a_network_that_was_given_is_not_to_be_beaten() -> None:
    """It is the most accurate as a rule; what is found is smaller. Where it beats that, this is said as ever."""
    given = {"base": "torchvision.resnet18", "input_size": 32}
    assert told(reference("fp32", 0.95, 0.3, 9000), space=given)[0] == (
        "The network as it was given stands on the front, as fp32 (95.0 ± 1.0 %, 0.300\u00a0ms, 9.00\u00a0KB): nothing "
        "that was found beats it."
    )
    assert told(reference("int8", 0.9, 0.2, 4999), space=given)[0].startswith(
        "The search has not beaten the network as it was given: the baseline stands on the front, as int8"
    )


def test_a_search_may_lose_to_both_forms_together() -> None:
    """Neither beats all networks, and none is left unbeaten."""
    accurate, small = reference("fp32", 0.9, 0.2, 4999), reference("int8", 0.8, 0.1, 1999)
    assert told(accurate, small)[0].startswith("The search has lost to a plain three-layer CNN: the baseline, as fp32")
    assert told(accurate)[0].startswith("The search has not beaten")


def test_finalists_of_one_trial_by_several_recipes_are_told_apart_and_named_once() -> None:
    front = [member(7, 0.9, 0.2, 5000), member(7, 0.8, 0.1, 2000), member(3, 0.95, 0.3, 9000)]
    assert told(reference("int8", 0.7, 0.3, 9000), front=front)[1] == [
        "The baseline in int8 is beaten by trials 7 and 3, as good or better in every objective."
    ]
    assert told(reference("int8", 0.8, 0.1, 1999), front=front)[0].endswith(
        "It beats trial 7, as good or better in every objective."
    )
    assert told(reference("int8", 0.8, 0.1, 1999), front=front[:2])[0].startswith("The search has not beaten")


def test_an_equal_stands_beside_it() -> None:
    assert told(reference("int8", 0.9, 0.2, 5000))[0].startswith("The search has not beaten")


def test_one_that_breaks_a_limit_is_no_alternative() -> None:
    limits = {"latency_ms": {"max": 0.05}, "accuracy": {"min": 0.99}}
    assert told(reference("int8", 0.95, 0.1, 100), constraints=limits) == (
        "", ["The baseline in int8 breaks the limit of accuracy, latency_ms, so it is no alternative."],
    )  # fmt: skip
    assert told(reference("int8", 0.95, 0.05, 100), constraints={"latency_ms": {"max": 0.05}})[0]


def test_one_that_failed_says_why_and_is_not_compared() -> None:
    failed = reference("fp32", None, 0.1, 1, state="FAILED", reason="training diverged.")
    assert told(failed) == ("", ["The baseline in fp32 failed: training diverged."])


def test_without_a_front_nothing_is_compared() -> None:
    assert told(reference("int8", 0.9, 0.1, 1), front=[]) == ("", [])


def test_a_long_list_of_trials_is_cut() -> None:
    front = [member(i, 0.9, 0.1, 10) for i in range(9)]
    assert "trials 0, 1, 2, 3, 4 and 4 more, as" in told(reference("int8", 0.5, 0.2, 20), front=front)[1][0]


def test_figures_that_were_not_measured_are_not_compared() -> None:
    (found,) = compared([reference("int8", 0.9, 0.1, 1, latency_ms=None)], FRONT, OBJECTIVES, STUDY)
    assert (found.is_compared, found.is_on_front) == (False, False)


def written(run: Any, *rows: dict[str, Any]) -> None:
    with (run.path / "references.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, REFERENCE_COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def test_they_are_read_beside_the_front_of_a_run(make_run: Any, new_study: Any) -> None:
    run = make_run()
    written(run, reference("fp32", 0.5, 9.0, 10**6) | {"parameters": 56970, "id": "a", "epochs": 20})
    front = records(front_rows(run.path))
    (found,) = references_of(run.path, front, ("accuracy", "latency_ms"))
    assert (found.form, found.row["epochs"], found.is_compared) == ("fp32", 20.0, True)
    assert found.beaten_by == tuple(range(len(front)))
    left_out = make_run("without", study=new_study(baseline=False))
    written(left_out, reference("fp32", 0.5, 9.0, 10**6))
    assert references_of(left_out.path, front, ("accuracy",)) == []


@pytest.mark.parametrize(("asked", "trained", "is_fair"), [(2, 0, False), (2, 2, True), (0, 0, True), (0, 2, False)])
def test_other_trainings_are_not_compared_with_it(
    make_run: Any, new_study: Any, asked: int, trained: int, is_fair: bool
) -> None:
    """A front of search trials where finalists are to come, and one of `nas train` where none were asked for.

    Without finalists the baseline is trained as search trials are.
    """
    run = make_run(finalists=trained, study=new_study(search=Search(finalists=asked)))
    written(run, reference("int8", 0.5, 9.0, 10**6))
    (found,) = references_of(run.path, records(front_rows(run.path)), ("accuracy",))
    assert found.is_compared is is_fair


# Where they are shown.

FULL = {"parameters": 56970, "macs": 8000, "peak_memory_bytes": 500, "id": "abc", "test_accuracy": 0.5, "seed": 1}


@pytest.fixture(params=["lost", "won"])
def shown(request: pytest.FixtureRequest, make_run: Any) -> tuple[Any, bool]:
    """A run whose int8 baseline is better than all, or worse; its float32 one has failed."""
    lost, run = request.param == "lost", make_run()
    costs = (0.99, 1e-6, 1, {"parameters": 1}) if lost else (0.1, 9.0, 10**6, {})
    written(
        run,
        reference("fp32", None, 1.0, 1, state="FAILED", reason="out of <memory>", latency_ms=None),
        reference("int8", *costs[:3], **{**FULL, **costs[3]}),
    )
    return run, lost


def test_on_the_terminal(shown: tuple[Any, bool]) -> None:
    run, lost = shown
    file = io.StringIO()
    print_front(Console(file=file, width=120, color_system=None), run.path, run.study.objectives)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("The search has lost to a plain three-layer CNN: the baseline, as int8") is lost
    assert sum("baseline int8  " in line for line in lines) == 1
    assert any(line.startswith("The baseline in int8 is beaten by ") for line in lines) is not lost
    assert "The baseline in fp32 failed: out of <memory>." in lines


def test_on_the_page(shown: tuple[Any, bool]) -> None:
    """The verdict is its first sentence; what failed stands among the problems, escaped."""
    run, lost = shown
    page = render(read_run(run.path))
    lead = page.partition('<p class="lead')[2].partition("</p>")[0]
    assert ("The search has lost to a plain three-layer CNN" in lead) is lost
    assert page.count('<tbody class="references">') == 1
    assert '<td class="text">baseline int8</td>' in page
    assert "out of &lt;memory&gt;" in page
    assert "<memory>" not in page.partition('<script type="application/json"')[0]
    assert "</span> baseline</td>" in page
    assert "<dt>Baseline</dt><dd>Three 3x3 convolutions" in page
    assert "Listed by validation accuracy, the best first." in page


def test_in_the_plot(shown: tuple[Any, bool]) -> None:
    run, lost = shown
    read = read_run(run.path)
    axes = shown_figures(read)
    found = payload(read, axes, progress(read.trials, read.study.objectives))["references"]
    assert found["values"]["accuracy"] == [99.0 if lost else 10.0]
    assert found["hover"][0].startswith("<b>baseline int8</b>  abc")


def test_in_the_picture(shown: tuple[Any, bool]) -> None:
    """A star in both panels, and a key that names it; none without a finished one."""
    run, _ = shown
    trials, front = read_trials(run.path), front_rows(run.path)
    found = references_of(run.path, records(front), run.study.objectives)

    def labels(references: Any) -> list[str]:
        canvas = draw(run.study, trials[stands(trials)], front, references)
        texts = [text.get_text() for axes in canvas.axes for text in axes.texts]
        return [*texts, *(["key"] if "stars: baseline" in canvas.get_supxlabel() else [])]

    assert labels(found).count("int8") == 2
    assert "key" in labels(found)
    assert not {"int8", "fp32", "key"} & set(labels(found[:1]))
