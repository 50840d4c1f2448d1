"""What one artifact's evaluation.json tells: facts in words, and its layers as rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.records import Evaluation, Latency, LayerReport, Measurement, Parity, Score
from nas.report.figures import FIGURES, NONE, accuracy_text, significant
from nas.report.zeros import sparsity_words
from nas.run_folder.rows import words_of

Fact = tuple[str, str]

SPLITS = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder's evaluation, or in words why there is none. `scores` are its splits' scores as the file has them."""

    evaluation: Evaluation | None
    missing: str = ""
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_artifact(folder: Path, artifact: str) -> Artifact:
    """The evaluation recorded in `artifact`, a folder relative to the run folder."""
    if not artifact:
        return Artifact(None, "No artifact folder is recorded.")
    path = folder / artifact / "evaluation.json"
    try:
        record = json.loads(path.read_bytes())
        scores = {split: record[split] for split in SPLITS if record.get(split)}
        known = {split: {k: v for k, v in score.items() if k in Score.model_fields} for split, score in scores.items()}
        return Artifact(Evaluation.model_validate({**record, **known}), scores=scores)
    except FileNotFoundError:
        return Artifact(None, f"The artifact is missing: there is no {artifact}/evaluation.json.")
    except (OSError, ValueError, TypeError, AttributeError) as error:  # whatever a broken file may hold
        reason = str(error).splitlines()[0]
        return Artifact(None, f"{artifact}/evaluation.json cannot be read: {reason}")


def facts(evaluation: Evaluation) -> list[Fact]:
    """How this evaluation came about and what was checked, one (label, words) each."""
    found = [
        ("Evaluated", _schedule(evaluation)),
        ("Accuracy", _accuracy(evaluation)),
        ("Integer kernels", integer_kernels(evaluation)),
        ("Parity with torch", parity_words(evaluation.parity)),
        *((f"Parity on {target}", parity_words(parity)) for target, parity in evaluation.other_parity.items()),
    ]
    latencies = evaluation.measurement.latency if evaluation.measurement else {}
    found += [(f"Latency on {target}", latency_words(latency)) for target, latency in latencies.items()]
    if evaluation.measurement and evaluation.measurement.coded_bytes:
        found.append(("Entropy-coded", coded_words(evaluation.measurement)))
    found.append(("Seconds", seconds_words(evaluation.seconds)))
    if evaluation.training:
        numbers = ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in evaluation.training.items())
        found.append(("Training numbers", numbers))
    if evaluation.recipe:
        found.append(("Recipe", words_of(evaluation.recipe)))
    if evaluation.layers:
        found.append(("Formats", formats_words(evaluation.layers)))
        found.append(("Pruning", pruning_words(evaluation.layers)))
        found += [("Zeros", words)] if (words := sparsity_words(evaluation.layers)) else []
    return found


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else significant(value)


def _schedule(evaluation: Evaluation) -> str:
    budget = evaluation.budget
    epochs = f"{evaluation.epochs:g} of {budget} epochs" if budget else "no epochs recorded"
    return f"{evaluation.phase}, seed {evaluation.seed}, {epochs}, weights {evaluation.accuracy_source}"


def _accuracy(evaluation: Evaluation) -> str:
    scores = [_score("validation", evaluation.validation), _score("test", evaluation.test)]
    train = evaluation.train_accuracy
    scores.append("" if train is None else f"train {accuracy_text(train, None)} %")
    return ", ".join(filter(None, scores)) or "not measured"


def _score(name: str, score: Score | None) -> str:
    if score is None:
        return ""
    return f"{name} {accuracy_text(score.accuracy, score.se)} % of {score.images} images"


def integer_kernels(evaluation: Evaluation) -> str:
    """How many layers ran as integer kernels of those that were to; the others are named."""
    asked, ran = set(evaluation.asked_integer), set(evaluation.ran_integer)
    if not asked:
        return "none asked for" + (f", {len(ran)} ran" if ran else "")
    absent = [name for name in evaluation.asked_integer if name not in ran]
    words = f"{len(asked & ran)} of {len(asked)} layers asked for ran as integer kernels"
    return words + (f"; in float: {', '.join(absent)}" if absent else "")


def parity_words(parity: Parity | None) -> str:
    if parity is None:
        return "not checked"
    return (
        f"{'holds' if parity.holds else 'does not hold'} on {parity.images} images: "
        f"same answer on {100 * parity.argmax_agreement:.2f} %, "
        f"{100 * parity.within_tolerance:.2f} % of logits within {significant(parity.tolerance)} "
        f"(largest difference {significant(parity.max_difference)}), "
        f"clear-margin disagreements {parity.clear_margin_disagreements}, "
        f"accuracy apart by {100 * parity.accuracy_difference:.2f} points"
    )


def latency_words(latency: Latency) -> str:
    lowest = ", ".join(significant(min(samples) / 1000) for samples in latency.passes_us if samples)
    passes = f"{len(latency.passes_us)} passes ({'stable' if latency.stable else 'not stable'})"
    return (
        f"{significant(latency.latency_ms)} ms; {passes}, lowest sample of each {lowest or NONE} ms; "
        f"control network {significant(latency.control_ms)} ms; protocol {latency.protocol}"
    )


def coded_words(measurement: Measurement) -> str:
    """The size of the file entropy-coded, beside its own; a runtime needs it decoded."""
    assert measurement.coded_bytes is not None
    share = 100 * measurement.coded_bytes / measurement.size_bytes
    size = FIGURES["coded_bytes"].text(measurement.coded_bytes, unit=True)
    return f"{size}, {share:.0f} % of the file: to store or send; a runtime reads it decoded"


def seconds_words(seconds: Mapping[str, float]) -> str:
    """What each part took; parts of no time to speak of are left out."""
    if not seconds:
        return "not recorded"
    told = [f"{part} {value:.1f}" for part, value in seconds.items() if round(value, 1) > 0]
    return ", ".join(told) or "less than 0.1 in all"


def formats_words(layers: Iterable[LayerReport]) -> str:
    """Layers per weight format, `12 int8, 3 int4`."""
    return ", ".join(f"{n} {name}" for name, n in Counter(layer.format for layer in layers).most_common())


def pruning_words(layers: Iterable[LayerReport]) -> str:
    """How many channels are left of how many, over the layers that lost any."""
    cut = [(layer.out_channels, full) for layer in layers if (full := unpruned(layer)) > layer.out_channels]
    if not cut:
        return "no channel removed"
    kept, full = (sum(column) for column in zip(*cut, strict=True))
    return f"{kept} of {full} channels kept in {len(cut)} pruned layers"


def unpruned(layer: LayerReport) -> int:
    """Output channels before pruning; a layer that records none was not pruned."""
    return layer.unpruned_channels or layer.out_channels


def layer_rows(layers: Iterable[LayerReport]) -> list[list[Any]]:
    """Rows for the page's layer table, in order of execution."""
    return [
        [layer.block, layer.name, layer.kind, layer.kernel, layer.out_channels, unpruned(layer),
         layer.parameters, layer.macs, layer.format, layer.ran, layer.kernel_width or layer.kernel, layer.sparsity]
        for layer in layers
    ]  # fmt: skip


def machine_facts(evaluations: Iterable[Evaluation]) -> list[Fact]:
    """The machine and versions recorded, each different value once."""
    found: dict[str, dict[str, None]] = {}
    for evaluation in evaluations:
        for label, value in [*_flat(evaluation.machine.model_dump()), *_fingerprints(evaluation)]:
            found.setdefault(label, {})[value] = None
    return [(label, " · ".join(values)) for label, values in found.items()]


def _flat(data: Mapping[str, Any]) -> Iterable[Fact]:
    """Nested mappings as one level; `versions` adds nothing to the names below it."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif isinstance(value, list | tuple):
            yield key.replace("_", " "), ", ".join(map(str, value))
        else:
            yield key.replace("_", " "), str(value)


def _fingerprints(evaluation: Evaluation) -> Iterable[Fact]:
    latencies = evaluation.measurement.latency if evaluation.measurement else {}
    for target, latency in latencies.items():
        mark = latency.fingerprint
        sets = f" ({', '.join(mark.instruction_sets)})" if mark.instruction_sets else ""
        threads = f"{mark.threads} thread{'s' if mark.threads != 1 else ''}"
        yield (
            f"target {target}",
            (f"{mark.device}{sets}, {mark.runtime}, {mark.provider}, {threads}, batch {mark.batch}"),
        )
