"""TensorBoard: event files in the run folder, `tensorboard --logdir RUN/tensorboard` shows them.

A folder for every evaluation, with what its training tells by epoch, its figures at its last one, and its genes as
hyperparameters; beside them the search as a whole. Neither torch nor TensorFlow is needed to write them.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams.metadata import (
    PLUGIN_DATA_VERSION,
    PLUGIN_NAME,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from nas.tracking.record import Tracked
from nas.tracking.tracker import TrackedRun

FOLDER = "tensorboard"
ENDED = "ended.txt"  # the keys of all evaluations whose end is written
_numbers = itertools.count()


def open_tensorboard(run: TrackedRun) -> TensorBoard:
    """A row of TRACKERS."""
    return TensorBoard(run.folder.path / FOLDER)


class TensorBoard:
    """Event files below `folder`. None stays open between two calls, so that thousands of evaluations need no more."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._ended = folder / ENDED
        known = self._ended.read_text(encoding="utf-8") if self._ended.exists() else ""
        self._keys = set(known.split("\n"))
        self._files: dict[str, EventFile] = {}

    def has(self, key: str) -> bool:
        return key in self._keys

    def begin(self, trial: Tracked) -> None:
        self._file(trial.key)

    def progress(self, key: str, epochs: float, values: Mapping[str, float]) -> None:
        self._file(key).write(int(epochs), scalars(values))

    def end(self, trial: Tracked) -> None:
        step, file = int(trial.epochs), self._file(trial.key)
        told = {**trial.tags, **({} if trial.state is None else {"state": str(trial.state)})}
        lines = "\n".join(f"{name}: {text}  " for name, text in told.items())
        summary = Summary(value=[*scalars(trial.metrics).value, *hyperparameters(trial).value, _text("about", lines)])
        file.write(step, summary, at=trial.ended)
        del self._files[trial.key]
        with self._ended.open("a", encoding="utf-8") as out:  # after its events: else a crash would lose them
            out.write(f"{trial.key}\n")
        self._keys.add(trial.key)

    def total(self, step: int, values: Mapping[str, float]) -> None:
        self._file("").write(step, scalars(values))

    def close(self, artifacts: Sequence[Path], *, is_over: bool) -> None:
        values = [value for file in artifacts for value in _artifact(file)]
        self._file("").write(0, Summary(value=values), purge=False)

    def _file(self, key: str) -> EventFile:
        if key not in self._files:
            self._files[key] = EventFile(self._folder / key)
        return self._files[key]


class EventFile:
    """A file of events of one process in a folder; its first step replaces those that are not before it there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._path = folder / name
        self._is_begun = False

    def write(self, step: int, summary: Summary, *, at: float | None = None, purge: bool = True) -> None:
        """Add a summary at a step, `at` seconds since 1970, now by default."""
        events = [Event(wall_time=at or time.time(), step=step, summary=summary)]
        if not self._path.exists():
            events.insert(0, Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge and not self._is_begun:
            # An earlier process may have come further before it died: its checkpoint, and so this step, lies before.
            events.insert(-1, Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START)))
            self._is_begun = True
        with self._path.open("ab") as out:
            writer = RecordWriter(out)
            for event in events:
                writer.write(event.SerializeToString())
            writer.flush()


def scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def hyperparameters(trial: Tracked) -> Summary:
    """The genes, for the HPARAMS page."""
    start = SessionStartInfo(group_name=trial.key, start_time_secs=trial.began or 0.0)
    for name, text in trial.params.items():
        try:
            start.hparams[name].number_value = float(text)
        except ValueError:
            start.hparams[name].string_value = text
    end = SessionEndInfo(end_time_secs=trial.ended or 0.0)
    contents = {
        SESSION_START_INFO_TAG: HParamsPluginData(session_start_info=start, version=PLUGIN_DATA_VERSION),
        SESSION_END_INFO_TAG: HParamsPluginData(session_end_info=end, version=PLUGIN_DATA_VERSION),
    }
    values = [
        Summary.Value(tag=tag, metadata=_metadata(PLUGIN_NAME, content.SerializeToString()))
        for tag, content in contents.items()
    ]
    return Summary(value=values)


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin, content=content))


def _text(tag: str, markdown: str) -> Summary.Value:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()], tensor_shape=shape)
    return Summary.Value(tag=tag, metadata=_metadata("text"), tensor=tensor)


def _artifact(file: Path) -> list[Summary.Value]:
    """A picture as one, a table as one, and of a page where it lies."""
    if file.suffix == ".png":
        content = file.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
        return [Summary.Value(tag=file.stem, image=image)]
    if file.suffix == ".csv":
        return [_text(file.name, markdown_of(file.read_text(encoding="utf-8")))]
    return [_text(file.name, f"`{file}`")]


def markdown_of(table: str) -> str:
    """A CSV table as one of Markdown."""
    rows = list(csv.reader(io.StringIO(table, newline="")))
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join([*lines[:1], " | ".join("---" for _ in rows[0]), *lines[1:]]) if rows else ""
