"""`nas run --remeasure`: a run whose latencies were measured elsewhere goes on here, once they are measured again.

Every record with a latency of another device gets a successor beside it, one after the other, so that a stop or a death
costs one measurement. When all are there, records, journal and study are exchanged together. Accuracies stay: they were
found where the run was before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.candidates.candidate import Candidate
from nas.errors import InputError
from nas.executors.loop import WorkFailed
from nas.executors.stopping import Stop
from nas.files import write_atomically
from nas.measuring.again import outdated, with_latencies
from nas.measuring.places import PlaceLost, Places
from nas.records import Evaluation, Latency
from nas.run_folder.exchange import exchange
from nas.run_folder.paths import RunFolder, read_evaluation
from nas.runtimes.runtime import RuntimeRefused, file_names
from nas.search.rewriting import candidates_in, rewritten
from nas.study import Study, Target
from nas.study.file import dump_study

RECORD, SUCCESSOR, BACKUP = "evaluation.json", ".evaluation.again.json", ".before"


@dataclass(frozen=True)
class Outdated:
    """A record with latencies of another device: its folder, and the targets that are to measure again."""

    folder: Path
    targets: tuple[Target, ...]
    has_file: bool


def remeasure(
    study: Study, asked: Study, folder: RunFolder, *, places: Places, num_classes: int, stop: Stop
) -> Study | None:
    """Measure again what was measured elsewhere; the study that goes on, None where it was stopped.

    Its hypervolume's reference point is that of the study as `asked` for: one that was fixed by the run is of another
    device. Raises WorkFailed where a place is lost.
    """
    try:
        here = {target.name: places[target.name].fingerprint(target) for target in study.targets}
        with stop.console.status("reading the records") as status:
            # Kept files first: latencies of their structures are known then.
            found = sorted(_outdated(study, folder, here), key=lambda one: not one.has_file)
            if not found:
                return study
            remeasuring = Remeasuring(study, folder, places, num_classes)
            for number, one in enumerate(found):
                if stop.asked:
                    return None
                status.update(f"measuring again: {number} of {len(found)} records")
                remeasuring.record(one, here)
    except PlaceLost as lost:
        raise WorkFailed(f"{lost}; what was measured again is kept, the same command goes on") from None
    study = study.model_copy(update={"report": asked.report})
    _exchange(study, folder, [one.folder for one in found])
    stop.console.print(f"{len(found)} records have latencies of this device now; accuracies are those of before.")
    return study


def _outdated(study: Study, folder: RunFolder, here: Mapping[str, Any]) -> Iterator[Outdated]:
    names = file_names(study.targets)
    for artifact in sorted((folder.path / "artifacts").glob("*/*")):
        evaluation = read_evaluation(artifact)
        targets = outdated(evaluation, study.targets, here) if evaluation is not None else ()
        if evaluation is not None and targets:
            kept = evaluation.phase != "rung" and all(_kept(artifact, target, names) for target in targets)
            yield Outdated(artifact, targets, kept)


def _kept(artifact: Path, target: Target, names: Mapping[str, str]) -> Path | None:
    """The file that a target opens, its own or that of the first; None where it is not kept."""
    first = next(iter(names.values()))
    return next((artifact / name for name in (names[target.name], first) if (artifact / name).exists()), None)


@dataclass
class Remeasuring:
    """Measures records again. A network of a structure that was measured before takes that one's latency, where its own
    file is not kept.
    """

    study: Study
    folder: RunFolder
    places: Places
    num_classes: int
    _known: dict[tuple[str, str], Latency | str] = field(default_factory=dict)  # by structure id and target

    def record(self, one: Outdated, here: Mapping[str, Any]) -> None:
        """Write the successor of a record, unless it is there already and of this very device."""
        before = read_evaluation(one.folder)
        assert before is not None, f"{one.folder}: a record that was there a moment ago"
        after = _successor(one.folder)
        if after is None or not _is_of(after, before) or outdated(after, self.study.targets, here):
            found = {target.name: self._latency(before, one, target) for target in one.targets}
            after = with_latencies(before, found, self.study)
            write_atomically(one.folder / SUCCESSOR, after.model_dump_json(indent=1))
        structure = self._structure(before)
        for target in one.targets:
            if after.measurement is not None and target.name in after.measurement.latency:
                self._known.setdefault((structure, target.name), after.measurement.latency[target.name])

    def _latency(self, before: Evaluation, one: Outdated, target: Target) -> Latency | str:
        key = self._structure(before), target.name
        file = _kept(one.folder, target, file_names(self.study.targets)) if one.has_file else None
        if file is None and key in self._known:
            return self._known[key]
        found = self._measured(file, target) if file is not None else self._untrained(before, target)
        return self._known.setdefault(key, found) if file is None else found

    def _measured(self, file: Path, target: Target) -> Latency | str:
        try:
            return self.places[target.name].measure(file, target)
        except RuntimeRefused as error:
            return " ".join(str(error).split())

    def _untrained(self, before: Evaluation, target: Target) -> Latency | str:
        """Of the same network with random weights, on which latency does not depend."""
        from nas.measuring.latency_benchmark import untrained_file  # with torch, which takes a while

        candidate = self._candidate(before)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / file_names([target])[target.name]
            file.write_bytes(untrained_file(candidate, self.num_classes, target))
            return self._measured(file, target)

    def _candidate(self, before: Evaluation) -> Candidate:
        if before.candidate_id not in self._candidates:
            raise InputError(f"{self.folder.journal}: expected candidate {before.candidate_id}, which has a record")
        return Candidate.from_json(self._candidates[before.candidate_id]).as_recorded(before.resulted)

    def _structure(self, before: Evaluation) -> str:
        """By which records share a latency: what was asked for, and where weights decided, what resulted."""
        return self._candidate(before).structure_id(self.num_classes) if before.resulted else before.structure_id

    @cached_property
    def _candidates(self) -> dict[str, Mapping[str, Any]]:
        return candidates_in(self.folder.journal)


def _successor(artifact: Path) -> Evaluation | None:
    try:
        return Evaluation.model_validate_json((artifact / SUCCESSOR).read_bytes())
    except (OSError, ValueError):
        return None


def _is_of(after: Evaluation, before: Evaluation) -> bool:
    """Whether a successor is of this record, and not of an earlier attempt at the same candidate."""
    same = ("candidate_id", "phase", "seed", "started_at", "attempts", "model_sha256")
    return all(getattr(after, name) == getattr(before, name) for name in same)


def _exchange(study: Study, folder: RunFolder, artifacts: Sequence[Path]) -> None:
    """Put everything in place at once; the journal as it was is kept beside until then."""
    names = {folder.relative(artifact) for artifact in artifacts}
    journal = rewritten(folder, study, lambda name: _successor(folder.path / name) if name in names else None)
    write_atomically(folder.path / (folder.journal.name + BACKUP), folder.journal.read_bytes())
    after = {folder.journal.name: journal, folder.study.name: dump_study(study)}
    for name, content in after.items():
        write_atomically(folder.path / f".{name}.again", content)
    exchange(
        folder.path,
        {f"{name}/{RECORD}": f"{name}/{SUCCESSOR}" for name in sorted(names)}
        | {name: f".{name}.again" for name in after},
        removed=[folder.trials.name, folder.calibration.name, folder.journal.name + BACKUP],
    )
