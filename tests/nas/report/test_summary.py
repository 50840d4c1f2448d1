"""What the page says about a run as a whole: what went wrong and how often, what is on offer, when."""

import pandas as pd
import pytest

from nas.report.run import read_run
from nas.report.summary import alike, mended_once, methods, offer, problems, tiles, when
from nas.report.tables import read_finalists, read_trials
from nas.study import Search


def test_failures_are_grouped_by_reason_and_counted(make_run):
    run = make_run(trials=60)
    run.rewrite("finalists.csv", lambda row: row.update(state="FAILED", reason="Killed: signal 9"))
    found = problems(read_trials(run.path), read_finalists(run.path))
    counted = {(problem.phase, problem.state): problem.number for problem in found}
    assert counted == {
        ("search", "FAILED"): len(run.state("FAILED")),
        ("final", "FAILED"): len(run.finalists),
        ("search", "INFEASIBLE"): len(run.state("INFEASIBLE")),
        ("search", "DUPLICATE"): len(run.state("DUPLICATE")),
    }
    (infeasible,) = (problem for problem in found if problem.state == "INFEASIBLE")
    assert infeasible.number > 1
    assert infeasible.example == run.state("INFEASIBLE")[0]["reason"]
    assert infeasible.trials.startswith(f"{run.state('INFEASIBLE')[0]['number']}, ")


def test_a_finalist_whose_file_disagrees_with_its_network_is_named(make_run):
    run = make_run()
    flags = {run.front[0]["trial"]: "slow,parity"}
    run.rewrite("finalists.csv", lambda row: row.update(flags=flags.get(row["trial"], "")))
    (found,) = (p for p in problems(read_trials(run.path), read_finalists(run.path)) if p.phase == "final")
    assert (found.state, found.number, found.trials) == ("FLAGGED", 1, run.front[0]["trial"])
    assert found.example.startswith("parity")


def test_what_was_mended_by_a_retry_is_no_problem_any_more(make_run):
    run = make_run(trials=60)
    failed = [row["number"] for row in run.state("FAILED")]
    trials, finalists = read_trials(run.path), read_finalists(run.path)
    trials.loc[0, "retry_of"] = failed[0]
    again = finalists.assign(state="FAILED", reason="Killed: signal 9")
    found = problems(trials, pd.concat([again, finalists, again.tail(1).assign(trial=999)]))
    counted = {(problem.phase, problem.state): problem.number for problem in found}
    assert counted["search", "FAILED"] == len(failed) - 1
    assert counted["final", "FAILED"] == 1


@pytest.mark.parametrize("flag", ["parity", "simulated"])
def test_search_trials_whose_file_disagrees_are_named(make_run, flag):
    run = make_run(finalists=0)
    trials = read_trials(run.path)
    trials["flags"] = [flag if state == "COMPLETE" else "" for state in trials["state"]]
    (found,) = (p for p in problems(trials, read_finalists(run.path)) if p.state == "FLAGGED")
    assert (found.phase, found.number) == ("search", len(run.state("COMPLETE")))
    assert found.example.startswith(f"{flag}: ")


def test_reasons_are_alike_when_only_numbers_differ():
    assert alike("latency_ms 3.21 is above 2") == alike("latency_ms 1e-05 is above 2")
    assert alike("latency_ms 3.21 is above 2") != alike("size_bytes 3.21 is above 2")


def test_the_offer_names_the_fronts_ends(make_run):
    run = read_run(make_run().path)
    rows = run.front
    assert offer([], complete=True).startswith("No complete trial can stand")
    sentence = offer(rows, complete=True).replace("\u00a0", " ")
    assert sentence.startswith(f"{len(rows)} networks are on the front: accuracy up to ")
    assert f"{100 * max(r['accuracy'] for r in rows):.1f} ±" in sentence
    assert f"files from {min(r['size_bytes'] for r in rows) / 1000:.1f} KB" in sentence
    assert f"latency from {min(r['latency_ms'] for r in rows):.4f} ms" in sentence
    smallest = min(rows, key=lambda r: r["size_bytes"])
    assert tiles(rows)[1].note.startswith(f"trial {smallest['trial']}, ")


def test_every_target_that_counts_has_its_fastest(make_run):
    rows = read_run(make_run().path).front
    fastest = min(rows, key=lambda r: r["latency_ms@cpu2"])
    *usual, tile = tiles(rows, ("accuracy", "latency_ms@cpu2"))
    assert usual == tiles(rows)
    assert (tile.label, tile.unit) == ("Fastest on cpu2", "ms")
    assert tile.note.startswith(f"trial {fastest['trial']}, ")
    assert "latency on cpu2 from " in offer(rows, ("latency_ms@cpu2",), complete=True)


def test_dates_span_the_first_start_and_the_last_end(make_run):
    run = make_run(trials=3, finalists=0)
    starts = iter(["2026-03-02T23:50:00+00:00", "", "2026-03-02T23:58:30+00:00"])
    run.rewrite("trials.csv", lambda row: row.update(started_at=next(starts), seconds="120"))
    assert when(read_trials(run.path), []) == "02 Mar 2026, 23:50 to 03 Mar 2026, 00:00 UTC"


def test_dates_reach_to_the_end_of_the_finalists(make_run):
    run = make_run(trials=3)
    run.rewrite("trials.csv", lambda row: row.update(started_at="2026-03-02T10:00:00+00:00", seconds="120"))
    found = read_run(run.path)
    late = found.evaluations[0].model_copy(
        update={"started_at": "2026-03-02T11:00:00+00:00", "seconds": {"train": 100.0, "emit": 20.0}}
    )
    assert when(found.trials, [late]) == "02 Mar 2026, 10:00 to 11:02 UTC"


def test_a_failure_by_another_recipe_is_not_mended(make_run):
    run = make_run()
    trials, finalists = read_trials(run.path), read_finalists(run.path)
    again = finalists.tail(1).assign(state="FAILED", reason="Killed: signal 9", recipe="epochs=9")
    (found,) = (p for p in problems(trials, pd.concat([finalists, again])) if p.phase == "final")
    assert found.number == 1
    same = mended_once(pd.concat([finalists, again.assign(recipe="")]))
    assert same["state"].tolist() == ["COMPLETE"] * len(finalists)


def test_the_baseline_is_explained_where_there_is_one(new_study):
    """And what it is trained as."""
    assert "trained as finalists are, but dense" in dict(methods(new_study(), []))["Baseline"]
    alone = new_study(search=Search(finalists=0))
    assert "trained as search trials are, but dense" in dict(methods(alone, []))["Baseline"]
    assert "Baseline" not in dict(methods(new_study(baseline=False), []))
