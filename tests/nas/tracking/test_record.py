from __future__ import annotations

from tracked import Example

from nas.records import State
from nas.tracking.record import begun, finished, finished_in


def nobody(_: str) -> bool:
    return False


def test_an_end_is_the_same_from_the_row_and_from_the_table(example: Example) -> None:
    """So that what is told late is what would have been told at once."""
    found = {trial.key: trial for trial in finished_in(example.folder, known=nobody)}
    first = example.rows[0]
    at_once = finished("search", first, example.study)
    assert found["search-0"] == at_once
    assert at_once.metrics["accuracy"] == first.accuracy
    assert at_once.metrics["parameters"] == first.costs["parameters"]
    assert at_once.params == {"head.width": "16", "head.weight_format": "int8", "seed": "0"}
    assert at_once.tags["artifact"] == first.artifact
    assert (at_once.state, at_once.epochs) == (State.COMPLETE, 8.0)
    assert at_once.began == 1893456000.0  # 2030-01-01 UTC, by `date -ud 2030-01-01 +%s`
    assert at_once.ended == at_once.began + 0.75


def test_names_are_no_metrics_and_text_is_no_number(example: Example) -> None:
    failed = finished("search", example.rows[1], example.study)
    assert not {"number", "seed", "attempts", "trial"} & failed.metrics.keys()
    assert failed.tags["reason"] == "training diverged: loss"
    assert not failed.tags.keys() & failed.metrics.keys()
    assert "accuracy" not in failed.metrics


def test_a_beginning_has_the_key_and_the_name_of_its_end(example: Example) -> None:
    for task, row in zip((example.tasks[0], example.tasks[3]), (example.rows[0], example.rows[2]), strict=True):
        start = begun(task, example.folder.relative(task.folder))
        end = finished(task.phase, row, example.study)
        assert (start.key, start.name) == (end.key, end.name)
    assert start.name == f"final-0 {task.candidate.id[:8]}"


def test_what_is_known_is_left_out(example: Example) -> None:
    keys = [trial.key for trial in finished_in(example.folder, known=lambda key: key == "search-0")]
    assert keys == ["search-1", f"{example.tasks[3].candidate.id}-final-0"]


def test_a_line_that_is_being_written_is_left_out(example: Example) -> None:
    text = example.folder.trials.read_text()
    example.folder.trials.write_text(text[:-2])
    keys = [trial.key for trial in finished_in(example.folder, known=nobody)]
    assert keys == ["search-0", f"{example.tasks[3].candidate.id}-final-0"]


def test_what_is_recorded_of_no_time_has_none(example: Example) -> None:
    text = example.folder.trials.read_text().replace("2030-01-01T00:00:00+00:00", "yesterday")
    example.folder.trials.write_text(text)
    first = next(finished_in(example.folder, known=nobody))
    assert (first.began, first.ended) == (None, None)
