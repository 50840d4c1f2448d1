"""SIGKILL of the driver at random moments; the same command continues each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ledger import attempts, finished, trials, what_was_found
from one_run import Moment, Run, compare, ended, ended_within, moments, over, quick
from outcome import Ground, Outcome
from process_table import kill

SHORTEST_SECONDS, LONGEST_SECONDS = 0.3, 14.0


def driver_kill(ground: Ground) -> Outcome:
    """Runs of two workers, one after the other, until there were enough kills."""
    outcome, after_s = Outcome(), moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS)
    for number in ground.runs(outcome):
        run = Run(ground.scratch / str(number), quick(seed=ground.seed + number))
        kill_until_the_end(run, outcome, after_s, ground)
    return outcome


def driver_kill_alone(ground: Ground) -> Outcome:
    """One worker: whatever is killed, the tables are those of an undisturbed run."""
    study = quick(workers=1, seed=ground.seed)
    undisturbed = Run(ground.scratch / "undisturbed", study)
    outcome = Outcome(notes=["front.csv and finalists.csv are those of an undisturbed run"])
    outcome.expect(undisturbed.finish() == 0, "the undisturbed run failed")
    run = Run(ground.scratch / "killed", study)
    kill_until_the_end(run, outcome, moments(ground.seed, SHORTEST_SECONDS, LONGEST_SECONDS), ground)
    for name in ("front.csv", "finalists.csv"):
        same = what_was_found(run.folder, name) == what_was_found(undisturbed.folder, name)
        outcome.expect(same, f"{name} differs from that of an undisturbed run")
    return outcome


def kill_until_the_end(run: Run, outcome: Outcome, after_s: Iterator[float], ground: Ground) -> None:
    """Kill and continue until the run is over, or there were enough kills, and then once to its end."""
    before, driver, restarts = finished(run.folder), run.start(), Counter[str]()
    while outcome.times < ground.times:
        if ended_within(driver, next(after_s)):
            break
        moment = Moment.of(run)
        kill(driver)
        outcome.times += 1
        outcome.orphans += run.orphans()
        before = compare(outcome, before, run.folder)
        restarts.update(begun(run, before))
        driver = run.start()
        moment.note_recovery(outcome, driver)
        ground.say(f"kill {outcome.times}: {len(before)} finished, {outcome.recovery_s[-1:]} s to recover")
    code = ended(driver)
    compare(outcome, before, run.folder)
    over(outcome, run, code)
    taken = {name: number for name, number in attempts(run.folder).items() if "reference" not in name}
    wrong = {name: (number, 1 + restarts[name]) for name, number in taken.items() if number != 1 + restarts[name]}
    outcome.expect(not wrong, f"attempts recorded, and made: {wrong}")
    outcome.continued += sum(number > 1 for number in taken.values())


def begun(run: Run, done: dict[str, tuple[int, str]]) -> list[str]:
    """Artifact folders of what the journal has begun and the disk has not finished: each is attempted once more."""
    names = []
    for trial in trials(run.folder):
        if trial.ends or trial.attributes.get("duplicate_of") is not None:
            continue
        phase = trial.study.partition("/")[2] or "search"
        place = f"artifacts/{trial.attributes['id']}/{phase}-{trial.attributes['seed']}"
        names += [place] if place not in done else []
    return names
