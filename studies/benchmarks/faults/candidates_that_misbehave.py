"""Candidates that allocate without bound, or hang: they cost themselves alone."""

from __future__ import annotations

from ledger import failures, finished, table
from one_run import Run, compare, over, quick
from outcome import Ground, Outcome

GIGABYTES, MINUTES = 3.0, 1.0
TRIAL = 2  # the one that misbehaves


def hog(ground: Ground) -> Outcome:
    """Trial 2 allocates until search.trial_gigabytes stops it."""
    return misbehaving(ground, "hog", "needed more memory than search.trial_gigabytes", trial_gigabytes=GIGABYTES)


def hang(ground: Ground) -> Outcome:
    """Trial 2 sleeps for ever; search.trial_minutes ends it."""
    return misbehaving(ground, "hang", "took longer than search.trial_minutes", trial_minutes=MINUTES)


def misbehaving(ground: Ground, how: str, reason: str, **limit: float) -> Outcome:
    """One trial fails with the reason, in the first attempt; the same command again repeats nothing."""
    outcome = Outcome(times=1, notes=[reason])
    run = Run(ground.scratch, quick(**limit), {"FAULTS_MISBEHAVE": f"{how}:{TRIAL}"})
    over(outcome, run, run.finish())
    row = next(row for row in table(run.folder / "trials.csv") if row["number"] == str(TRIAL))
    as_expected = row["state"] == "FAILED" and row["reason"].startswith(reason) and row["attempts"] == "1"
    outcome.expect(as_expected, f"trial {TRIAL}: {row['state']}, {row['reason']!r}, attempts {row['attempts']}")
    outcome.expect(failures(run.folder).total() == 1, f"failed: {dict(failures(run.folder))}")
    before = finished(run.folder)
    outcome.expect(run.finish() == 0, "the same command again failed")
    compare(outcome, before, run.folder)
    return outcome
