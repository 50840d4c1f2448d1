"""The clock set back and forward while a run goes on, by libfaketime: the wall clock alone, as administrators do."""

from __future__ import annotations

from pathlib import Path

from ledger import attempts, finished
from one_run import Run, compare, ended, ended_within, over, quick
from outcome import Ground, Outcome

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
JUMPS = ("-2d", "+3d", "-1h")
SECONDS_BETWEEN = 5.0


def library() -> str:
    """libfaketime for programs with threads; empty where it is not installed."""
    found = [str(path) for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])]
    return found[0] if found else ""


def no_faketime() -> str:
    return "" if library() else "libfaketime is not installed (apt-get install faketime)"


def clock(ground: Ground) -> Outcome:
    """Back two days, forward three, back again; limits of time hold as if nothing had happened."""
    setting = ground.scratch / "faketime.rc"
    setting.parent.mkdir(parents=True, exist_ok=True)
    setting.write_text("+0\n", encoding="utf-8")
    environment = {
        "LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(setting), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    outcome = Outcome()
    run = Run(ground.scratch, quick(trial_minutes=2.0, hours=1.0, seed=ground.seed), environment)
    driver = run.start()
    for jump in JUMPS:
        before = finished(run.folder)
        if ended_within(driver, SECONDS_BETWEEN):
            break
        setting.write_text(f"{jump}\n", encoding="utf-8")
        outcome.times += 1
        compare(outcome, before, run.folder)
    before = finished(run.folder)
    code = ended(driver)
    compare(outcome, before, run.folder)
    over(outcome, run, code)
    outcome.expect(set(attempts(run.folder).values()) == {1}, f"attempts: {attempts(run.folder)}")
    return outcome
