"""What the page says about a run as a whole: counts, dates, the front's offer, what went wrong, methods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from nas.candidates.baseline import is_the_network
from nas.on_front import LATENCY_SD, UNSTABLE_LATENCY_SD
from nas.records import UNSTABLE, Evaluation, State
from nas.report.figures import FIXED, accuracy_text, figure, present
from nas.report.run import Row
from nas.report.tables import OFF_THE_FRONT, has_flag, records
from nas.runtimes.runtime import runtime_of
from nas.study import Study, Target

PROBLEMS = (State.FAILED, State.INFEASIBLE, State.PRUNED, State.DUPLICATE)
FLAGGED = "FLAGGED"
SHOWN_TRIALS = 8
ENDS = (
    ("accuracy", "Most accurate", "accuracy up to"),
    ("size_bytes", "Smallest file", "files from"),
    ("latency_ms", "Fastest", "latency from"),
)


DYNAMIC = (
    "Linear layers put what they read on a grid over the range of one call's values. Accuracies are of calls with "
    "many images, latencies of calls with the target's batch."
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large type: what it is, its value, and what goes with it."""

    label: str
    value: str
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Trials that ended alike; `example` is the first one's reason in full."""

    phase: str
    state: str
    number: int
    example: str
    trials: str


def state_counts(trials: pd.DataFrame) -> list[tuple[str, int]]:
    """Trials by state, in the order of the enum; an unknown one comes last."""
    found = trials["state"].value_counts().to_dict()
    order = [*(str(state) for state in State), *sorted(str(s) for s in found)]
    return [(state, int(found[state])) for state in dict.fromkeys(order) if found.get(state)]


def when(trials: pd.DataFrame, front: Sequence[Evaluation]) -> str:
    """From the first trial's start to the end of the last trial or member of the front, UTC."""
    spans = [(row["started_at"], row["seconds"] or 0.0) for row in records(trials[["started_at", "seconds"]])]
    spans += [(evaluation.started_at, sum(evaluation.seconds.values())) for evaluation in front]
    moments = [(start, seconds) for text, seconds in spans if (start := _moment(text))]
    if not moments:
        return "no trial started yet"
    first = min(start for start, _ in moments)
    last = max(start + timedelta(seconds=seconds) for start, seconds in moments)
    same_day = first.date() == last.date()
    return f"{first:%d %b %Y, %H:%M} to {last:{'%H:%M' if same_day else '%d %b %Y, %H:%M'}} UTC"


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def data_words(study: Study) -> str:
    data, sizes = study.data, " or ".join(f"{size} × {size}" for size in study.space.input_sizes)
    channels = "grey" if data.input_channels == 1 else "colour"
    return f"{data.title}, {sizes} {channels}"


def best(rows: Sequence[Row], key: str) -> Row | None:
    """The best row in one figure; None where it was not measured."""
    able = [row for row in rows if present(row.get(key))]
    if not able:
        return None
    return max(able, key=lambda r: r[key]) if key == "accuracy" else min(able, key=lambda r: r[key])


def ends(objectives: Sequence[str]) -> list[tuple[str, str, str]]:
    """In what a front has extremes, with words for them: ENDS, and latencies on further targets that are objectives."""
    others = [(name, name.partition("@")[2]) for name in objectives if name.startswith("latency_ms@")]
    return [*ENDS, *((name, f"Fastest on {target}", f"latency on {target} from") for name, target in others)]


def tiles(rows: Sequence[Row], objectives: Sequence[str] = ()) -> list[Tile]:
    """The extremes of the front: most accurate, smallest, fastest on every target that an objective is about."""
    found = []
    for key, label, _ in ends(objectives):
        row = best(rows, key)
        if row is not None:
            found.append(Tile(label, _value(row, key), figure(key).unit, _note(row, key)))
    return found


def _value(row: Row, key: str) -> str:
    return accuracy_text(row[key], row["accuracy_se"]) if key == "accuracy" else figure(key).text(row[key])


def _note(row: Row, key: str) -> str:
    if key != "accuracy":
        accuracy = figure("accuracy").text(row["accuracy"], unit=True)
        shaky = ", not stable" if key.startswith("latency_ms") and UNSTABLE in str(row.get("flags") or "") else ""
        return f"trial {row['trial']}, accuracy {accuracy}{shaky}"
    test = f", test {accuracy_text(row['test_accuracy'], row['test_accuracy_se'])} %"
    return f"trial {row['trial']}{test if present(row['test_accuracy']) else ', test not read yet'}"


def offer(rows: Sequence[Row], objectives: Sequence[str] = (), *, complete: bool) -> str:
    """One sentence: what the front offers, or why it is empty; `complete` says whether any trial is complete."""
    if not rows and complete:
        return "No complete trial can stand on a front, so there is none to choose from."
    if not rows:
        return "No trial is complete yet, so there is no front to choose from."
    extremes = [
        f"{lead} {_value(row, key)}{FIXED}{figure(key).unit}"
        for key, _, lead in ends(objectives)
        if (row := best(rows, key)) is not None
    ]
    networks = "One network is" if len(rows) == 1 else f"{len(rows)} networks are"
    return f"{networks} on the front: {', '.join(extremes)}."


def problems(
    trials: pd.DataFrame,
    finalists: pd.DataFrame,
    repeats: pd.DataFrame | None = None,
    references: Sequence[Row] = (),
) -> list[Problem]:
    """What did not end as a measured candidate, alike reasons together, the most frequent first."""
    trials, finalists = unmended(trials), mended_once(finalists)
    found = [
        *_groups("search", trials, "number"),
        *_groups("final", finalists, "trial"),
        *(_groups("repeat", repeats, "trial") if repeats is not None else ()),
        *_unfinished(references),
        *_disagreeing("search", trials, "number"),
        *_disagreeing("final", finalists, "trial"),
    ]
    order = {name: i for i, name in enumerate((FLAGGED, *map(str, PROBLEMS)))}
    return sorted(found, key=lambda p: (order[p.state], -p.number))


def _groups(phase: str, frame: pd.DataFrame, number: str) -> Iterable[Problem]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in records(frame[[number, "state", "reason"]]):
        if row["state"] in PROBLEMS:
            groups.setdefault((row["state"], alike(row["reason"])), []).append(row)
    for (state, _), rows in groups.items():
        example = rows[0]["reason"] or "no reason recorded"
        yield Problem(phase, state, len(rows), example, _numbers([row[number] for row in rows]))


def _unfinished(references: Sequence[Row]) -> Iterable[Problem]:
    """References that did not end as a measured network."""
    for row in references:
        if row["state"] in PROBLEMS:
            yield Problem("reference", row["state"], 1, row["reason"] or "no reason recorded", row["reference"])


def unmended(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials without those that `nas retry` queued again: their retries tell what became of them."""
    return trials[~trials["number"].isin(trials["retry_of"].dropna())]


def mended_once(finalists: pd.DataFrame) -> pd.DataFrame:
    """Finalists without earlier attempts of those that are complete now, trained by the same recipe."""
    complete = finalists["state"] == State.COMPLETE
    keys = pd.Series(
        list(zip(finalists["trial"], finalists["recipe"], strict=True)), index=finalists.index, dtype=object
    )
    return finalists[complete | ~keys.isin(set(keys[complete]))]


def _disagreeing(phase: str, frame: pd.DataFrame, number: str) -> Iterable[Problem]:
    """Complete trials that are on no front because their file does not answer as their network does."""
    for flag, reason in OFF_THE_FRONT.items():
        flagged = frame[(frame["state"] == State.COMPLETE) & has_flag(frame, flag)]
        if not flagged.empty:
            numbers = _numbers([int(trial) for trial in flagged[number]])
            yield Problem(phase, FLAGGED, len(flagged), f"{flag}: {reason}", numbers)


def alike(reason: str) -> str:
    """A reason with its numbers blanked: `latency_ms 3.2 > 2` and `latency_ms 4.1 > 2` are one."""
    return re.sub(r"\d+(?:[.,e+-]*\d+)*", "#", reason)


def _numbers(numbers: Sequence[int | None]) -> str:
    shown = ", ".join(str(n) for n in numbers[:SHOWN_TRIALS])
    return shown + (f" and {len(numbers) - SHOWN_TRIALS} more" if len(numbers) > SHOWN_TRIALS else "")


def methods(study: Study, evaluations: Sequence[Evaluation]) -> list[tuple[str, str]]:
    """How each number was obtained."""
    measured = [e.measurement for e in evaluations if e.measurement]
    protocols = sorted({latency.protocol for m in measured for latency in m.latency.values()})
    targets = ", ".join(_target(target) for target in study.targets)
    return [
        (
            "Accuracy",
            "Answers of the runtime that loaded the shipped file back, on all images of the split; "
            "± is one binomial standard error, √(p (1 − p) / n); where every answer is right that would be 0 and is "
            "left out, though up to 3 / n wrong ones would not be unlikely. All networks answer the same images; a "
            "difference of one or two standard errors is no evidence.",
        ),
        (
            "Validation and test",
            "The search and every selection use the validation split. The test split is read only after the search.",
        ),
        (
            "On the front",
            "In what share of random draws no other network is as good in everything and better in something, where "
            "accuracies vary by their standard errors and latencies by "
            f"{100 * LATENCY_SD:g} % (unstable ones by {100 * UNSTABLE_LATENCY_SD:g} %), each network by itself. Of "
            "search trials that were trained again with other seeds the mean counts, and accuracies vary as they did "
            "between seeds too. The mean of seeds is of the search's trainings, not of a finalist's.",
        ),
        *([("Baseline", _baseline(study))] if study.baseline else []),
        *([("Dynamic quantization", DYNAMIC)] if "dynamic" in study.training.quantizations else []),
        (
            "Latency",
            "Of one call, measured on the file itself, never predicted; flagged unstable where no two "
            "undisturbed passes agreed. "
            f"Protocol: {', '.join(protocols) or 'none recorded yet'}. Targets: {targets}.",
        ),
        (
            "File size",
            f"Bytes of the shipped {runtime_of(study.target).file_name}: weights, scales, biases, graph. "
            "1 KB is 1000 bytes.",
        ),
        (
            "Parameters, MACs",
            "Weights and biases of convolutions and linear layers as executed, after pruning and "
            "batch-norm folding; multiply-accumulates of the same layers for one image.",
        ),
        ("Peak memory", "Largest sum of live activations in file order, at their stored type."),
    ]


def _baseline(study: Study) -> str:
    alike = "finalists" if study.search.finalists else "search trials"
    which = "Three 3x3 convolutions, global average pooling and a linear classifier"
    if is_the_network(study):
        which = "The network as it was given, uncompressed"
    return (
        f"{which}, trained as {alike} are, but dense in every epoch and without a teacher. fp32 is its file as it is; "
        "int8 is what ONNX Runtime's quantize_static makes of that, with ranges from 512 training images and without "
        "further training. Neither is a candidate of the search."
    )


def _target(target: Target) -> str:
    threads = "1 thread" if target.threads == 1 else f"{target.threads} threads"
    return f"{target.name} ({target.runtime}, {target.provider}, {threads}, batch {target.batch})"
