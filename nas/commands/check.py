"""`nas check`: what a study spans, by closed forms alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from rich.table import Table

from compressors.steps import QUANTIZATIONS
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.candidates.counting import candidates_of
from nas.candidates.genes import may_depend_on_weights
from nas.candidates.low_rank import idle_choices
from nas.data import class_count
from nas.estimate.candidates import file_bytes
from nas.measuring.agent.greeting import doubts_of_agents
from nas.records import COSTS
from nas.study import Study

CROWDED, TRIALS_FOR_MANY = 3, 200
# Keys of genes, the costs that they may lower, and what else is to be said where a study looks at none of them.
REWARDS: Mapping[str, tuple[frozenset[str], str]] = {
    "weight_format": (
        frozenset({"size_bytes", "coded_bytes", "latency_ms", "peak_memory_bytes"}), "fewer bits (size_bytes would)"
    ),
    "pruning_ratio": (frozenset(COSTS), "a smaller network"),
    "mask": (frozenset({"nonzero_parameters", "size_bytes", "coded_bytes"}), "zeros (size_bytes would)"),
    "low_rank": (frozenset(COSTS), "a smaller network"),
    "remove_blocks": (frozenset(COSTS), "a smaller network"),
    "remove_activations": (frozenset(COSTS), "a smaller network"),
}  # fmt: skip


def closed_form_costs(candidate: Candidate, num_classes: int) -> dict[str, int]:
    """Costs known without building anything; the bytes are those of weights and biases, less than the file's.

    Where they depend on weights, the least that they may be.
    """
    candidate = candidate.least(num_classes) if candidate.depends_on_weights else candidate
    return {
        "parameters": candidate.parameters(num_classes),
        "macs": candidate.macs(num_classes),
        "size_bytes": candidate.weight_bytes(num_classes),
    }


def check_table(study: Study) -> Table:
    """The smallest, the middle and the largest network with their costs; how many candidates there are."""
    size, classes = candidates_of(study), class_count(study.data)
    title = f"{study.name}: about 10^{math.log10(size):.1f} candidates, {study.search.trials} trials"
    caption = f"Closed forms, {classes} classes. Bytes: those of weights and biases alone, and of the whole file."
    table = Table(title=title, caption=caption)
    for column in ("network", "parameters", "MACs", "bytes", "file bytes"):
        table.add_column(column, justify="left" if column == "network" else "right", no_wrap=True)
    for name, candidate in extreme_candidates(study).items():
        is_bound = candidate.depends_on_weights or (name == "smallest" and may_depend_on_weights(study))
        table.add_row(name, *_cells(study, candidate, classes, "≥ " if is_bound else ""))
        if is_bound:
            table.caption = f"{caption} At least so much (≥) where it depends on weights."
    return table


def _cells(study: Study, candidate: Candidate, classes: int, mark: str) -> Iterator[str]:
    """Costs, and bytes of the file."""
    costs = closed_form_costs(candidate, classes)
    yield from (f"{mark}{cost:,}" for cost in costs.values())
    file = file_bytes(study, candidate, classes)
    yield "-" if file is None else f"{file:,.0f}"


def warnings_of(study: Study) -> list[str]:
    """Choices that cannot do what they seem to, each in a sentence that begins with its key; see also `refusals`."""
    return [
        *_lone_candidate(study),
        *_unrewarded_genes(study),
        *_idle_choices(study),
        *_crowded_objectives(study),
        *_impossible_limits(study),
        *_idle_settings(study),
        *_limits_of_finalists(study),
        *doubts_of_agents(study.targets),
    ]


def _lone_candidate(study: Study) -> Iterator[str]:
    """A network that exists, of which nothing is left to be searched: every trial would be the same."""
    if study.search.trials > 1 and candidates_of(study) == 1 and not study.training.searched:
        yield (
            "compression: leaves nothing to search, so that one trial is all: give choices, such as pruning_ratio: "
            "[0.0, 0.5] and weight_format: [int8, int4]"
        )


def _unrewarded_genes(study: Study) -> Iterator[str]:
    """Genes that change only what no objective or constraint looks at."""
    rewarded = {name.partition("@")[0] for name in (*study.objectives, *study.limits)}
    for key, (costs, reward) in REWARDS.items():
        choices = getattr(study.compression, key)
        if isinstance(choices, tuple) and len(choices) > 1 and not rewarded & costs:
            yield f"compression.{key}: no objective or constraint rewards {reward}"


def _idle_settings(study: Study) -> Iterator[str]:
    """What is set and does nothing, as that which it is about never happens."""
    compression, training = study.compression, study.training
    unpruned = "compression.pruning_ratio removes nothing" if not any(compression.pruning_ratio) else ""
    whole = f"{unpruned}, and compression.mask neither" if unpruned and not any(compression.mask_choices) else ""
    floats = "compression.weight_format draws floats alone" if set(compression.weight_format) == {"fp32"} else ""
    never = {
        way: "" if way in training.quantizations else f"training.quantization is never {way}" for way in QUANTIZATIONS
    }
    told = {  # key -> whether it is set, and why it does nothing
        "compression.importance": (compression.importance != "l2", unpruned),
        "compression.pruning_scope": (compression.pruning_scope == "global", unpruned),
        "compression.pruning_schedule": (compression.pruning_schedule == "iterative", whole),
        "compression.rewind": (compression.rewind is not None, whole),
        "compression.activation_bits": (compression.activation_bits != 8, floats),
        "training.rate_weight": (bool(training.rate_weight), floats or never["aware"]),
        "training.calibration": (training.calibration != "minmax", floats or never["static"]),
        "training.equalization": (training.equalization, floats or never["static"]),
    }
    yield from (f"{key}: {why}: no effect" for key, (is_set, why) in told.items() if is_set and why)


def _idle_choices(study: Study) -> Iterator[str]:
    """Choices that no network of the space can have."""
    for choice in idle_choices(study.space, study.compression, input_channels=study.data.input_channels):
        yield f"compression.low_rank: no layer of this space can be factored by {choice}"


def _crowded_objectives(study: Study) -> Iterator[str]:
    """The more objectives, the fewer candidates are dominated: with many, nearly all stand on the front."""
    if len(study.objectives) > CROWDED and study.search.trials < TRIALS_FOR_MANY:
        yield (
            f"objectives: with {len(study.objectives)} of them and {study.search.trials} trials nearly every candidate "
            f"is best at something, so the front leaves little out; take {CROWDED}, or {TRIALS_FOR_MANY} trials or more"
        )


def _impossible_limits(study: Study) -> Iterator[str]:
    """Limits that not even the smallest network keeps to."""
    least = closed_form_costs(extreme_candidates(study)["smallest"], class_count(study.data))
    for name, limit in study.cost_limits.items():
        if limit < least.get(name, 0):
            yield f"constraints.{name}.max: {limit:g} is below the smallest network's {least[name]:,}"


def _limits_of_finalists(study: Study) -> Iterator[str]:
    """Qualities that no search trial is held to, for it is trained less than what ships."""
    if not study.trials_train_fully:
        for name in study.limits.keys() - study.cost_limits.keys():
            yield f"constraints.{name}.min: holds for finalists alone, since search trials are trained less than they"
