"""Tables: typed by name, safe while being written, fronts equal to brute force, figures readable."""

import json
from itertools import product

import pytest

from nas.errors import InputError
from nas.report.tables import (
    asked_objectives,
    format_front,
    front_rows,
    read_finalists,
    read_trials,
    records,
)
from nas.run_folder.columns import FRONT_COLUMNS, TRIAL_COLUMNS


def brute_force(rows, objectives):
    """Trial numbers no other row dominates, by comparing every pair."""
    signed = [[-r[o] if o == "accuracy" else r[o] for o in objectives] for r in rows]

    def beats(a, b):
        return a != b and all(x <= y for x, y in zip(a, b, strict=True))

    alone = [not any(beats(other, own) for other in signed) for own in signed]
    return {row.get("trial", row.get("number")) for row, keep in zip(rows, alone, strict=True) if keep}


def test_columns_are_typed_by_name_so_an_id_of_digits_stays_text(make_run):
    run = make_run(trials=3, finalists=0)
    ids = iter(["012345678901", "12345e678901", "NA"])
    run.rewrite("trials.csv", lambda row: row.update(id=next(ids)))
    trials = read_trials(run.path)
    assert list(trials["id"]) == ["012345678901", "12345e678901", "NA"]
    assert str(trials["parameters"].dtype) == "Int64"
    assert list(trials["number"]) == [0, 1, 2]


def test_infeasible_rows_have_costs_and_no_accuracy(make_run):
    run = make_run(trials=40)
    trials = read_trials(run.path)
    infeasible = trials[trials["state"] == "INFEASIBLE"]
    assert len(infeasible) == len(run.state("INFEASIBLE")) > 0
    assert infeasible["accuracy"].isna().all()
    assert infeasible["latency_ms"].notna().all()


def test_a_column_nobody_here_knows_is_text(make_run):
    run = make_run(trials=40)
    violations = {row["violation"] for row in records(read_trials(run.path)) if row["state"] == "INFEASIBLE"}
    assert violations == {"latency_ms=0.17; macs=2e-05"}


def test_a_line_still_being_written_is_left_out(make_run):
    run = make_run(trials=5, finalists=0)
    path = run.path / "trials.csv"
    path.write_text(path.read_text().rstrip("\n")[:-3])
    assert list(read_trials(run.path)["number"]) == [0, 1, 2, 3]


def test_missing_tables_are_empty_with_their_columns(tmp_path):
    assert read_finalists(tmp_path).empty
    assert list(read_trials(tmp_path)) == [*(name for name in TRIAL_COLUMNS if name != "flags"), "flags"]


def test_a_word_among_numbers_names_file_and_column(make_run):
    run = make_run(trials=3, finalists=0)
    run.rewrite("trials.csv", lambda row: row.update(macs="many"))
    with pytest.raises(InputError, match=r"trials\.csv, column macs: .*'many'"):
        read_trials(run.path)


@pytest.mark.parametrize(
    "objectives",
    [None, ["accuracy"], ["latency_ms"], ["accuracy", "size_bytes"], ["macs", "latency_ms"]],
)
def test_front_over_finalists_equals_brute_force(make_run, objectives):
    run = make_run(trials=40)
    front = front_rows(run.path, objectives)
    assert set(front["trial"]) == brute_force(run.finalists, objectives or run.study.objectives)
    assert list(front) == list(FRONT_COLUMNS)


def test_front_is_sorted_by_the_first_objective_best_first(make_run):
    run = make_run(trials=40)
    assert front_rows(run.path)["accuracy"].is_monotonic_decreasing
    by_size = front_rows(run.path, ["size_bytes", "accuracy"])
    assert by_size["size_bytes"].is_monotonic_increasing
    assert len(by_size) > 1


def test_before_finalists_the_front_is_over_complete_trials_only(make_run):
    run = make_run(trials=40, finalists=0)

    def cheapest_of_all(row):
        if row["state"] != "COMPLETE":
            row.update(parameters="1", latency_ms="0.0001")

    run.rewrite("trials.csv", cheapest_of_all)
    front = front_rows(run.path, ["parameters", "latency_ms"])
    assert set(front["trial"]) == brute_force(run.state("COMPLETE"), ["parameters", "latency_ms"])
    assert front["test_accuracy"].isna().all()
    assert list(front["search_accuracy"]) == list(front["accuracy"])


def test_another_targets_latency_is_an_objective(make_run):
    run = make_run(trials=40, finalists=0)
    wanted = ["accuracy", "latency_ms@cpu2"]
    assert set(front_rows(run.path, wanted)["trial"]) == brute_force(run.state("COMPLETE"), wanted)


def test_objectives_are_listed_as_a_study_writes_them(make_run):
    run = make_run(trials=3, finalists=0)
    assert asked_objectives(run.path, None) == run.study.objectives
    name = run.study.target.name
    assert asked_objectives(run.path, f"accuracy, latency_ms@{name},macs") == ("accuracy", "latency_ms", "macs")


def test_a_finalist_that_failed_or_disagrees_with_its_network_is_not_on_the_front(make_run):
    run = make_run(trials=40)
    best, second = front_rows(run.path, ["accuracy", "parameters"])["trial"][:2]

    def spoil(row):
        if int(row["trial"]) == best:
            row.update(flags="slow parity")
        if int(row["trial"]) == second:
            row.update(state="FAILED", reason="OutOfMemory")

    run.rewrite("finalists.csv", spoil)
    rest = [row for row in run.finalists if row["trial"] not in (best, second)]
    front = front_rows(run.path, ["accuracy", "parameters"])
    assert set(front["trial"]) == brute_force(rest, ["accuracy", "parameters"])


def test_finalists_that_all_disagree_leave_the_front_to_the_search(make_run):
    run = make_run(trials=40)
    run.rewrite("finalists.csv", lambda row: row.update(flags="parity"))
    front = front_rows(run.path)
    assert set(front["trial"]) == brute_force(run.state("COMPLETE"), run.study.objectives)
    assert front["test_accuracy"].isna().all()


def test_flags_in_trials_csv_count_as_those_of_the_record(make_run):
    run = make_run(trials=40, finalists=0)
    best = str(front_rows(run.path, ["accuracy"]).iloc[0]["trial"])
    text = (run.path / "trials.csv").read_text().splitlines()
    flagged = [f"{line},{'parity' if line.split(',')[0] == best else ''}" for line in text[1:]]
    (run.path / "trials.csv").write_text("\n".join([f"{text[0]},flags", *flagged]) + "\n")
    rest = [row for row in run.state("COMPLETE") if str(row["number"]) != best]
    assert set(front_rows(run.path, ["accuracy"])["trial"]) == brute_force(rest, ["accuracy"])


def test_a_trial_whose_record_is_flagged_leaves_and_frees_those_it_dominated(make_run):
    run = make_run(trials=40, finalists=0)
    best = front_rows(run.path, ["accuracy"]).iloc[0]
    path = run.path / best["artifact"] / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"flags": ["parity"]}))
    rest = [row for row in run.state("COMPLETE") if row["number"] != best["trial"]]
    front = front_rows(run.path, ["accuracy"])
    assert set(front["trial"]) == brute_force(rest, ["accuracy"])
    assert len(front) > 0


@pytest.mark.parametrize("objectives", [["speed"], ["latency_ms@board"], ["trial"], []])
def test_what_is_no_objective_is_refused(make_run, objectives):
    run = make_run(trials=12)
    with pytest.raises(InputError, match="objectives: expected"):
        front_rows(run.path, objectives)


def test_no_complete_trial_gives_an_empty_front(make_run):
    run = make_run(trials=0, finalists=0)
    assert front_rows(run.path).empty


def test_csv_keeps_full_precision_and_json_is_strict(make_run):
    run = make_run(trials=40, finalists=0)
    front = front_rows(run.path)
    lines = format_front(front, "csv").splitlines()
    rows = json.loads(format_front(front, "json"), parse_constant=pytest.fail)
    assert lines[0].startswith(",".join(FRONT_COLUMNS))
    assert len(lines) == len(front) + 1
    by_number = {row["number"]: row for row in run.trials}
    for line, row in zip(lines[1:], rows, strict=True):
        source = by_number[row["trial"]]
        assert row["latency_ms"] == source["latency_ms"] == float(line.split(",")[FRONT_COLUMNS.index("latency_ms")])
        assert row["accuracy"] == source["accuracy"]
        assert row["test_accuracy"] is None
        assert isinstance(row["parameters"], int)


def test_an_unknown_style_is_refused(make_run):
    with pytest.raises(ValueError, match="'xml'"):
        format_front(front_rows(make_run(trials=12).path), "xml")


def test_brute_force_itself_agrees_with_a_front_known_by_hand():
    points = list(product((1, 2, 3), repeat=2))
    rows = [{"number": i, "macs": x, "parameters": y} for i, (x, y) in enumerate(points)]
    assert brute_force(rows[1:], ["macs", "parameters"]) == {points.index((1, 2)), points.index((2, 1))}


def test_the_front_is_that_of_final_accuracies(make_run):
    """What was accurate in the search and is not in the end is on no front, and the other way round."""
    run = make_run(trials=40)
    same = dict.fromkeys(("parameters", "size_bytes", "macs", "peak_memory_bytes"), "1000") | {"latency_ms": "0.5"}
    accuracies = iter([("0.99", "0.5"), ("0.2", "0.9"), *[("0.98", "0.6")] * 40])

    def change(row):
        searched, final = next(accuracies)
        row.update(same, search_accuracy=searched, accuracy=final)

    run.rewrite("finalists.csv", change)
    second = str(run.finalists[1]["trial"])
    assert [str(trial) for trial in front_rows(run.path)["trial"]] == [second]
