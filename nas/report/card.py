"""The model card: Markdown beside a shipped file that says what it is, what it reaches and how to run it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from compressors.formats import FORMATS
from compressors.plan import CompressionPlan
from nas.candidates.baseline import GIVEN, is_the_network
from nas.candidates.candidate import Candidate
from nas.records import SIMULATED, Evaluation, LayerReport, Measurement, Score
from nas.report.details import (
    formats_words,
    integer_kernels,
    latency_words,
    parity_words,
    pruning_words,
    unpruned,
)
from nas.report.figures import FIGURES, accuracy_text
from nas.report.zeros import idle_words, sparsity_words
from nas.run_folder.rows import words_of
from nas.runtimes.runtime import Usage, runtime_of
from nas.study import Study

UNTRAINED_FORMATS = {  # by their step
    "calibrated": "Quantized after training, with ranges calibrated on training images.",
    "dynamic": "Quantized after training: linear layers find the range of what they read as they run.",
}


def model_card(
    study: Study,
    candidate: Candidate,
    evaluation: Evaluation,
    class_names: Sequence[str],
    *,
    usage: Usage,
) -> str:
    """The card of one evaluated candidate, as Markdown; `usage` is that of its file.

    Raises ValueError where nothing was measured.
    """
    if evaluation.measurement is None:
        raise ValueError(f"{evaluation.candidate_id}: a card needs measured figures, got none ({evaluation.state})")
    file_name = runtime_of(study.target).file_name
    sections = [
        _head(study, candidate, evaluation, class_names),
        _figures(evaluation, evaluation.measurement, file_name),
        _contract(candidate, class_names),
        _use(usage, file_name),
        _layers(evaluation.layers),
        _limits(study, candidate, evaluation),
    ]
    return "\n\n".join(sections) + "\n"


def text(words: str) -> str:
    """Words of a user as plain Markdown text on one line: no markup, no HTML, no table cell ended early."""
    flat = re.sub(r"\s+", " ", words).strip()
    escaped = re.sub(r"([\\`*_{}\[\]#|!~])", r"\\\1", flat)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _head(study: Study, candidate: Candidate, evaluation: Evaluation, class_names: Sequence[str]) -> str:
    return (
        f"# {text(study.report.title or study.name)}: {candidate.id}\n\n"
        f"An image classifier for {len(class_names)} classes, {_origin(study, evaluation)}.\n"
        f"{_shape(candidate, evaluation, len(class_names))}{_steps(candidate.plan)}\n"
        f"Trained for {evaluation.epochs:g} epochs, seed {evaluation.seed}, phase {evaluation.phase}; "
        f"weights {evaluation.accuracy_source}"
        f"{f'; recipe {text(words_of(evaluation.recipe))}' if evaluation.recipe else ''}."
    )


def _origin(study: Study, evaluation: Evaluation) -> str:
    name = text(study.name)
    if evaluation.phase == "reference":
        which = GIVEN if is_the_network(study) else "the plain baseline"
        return f"{which} beside a search of compact-nas (study {name}), which chose nothing of it"
    chosen = f"pruning and weight formats of {text(study.space.words)}"
    if study.space.block_spaces():
        chosen = "architecture, pruning and weight formats"
    return f"found by compact-nas (study {name}), which chose {chosen} together"


def _shape(candidate: Candidate, evaluation: Evaluation, num_classes: int) -> str:
    """The network in a sentence, read off its layers as shipped, so that it holds for blocks of any kind."""
    layers = candidate.as_recorded(evaluation.resulted).layers(num_classes)
    if not candidate.architecture.blocks():
        return f"{len(dict.fromkeys(layer.block for layer in layers))} parts, {len(layers)} layers."
    blocks = dict.fromkeys(layer.block for layer in layers if "." in layer.block)
    stages = {block.partition(".")[0] for block in blocks}
    inside = [layer for layer in layers if layer.block in blocks]
    kernels = ", ".join(f"{h}x{w}" for h, w in sorted({layer.kernels for layer in inside} - {(1, 1)})) or "1x1"
    excited = len({layer.block for layer in inside if ".squeeze_excite." in layer.name})
    squeeze = f", {excited} with squeeze-excite" if excited else ""
    return (
        f"Stem of {layers[0].out_channels} channels, {len(blocks)} blocks (kernels {kernels}{squeeze}) in "
        f"{len(stages)} stages, {layers[-1].in_channels} features before the classifier; {len(layers)} layers."
    )


def _steps(plan: CompressionPlan) -> str:
    """What was removed, and how formats came about where they were not trained, in sentences."""
    gone = {"blocks_removed": "", "activations_removed": "the activations of "}
    told = [f"{what}{', '.join(plan.steps[step])}" for step, what in gone.items() if plan.steps.get(step)]
    sentences = [f"Removed after dense training: {'; '.join(told)}."] if told else []
    sentences += [words for step, words in UNTRAINED_FORMATS.items() if step in plan.steps]
    return "".join(f" {sentence}" for sentence in sentences)


def _figures(evaluation: Evaluation, measurement: Measurement, file_name: str) -> str:
    origin = f"read off the {measurement.origin}"
    rows = [
        ("validation accuracy", *_score(evaluation.validation, "the split the search selected by", evaluation)),
        ("test accuracy", *_score(evaluation.test, "read only after the search", evaluation)),
        *(
            (f"latency on {text(target)}", f"{FIGURES['latency_ms'].text(latency.latency_ms, unit=True)}",
             text(latency_words(latency)))
            for target, latency in measurement.latency.items()
        ),
        ("file size", FIGURES["size_bytes"].text(measurement.size_bytes, unit=True),
         f"{measurement.size_bytes} bytes of {file_name}; 1 KB is 1000 bytes"),
        *_coded(measurement),
        ("parameters", FIGURES["parameters"].text(measurement.parameters), f"{origin}, batch norm folded"),
        ("non-zero parameters", FIGURES["nonzero_parameters"].text(measurement.nonzero_parameters),
         "counted on the values that the file's layers compute with"),
        ("multiply-accumulates", FIGURES["macs"].text(measurement.macs), "convolutions and linear, one image"),
        ("peak memory", FIGURES["peak_memory_bytes"].text(measurement.peak_memory_bytes, unit=True),
         "largest sum of live activations in file order"),
        ("integer kernels", str(len(evaluation.ran_integer)), text(integer_kernels(evaluation))),
        ("parity with torch", _parity(evaluation), text(parity_words(evaluation.parity))),
    ]  # fmt: skip
    return "## Figures\n\n" + table(("figure", "value", "how it was obtained"), rows) + "\n\n" + _devices(measurement)


def _coded(measurement: Measurement) -> list[tuple[str, str, str]]:
    if measurement.coded_bytes is None:
        return []
    how = (
        f"{measurement.coded_bytes} bytes of the whole file entropy-coded, without loss: `nas export --coded` writes "
        "it, `nas decode` gives the file back"
    )
    return [("coded size", FIGURES["coded_bytes"].text(measurement.coded_bytes, unit=True), how)]


def _score(found: Score | None, use: str, evaluation: Evaluation) -> tuple[str, str]:
    if found is None:
        return "not measured", use
    whose = (
        "of a simulation in torch, not of this file," if evaluation.accuracy_source == SIMULATED else "of the runtime"
    )
    how = f"answers {whose} on {found.images} images, ± one binomial standard error; {use}"
    return f"{accuracy_text(found.accuracy, found.se)} %", how


def _parity(evaluation: Evaluation) -> str:
    if evaluation.parity is None:
        return "not checked"
    return "holds" if evaluation.parity.holds else "does not hold"


def _devices(measurement: Measurement) -> str:
    """Where latencies were measured: they hold there and nowhere else."""
    marks = [(target, latency.fingerprint) for target, latency in measurement.latency.items()]
    lines = [
        f"- {text(target)}: {text(mark.device)}, {text(mark.runtime)}, {text(mark.provider)}, "
        f"threads {mark.threads}, batch {mark.batch}"
        for target, mark in marks
    ]
    return "Latency was measured on:\n\n" + "\n".join(lines) if lines else "No latency was measured."


def _contract(candidate: Candidate, class_names: Sequence[str]) -> str:
    architecture = candidate.architecture
    shape = f"(N, {architecture.input_channels}, {architecture.input_size}, {architecture.input_size})"
    colour = "grey" if architecture.input_channels == 1 else "red, green, blue"
    rows = [
        ("input `image`", f"float32 {shape}", f"{colour}; values in [0, 1], no other normalization"),
        (
            "output `logits`",
            f"float32 (N, {len(class_names)})",
            "one score per class; softmax gives probabilities",
        ),
        ("metadata `class_names`", "JSON list", "class names in the order of `logits`"),
    ]
    names = ", ".join(text(name) for name in class_names)
    return "## Input and output\n\n" + table(("name", "type", "meaning"), rows) + f"\n\nClasses: {names}."


def _use(usage: Usage, file_name: str) -> str:
    return (
        f"## Use\n\nNeeds {usage.needs}, numpy and pillow only. Save as `predict.py` beside `{file_name}` and run "
        f"`python predict.py IMAGE`.\n\n```python\n{usage.program}```"
    )


def _layers(layers: Sequence[LayerReport]) -> str:
    if not layers:
        return "## Layers\n\nNo layers are recorded."
    names = dict.fromkeys(layer.block for layer in layers)
    rows = [_block(name, [layer for layer in layers if layer.block == name]) for name in names]
    head = ("block", "layers", "channels kept", "parameters", "MACs", "formats", "ran")
    told = [formats_words(layers), pruning_words(layers), sparsity_words(layers)]
    summary = f"{len(layers)} layers: {'; '.join(filter(None, told))}."
    return f"## Layers\n\n{summary}\n\n{table(head, rows)}"


def _block(name: str, layers: Sequence[LayerReport]) -> tuple[str, ...]:
    cut = [f"{layer.out_channels} of {unpruned(layer)}" for layer in layers if unpruned(layer) > layer.out_channels]
    ran = Counter(layer.ran for layer in layers)
    return (
        text(name),
        str(len(layers)),
        ", ".join(dict.fromkeys(cut)) or "all",
        FIGURES["parameters"].text(sum(layer.parameters for layer in layers)),
        FIGURES["macs"].text(sum(layer.macs for layer in layers)),
        formats_words(layers),
        ", ".join(f"{n} {kind}" for kind, n in ran.most_common()),
    )


def _limits(study: Study, candidate: Candidate, evaluation: Evaluation) -> str:
    size = candidate.architecture.input_size
    points = [
        f"Trained and scored on {text(study.data.title)} at {size}x{size}; on other images nothing here is promised.",
        "It always answers with one of its classes; an image of none of them gets one all the same.",
        "Latency depends on processor, runtime version, threads and batch: measure again where it counts.",
    ]
    if idle := idle_words("masked" in candidate.plan.steps, candidate.plan.formats.values()):
        points.append(idle)
    if any(FORMATS[name].fills_8_bits for name in candidate.plan.formats.values()):  # sums of fewer bits fit
        points.append(
            "On x86 without VNNI, ONNX Runtime's default 8-bit kernels add in 16 bits and may overflow: set its "
            "session option `session.x64quantprecision` to 1 there."
        )
    if evaluation.test is None:
        points.append("The test split was not read: the validation accuracy was selected for and is optimistic.")
    points += [f"Flagged: {text(flag)}." for flag in evaluation.flags]
    return "## Limits\n\n" + "\n".join(f"- {point}" for point in points)
