from __future__ import annotations

from pathlib import Path

import pytest

from nas.commands.logs import Wanted, logs
from nas.errors import InputError
from nas.run_folder.log import Level, LogFile
from nas.run_folder.paths import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    log = LogFile(folder)
    log.write(Level.INFO, "began", "a driver began")
    log.write(Level.INFO, "started", "trial 3 begins", phase="search", number=3, id="ab12cd34")
    log.write(Level.DEBUG, "rung", "trial 3 is at rung 0.5", phase="search", number=3, id="ab12cd34")
    log.write(Level.WARNING, "died", "trial 13 lost its worker", phase="search", number=13, id="ee12cd34")
    log.write(Level.INFO, "over", "final 0 is complete", phase="final", number=0, id="ab12cd34")
    log.write(Level.INFO, "over", "final 3 is complete", phase="final", number=3, id="ffff0000")
    log.close()
    return folder


def words(folder: RunFolder, wanted: Wanted) -> list[str]:
    return [line.split("  ")[-1].strip() for line in logs(folder.path, wanted, follow=False)]


def test_all_but_details_by_default(folder: RunFolder) -> None:
    assert len(words(folder, Wanted())) == 5
    assert len(words(folder, Wanted(Level.DEBUG))) == 6
    assert words(folder, Wanted(Level.WARNING)) == ["trial 13 lost its worker"]


@pytest.mark.parametrize("trial", ["3", "ab12", "ab12cd34"])
def test_what_is_told_of_one_network(folder: RunFolder, trial: str) -> None:
    """Its finalist goes by another number, and finalist 3 is another network."""
    assert words(folder, Wanted(trial=trial)) == ["trial 3 begins", "final 0 is complete"]


@pytest.mark.parametrize("trial", ["ab1", "99", "1"])
def test_a_number_is_none_s_beginning(folder: RunFolder, trial: str) -> None:
    assert words(folder, Wanted(trial=trial)) == []


def test_a_trial_whose_beginning_is_too_fine_to_show_is_known_all_the_same(folder: RunFolder) -> None:
    log = LogFile(folder)
    log.write(Level.DEBUG, "rung", "trial 5 is at rung 0.5", phase="search", number=5, id="1234abcd")
    log.write(Level.INFO, "over", "repeat 0 is complete", phase="repeat", number=0, id="1234abcd")
    log.close()
    assert words(folder, Wanted(trial="5")) == ["repeat 0 is complete"]


def test_where_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run folder"):
        logs(tmp_path, Wanted(), follow=False)
    (tmp_path / "study.yaml").write_text("")
    with pytest.raises(InputError, match=r"holds no run\.log yet"):
        logs(tmp_path, Wanted(), follow=False)


def test_following_sees_what_comes_even_over_a_log_that_is_put_aside(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log, numbers = LogFile(folder, most_bytes=1500), iter(range(1, 40))
    log.write(Level.INFO, "over", "trial 0")
    lines = logs(
        tmp_path, Wanted(), follow=True, sleep=lambda _: log.write(Level.INFO, "over", f"trial {next(numbers)}")
    )
    assert [int(next(lines).split()[-1]) for _ in range(40)] == list(range(40))
    assert folder.older_log.exists()
    log.close()
