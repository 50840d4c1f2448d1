from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.run_folder.log import MOST_WORDS, Level, LogFile, LogLine, lines_in, read_log
from nas.run_folder.paths import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@given(
    words=st.text(),
    event=st.text(min_size=1),
    more=st.dictionaries(st.sampled_from(["phase", "id", "state"]), st.one_of(st.integers(), st.text(), st.none())),
    level=st.sampled_from(Level),
)
def test_a_line_comes_back_as_it_was_written(words: str, event: str, more: dict[str, object], level: Level) -> None:
    line = LogLine("2030-01-01T00:00:00+00:00", 1.5, level, event, words, more)
    text = line.to_json()
    assert "\n" not in text
    assert LogLine.from_json(text) == line


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", "null", '{"time": "x"}', '{"level": 3}', "[" * 5000])
def test_what_is_no_line_of_ours_is_none(text: str) -> None:
    assert LogLine.from_json(text) is None


def test_lines_are_there_at_once_and_in_order(folder: RunFolder) -> None:
    log = LogFile(folder)
    log.write(Level.INFO, "began", "a driver began", pid=3)
    log.write(Level.WARNING, "died", "trial 1\nlost  its worker", id="ab")
    first, second = read_log(folder)
    assert (first.event, first.level, first.more) == ("began", Level.INFO, {"pid": 3})
    assert second.words == "trial 1 lost its worker"  # one line, whatever a worker's last words were
    assert 0 <= first.seconds <= second.seconds
    log.close()


def test_a_torn_line_does_not_spoil_the_next_one(folder: RunFolder) -> None:
    folder.log.write_text('{"time": "2030", "sec')
    log = LogFile(folder)
    log.write(Level.INFO, "began", "again")
    log.close()
    assert [line.words for line in read_log(folder)] == ["again"]
    assert folder.log.read_text().count("\n") == 2


def test_a_log_that_cannot_be_put_aside_writes_into_no_other_file(folder: RunFolder) -> None:
    """The number of a file that was closed is the next one's: the journal's, say."""
    folder.older_log.mkdir()  # in the way
    log = LogFile(folder, most_bytes=10)
    with pytest.raises(IsADirectoryError):
        log.write(Level.INFO, "over", "one")
    with (folder.path / "other").open("w+b") as other:
        with pytest.raises(IsADirectoryError):
            log.write(Level.INFO, "over", "two")
        log.close()
        assert other.read() == b""
    assert [line.words for line in lines_in(folder.log.read_text().split("\n"))] == ["one", "two"]


def test_the_log_is_bounded(folder: RunFolder) -> None:
    log = LogFile(folder, most_bytes=2000)
    for number in range(100):
        log.write(Level.INFO, "over", f"trial {number}")
    log.close()
    assert folder.log.stat().st_size < 2200
    assert folder.older_log.stat().st_size < 2200
    numbers = [int(line.words.split()[1]) for line in read_log(folder)]
    assert numbers == list(range(numbers[0], 100))
    assert 10 < len(numbers) < 100


def no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_no_new_log_can_be_begun_the_old_one_is_written_on(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that was closed is the next file's: lines would go into that one."""
    log, opened = LogFile(folder, most_bytes=1), os.open
    with monkeypatch.context() as full:
        full.setattr(os, "open", no_space)
        for number in range(2):
            with pytest.raises(OSError, match="No space"):
                log.write(Level.INFO, "over", f"trial {number}")
    other = opened(folder.path / "other", os.O_RDWR | os.O_CREAT)
    log.write(Level.INFO, "over", "trial 2")
    log.close()
    os.close(other)
    assert not (folder.path / "other").read_bytes()
    assert [line.words for line in lines_in(folder.older_log.read_text().splitlines())] == [
        "trial 0", "trial 1", "trial 2",
    ]  # fmt: skip
    assert not folder.log.read_bytes()


def test_the_end_alone_is_read_where_that_is_asked_for(folder: RunFolder) -> None:
    log = LogFile(folder)
    for number in range(100):
        log.write(Level.INFO, "over", f"trial {number}")
    log.close()
    numbers = [int(line.words.split()[1]) for line in read_log(folder, last_bytes=1000)]
    assert numbers == list(range(numbers[0], 100))
    assert 2 <= len(numbers) < 12


def test_a_long_story_is_cut(folder: RunFolder) -> None:
    log = LogFile(folder)
    log.write(Level.INFO, "died", "x" * (MOST_WORDS + 5))
    log.close()
    assert json.loads(folder.log.read_text())["words"] == "x" * MOST_WORDS + " ..."


def test_no_log_has_no_lines(folder: RunFolder) -> None:
    assert read_log(folder) == []


def test_a_line_reads_as_time_level_and_sentence() -> None:
    line = LogLine("2030-01-02T03:04:05+00:00", 1.0, Level.WARNING, "died", "trial 1 lost its worker")
    assert str(line) == "2030-01-02 03:04:05  warning  trial 1 lost its worker"
