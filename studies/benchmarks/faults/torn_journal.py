"""A journal whose end is torn, as a machine leaves it that lost its power: cut within a record, or filled with NUL."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from ledger import finished
from one_run import Moment, Run, compare, ended, ended_within, moments, nothing_failed, over, quick
from outcome import Ground, Outcome
from process_table import kill

SHORTEST_SECONDS, LONGEST_SECONDS = 5.0, 14.0


def cut(journal: Path, rng: random.Random) -> None:
    """Cut the last record in its middle."""
    content = journal.read_bytes()
    last = content.rstrip(b"\n").rpartition(b"\n")[0]
    journal.write_bytes(content[: rng.randrange(len(last) + 2, len(content) - 1)])


def fill_with_nul(journal: Path, rng: random.Random) -> None:
    """Bytes that were promised to the file and never written."""
    with journal.open("ab") as file:
        file.write(b"\0" * rng.randrange(1, 5000))


def half_a_record(journal: Path, rng: random.Random) -> None:
    """A further record, of which the beginning alone was written."""
    line = journal.read_bytes().split(b"\n")[0]
    with journal.open("ab") as file:
        file.write(line[: rng.randrange(1, len(line))])


TEARS: tuple[Callable[[Path, random.Random], None], ...] = (half_a_record, cut, fill_with_nul)


def torn_journal(ground: Ground) -> Outcome:
    """The driver is killed, its journal torn in one of three ways, and the same command repairs and continues.

    A record that is cut is lost; what it told is told again from the evaluation's own file.
    """
    outcome, rng = Outcome(), random.Random(ground.seed)
    after_s = moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS)
    for number in ground.runs(outcome):
        run = Run(ground.scratch / str(number), quick(seed=ground.seed + number))
        driver, before = run.start(), finished(run.folder)
        while outcome.times < ground.times and not ended_within(driver, next(after_s)):
            kill(driver)
            outcome.orphans += run.orphans()
            before = compare(outcome, before, run.folder)
            moment = Moment.of(run)
            if (run.folder / "study.log").exists():
                TEARS[outcome.times % len(TEARS)](run.folder / "study.log", rng)
                outcome.times += 1
            driver = run.start()
            moment.note_recovery(outcome, driver)
        code = ended(driver)
        compare(outcome, before, run.folder)
        over(outcome, run, code)
        outcome.expect(run.printed("a torn last record of"), "nothing said that the journal was torn")
        nothing_failed(outcome, run)
    return outcome
