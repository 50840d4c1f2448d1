from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tracked import Example

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

from nas.tracking.record import begun, finished
from nas.tracking.tensorboard import TensorBoard, markdown_of, open_tensorboard
from nas.tracking.tracker import artifacts_of, tracked_run


def opened(example: Example) -> TensorBoard:
    return open_tensorboard(tracked_run(example.study, example.folder))


def read(example: Example, key: str = "") -> EventAccumulator:
    """What TensorBoard's own reader makes of a folder."""
    found = EventAccumulator(str(example.folder.path / "tensorboard" / key), size_guidance={"scalars": 0})
    found.Reload()
    return found


def points(reader: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in reader.Scalars(tag)]


def start(example: Example, store: TensorBoard) -> str:
    trial = begun(example.tasks[0], example.folder.relative(example.tasks[0].folder))
    store.begin(trial)
    return trial.key


def test_a_trial_s_course_figures_and_genes_are_read_back(example: Example) -> None:
    store = opened(example)
    key = start(example, store)
    store.progress(key, 1.5, {"loss": 0.5})
    store.progress(key, 2.0, {"loss": 0.25})
    store.end(finished("search", example.rows[0], example.study))
    reader = read(example, "search-0")
    assert points(reader, "loss") == [(1, 0.5), (2, 0.25)]
    row = example.rows[0]
    assert points(reader, "accuracy") == [(8, pytest.approx(row.accuracy))]
    assert reader.Scalars("accuracy")[0].wall_time == pytest.approx(1893456000.75)
    metadata: Any = reader.SummaryMetadata(SESSION_START_INFO_TAG)
    genes = parse_session_start_info_plugin_data(metadata.plugin_data.content).hparams
    assert genes["head.width"].number_value == 16
    assert genes["head.weight_format"].string_value == "int8"
    text = reader.Tensors("about")[0].tensor_proto.string_val[0].decode()
    assert f"artifact: {row.artifact}" in text
    assert "state: COMPLETE" in text


def test_epochs_that_are_trained_again_after_a_death_replace_the_first_ones(example: Example) -> None:
    store = opened(example)
    key = start(example, store)
    for epoch in (1, 2, 3):
        store.progress(key, epoch, {"loss": 1.0 / epoch})
    again = opened(example)
    start(example, again)
    again.progress(key, 2, {"loss": 0.4})
    assert points(read(example, key), "loss") == [(1, 1.0), (2, pytest.approx(0.4))]


def test_what_has_ended_is_known_after_a_restart(example: Example) -> None:
    store = opened(example)
    assert not store.has("search-0")
    store.end(finished("search", example.rows[0], example.study))
    assert store.has("search-0")
    again = opened(example)
    assert again.has("search-0")
    assert not again.has("search-1")


def test_the_run_as_a_whole(example: Example) -> None:
    store = opened(example)
    store.total(1, {"best/accuracy": 0.5})
    store.total(3, {"best/accuracy": 0.75})
    store.close(artifacts_of(example.folder), is_over=True)
    reader = read(example)
    assert points(reader, "best/accuracy") == [(1, 0.5), (3, 0.75)]
    text = reader.Tensors("front.csv")[0].tensor_proto.string_val[0].decode()
    assert text == "trial | id\n--- | ---\n0 | ab\\|c"
    assert (
        str(example.folder.path / "report.html") in reader.Tensors("report.html")[0].tensor_proto.string_val[0].decode()
    )


def test_a_picture_is_one(example: Example) -> None:
    from matplotlib.figure import Figure

    Figure(figsize=(2, 1), dpi=50).savefig(example.folder.path / "front.png")
    store = opened(example)
    store.close(artifacts_of(example.folder), is_over=True)
    image = read(example).Images("front")[0]
    assert (image.width, image.height) == (100, 50)


def test_no_file_stays_open(example: Example, tmp_path: Path) -> None:
    """Thousands of trials would need as many descriptors."""
    store = opened(example)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        store.progress(f"search-{number}", 1, {"loss": 1.0})
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_empty_table_is_no_text() -> None:
    assert markdown_of("") == ""
