"""`nas sensitivity`: how much accuracy each layer's format and each channel group's ratio would cost one network.

Every accuracy is written when it is there, so that after Ctrl-C or a death the same command goes on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compressors.formats import FORMATS
from compressors.plan import BITS
from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import middle_numbers
from nas.candidates.sampling import prunable_groups
from nas.commands.export import artifact_of
from nas.data import load
from nas.errors import InputError
from nas.files import sha256_of
from nas.restoring import WEIGHTS, restored, trained_candidate
from nas.run_folder.paths import RunFolder
from nas.run_folder.rows import PARAMS
from nas.run_folder.sensitivity import JSON_FILE, Point, Scan, read_scans, write_scan
from nas.scanning import Changes, Subject, scan
from nas.study import Study
from nas.study.file import load_recorded
from nas.training.device import device_of
from nas.training.inference import CalibrationBatches
from nas.workbench import Workbench

USUAL_FORMATS, USUAL_RATIOS = ("int8", "int4", "int2"), (0.25, 0.5, 0.75)
MOST_RATIO = 0.875
AT_ONCE = 4  # values in one table: more are too wide for a terminal


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; nothing: what the study searches, or else what is usual."""

    formats: tuple[str, ...] = ()
    ratios: tuple[float, ...] = ()
    images: int = 1000

    @classmethod
    def of(cls, formats: str | None, ratios: str | None, images: int) -> Wishes:
        """From comma-separated texts. Raises InputError for what is no number."""
        texts = _separated(ratios)
        try:
            return cls(_separated(formats), tuple(map(float, texts)), images)
        except ValueError:
            raise InputError(f"--ratios: expected numbers, got {ratios!r}") from None


def _separated(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


Say = Callable[[int, int], None]


def sensitivity(path: Path, trial: str, wishes: Wishes, *, tell: Say = lambda *_: None) -> Scan:
    """Scan a trial's network, or go on with its scan, and write it into the run folder.

    `tell` hears how many of how many points are there. Raises InputError where there is no such network.
    """
    folder = RunFolder(path)
    study = load_recorded(folder.study)
    name = artifact_of(folder, trial)
    artifact = path / name
    candidate = trained_candidate(artifact)
    changes = changes_of(study, candidate, wishes)
    subject = subject_of(study, folder, candidate, artifact / WEIGHTS, images=wishes.images)
    row = _row(folder, trial, artifact.parent.name)
    found = Scan(
        trial=row.get("number", trial),
        artifact=name,
        candidate_id=artifact.parent.name,
        candidate=json.loads((artifact / "candidate.json").read_bytes()),
        genes=_genes(row),
        weights_sha256=sha256_of(artifact / WEIGHTS),
        images=len(subject.labels),
        accuracy=subject.accuracy(),
    )
    known = next((one.points for one in read_scans(path / JSON_FILE) if one.is_of(found)), ())
    total = len(changes.all_of(candidate))
    for point in scan(subject, changes, known):
        found = found.model_copy(update={"points": (*found.points, point)})
        if point not in known:
            write_scan(path, found)
        tell(len(found.points), total)
    write_scan(path, found)
    return found


def changes_of(study: Study, candidate: Candidate, wishes: Wishes) -> Changes:
    """What is tried. Raises InputError for formats and ratios that no network may have."""
    if wrong := [name for name in wishes.formats if name not in FORMATS or FORMATS[name].is_float]:
        integers = ", ".join(name for name, fmt in FORMATS.items() if not fmt.is_float)
        raise InputError(f"--formats: expected some of {integers}, got {wrong[0]!r}")
    if wrong_ratios := [ratio for ratio in wishes.ratios if not 0 < ratio <= MOST_RATIO]:
        raise InputError(f"--ratios: expected numbers above 0, at most {MOST_RATIO}, got {wrong_ratios[0]:g}")
    asked = study.compression
    searched: tuple[str, ...] = tuple(fmt for fmt in asked.weight_format if not FORMATS[fmt].is_float)
    formats = wishes.formats or (searched if len(searched) > 1 else (*searched, *USUAL_FORMATS))
    ratios = wishes.ratios or tuple(ratio for ratio in asked.pruning_ratio if ratio) or USUAL_RATIOS
    return Changes(
        formats=tuple(sorted(dict.fromkeys(formats), key=BITS.__getitem__, reverse=True)),
        ratios=tuple(sorted(set(ratios))),
        groups=tuple(group.name for group in prunable_groups(candidate.architecture, asked)),
        grid=study.space.width_grid,
    )


def subject_of(study: Study, folder: RunFolder, candidate: Candidate, weights: Path, *, images: int) -> Subject:
    """The network on the study's device, with its data in the candidate's size."""
    size, device = candidate.architecture.input_size, device_of(study.training.device)
    bench = Workbench(study, load(study.data, input_size=size, seed=study.search.seed), folder=folder)
    network = restored(candidate, weights, len(bench.data.class_names)).to(device)
    shown = bench.data.validation.evenly_spaced(images)
    recipe = study.training.resolved(middle_numbers(study.training))  # ranges hardly depend on it
    batches = list(CalibrationBatches(bench.feed(study.search.seed, recipe)))
    pictures, labels = torch.from_numpy(shown.images).to(device), torch.from_numpy(shown.labels)
    return Subject(network, candidate, batches, pictures, labels)


def _row(folder: RunFolder, trial: str, candidate_id: str) -> Mapping[str, str]:
    """The search trial of a candidate, of several that of this number; nothing where the search did not draw it."""
    with folder.trials.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["id"] == candidate_id]
    return next((row for row in rows if row["number"] == trial), rows[0] if rows else {})


def _genes(row: Mapping[str, str]) -> dict[str, str]:
    """The genes that the search drew a candidate by."""
    return {key.removeprefix(PARAMS): value for key, value in row.items() if key.startswith(PARAMS) and value}


def tables_of(found: Scan) -> Iterator[Table]:
    """A table for formats and one for ratios: the change of accuracy in points, a row for each layer or group."""
    for kind, what, title in (("format", "layer", "weights"), ("ratio", "channel group", "share removed")):
        values = list(dict.fromkeys(point.value for point in found.points if point.kind == kind))
        for shown in (values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE)):
            points = [point for point in found.points if point.kind == kind and point.value in shown]
            yield _table(found, points, what, f"Accuracy by {title}, points from {100 * found.accuracy:.2f} %")


def _table(found: Scan, points: Sequence[Point], what: str, title: str) -> Table:
    values = list(dict.fromkeys(point.value for point in points))
    table = Table(title=title)
    table.add_column(what, no_wrap=True)
    for value in values:
        table.add_column(str(value), justify="right")
    for name in dict.fromkeys(point.name for point in points):
        own = {point.value: found.loss(point) for point in points if point.name == name}
        table.add_row(escape(name), *(_cell(own[value]) if value in own else "" for value in values))
    return table


def _cell(loss: float) -> str:
    text = f"{-100 * loss:+.1f}"
    return f"[red]{text}[/]" if loss > 0.02 else "0.0" if text in ("+0.0", "-0.0") else text


def print_scan(console: Console, found: Scan, folder: Path) -> None:
    """The tables, and what they are of."""
    for table in tables_of(found):
        console.print(table)
    console.print(
        f"One change at a time, without training, on {found.images} validation images; activations are floats where no "
        f"format is tried. Written: {escape(str(folder / JSON_FILE))} and a table beside it.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
