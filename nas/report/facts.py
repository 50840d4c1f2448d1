"""The study in words: what was searched, how long and on how much, within which limits, and beside what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.candidates.baseline import baseline_words
from nas.records import QUALITIES
from nas.report.details import Fact
from nas.report.figures import figure
from nas.report.references import Reference, verdict_and_fates
from nas.report.run import Row
from nas.run_folder.rows import words_of
from nas.study import Choices, Compression, Range, Study
from nas.study.numbers import choices_of


def study_facts(folder: Path, study: Study, front: Sequence[Row], references: Sequence[Reference]) -> list[Fact]:
    """What the study asks for, one (label, words) each; `front` and `references` are what came of it."""
    return [
        ("Search", _search(study)),
        ("Epochs", _epochs(study)),
        ("Images", _images(folder, study)),
        ("Recipe", _recipe(study)),
        ("Space", _space(study)),
        ("Objectives", ", ".join(figure(name).label for name in study.objectives)),
        ("Constraints", constraints_words(study)),
        ("Baseline", _baseline(study, front, references)),
    ]


def _search(study: Study) -> str:
    search = study.search
    looks = f", compared at {', '.join(f'{share:g}' for share in study.rungs)} of their epochs" if study.rungs else ""
    asked = f"{_many(search.trials, 'complete trial')} asked for{looks}"
    return f"sampler {search.sampler}, {asked}, {_many(search.finalists, 'finalist')}, seed {search.seed}"


def _many(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _epochs(study: Study) -> str:
    trial, final = study.search_epochs, study.final_epochs
    if not study.search.finalists:
        return f"{trial} of a trial"
    return f"{trial} of a trial and of a finalist" if trial == final else f"{trial} of a trial, {final} of a finalist"


def _images(folder: Path, study: Study) -> str:
    """Images of each part; the number of training images where the study limits it."""
    trial, final = (_training(limit) for limit in (study.search_images, study.final_images))
    told = [f"{trial} training"]
    if study.search.finalists and final != trial:
        told = [f"{trial} training for a trial, {final} for a finalist"]
    if side := study.search.input_size:
        told.append(f"trials begin with {side} × {side} pixels")
    return ", ".join([*told, *(f"{number} {part}" for part, number in _parts(folder / "split.json").items())])


def _training(limit: int | None) -> str:
    return "all" if limit is None else str(limit)


def _parts(file: Path) -> dict[str, int]:
    """How many images are in the recorded parts; none where nothing is recorded."""
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {part: len(recorded[part]) for part in ("validation", "test") if isinstance(recorded.get(part), list)}


def _recipe(study: Study) -> str:
    """The common recipe, and what differs for finalists."""
    training, finals = study.training, study.finals.changes() if study.search.finalists else {}
    searched = ", ".join(training.searched)
    optimizer, batch = (" or ".join(map(str, choices_of(one))) for one in (training.optimizer, training.batch_size))
    told = [f"{optimizer}, schedule {training.schedule}, batches of {batch}", *_without_training(study)]
    rate = training.learning_rate
    told += [] if rate is None or isinstance(rate, Range | Choices) else [f"learning rate {rate:g}"]
    told += [f"searched: {searched.replace('_', ' ')}"] if searched else []
    return ", ".join(told) + (f"; of finalists: {words_of(finals)}" if finals else "")


def _without_training(study: Study) -> list[str]:
    """How networks are quantized, where that is not only by training with the rounding."""
    training, ways = study.training, study.training.quantizations
    if ways == ("aware",):
        return []
    options = {"bias correction": training.bias_correction, "equalization": training.equalization}
    static = [f"calibration {training.calibration}", *(words for words, on in options.items() if on)]
    return [f"quantization {' or '.join(ways)}", *(static if "static" in ways else [])]


def _space(study: Study) -> str:
    compression = study.compression
    ratios = ", ".join(f"{ratio:g}" for ratio in compression.pruning_ratio)
    told = [
        study.space.words,
        f"pruning ratios {ratios}{_words(_ranking(compression) if any(compression.pruning_ratio) else [])}",
        f"weights {', '.join(compression.weight_format)}",
        *_further(compression),
        f"per {compression.granularity}",
    ]
    return "; ".join(told)


def _ranking(compression: Compression) -> list[str]:
    """What ranks channels and how they go, as far as it differs from the default."""
    told = [f"by {compression.importance.replace('_', ' ')}"] if compression.importance != "l2" else []
    told += ["of the whole network"] if compression.pruning_scope == "global" else []
    return told + _schedule(compression)


def _schedule(compression: Compression) -> list[str]:
    told = ["in rounds"] if compression.pruning_schedule == "iterative" else []
    return told + ([f"back to {compression.rewind:.0%} of the dense stage"] if compression.rewind is not None else [])


def _further(compression: Compression) -> Iterator[str]:
    """What else may be done to a network, where it may."""
    masks = [choice for choice in compression.mask_choices if choice is not None]
    if masks:
        scope = ["of the whole network"] if masks[0].scope == "global" else []
        yield f"single weights zeroed: {', '.join(map(str, masks))}{_words([*scope, *_schedule(compression)])}"
    if any(compression.low_rank_choices):
        ranks = ("whole" if choice is None else str(choice) for choice in compression.low_rank_choices)
        yield f"low rank: {', '.join(ranks)}"
    if removed := [key for key in ("blocks", "activations") if any(getattr(compression, f"remove_{key}"))]:
        yield f"{' and '.join(removed)} removed"
    if compression.activation_bits != 8:
        yield f"activations of {compression.activation_bits} bits, simulated"


def _words(told: Sequence[str]) -> str:
    return f" ({', '.join(told)})" if told else ""


def constraints_words(study: Study) -> str:
    """Every limit with its value and unit."""
    told = [
        f"{figure(name).label} at {'least' if name in QUALITIES else 'most'} {_bound(name, limit)}"
        for name, limit in study.limits.items()
    ]
    return ", ".join(told) or "none"


def _bound(name: str, value: float) -> str:
    """A limit as it was asked for: no digit of it is rounded away."""
    known = figure(name)
    shown = f"{100 * value:.10g}" if name in QUALITIES else f"{value * known.scale:,.10g}".replace(",", "\u202f")
    return f"{shown}\u00a0{known.unit}" if known.unit else shown


def _baseline(study: Study, front: Sequence[Row], references: Sequence[Reference]) -> str:
    if not study.baseline:
        return "left out (baseline: false)"
    if not references:
        return f"{baseline_words(study)}; none is trained yet"
    told = " ".join(verdict_and_fates(references, front, study.objectives))
    return told or f"{baseline_words(study)}; not compared"
