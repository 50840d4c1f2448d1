"""Records of a trial: its row, once it is finished, and the notes that are taken when it is asked for.

Both are kept in the journal as flat JSON, in the form that earlier versions wrote as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from compressors.plan import BITS
from nas.candidates.candidate import Candidate
from nas.candidates.hyperparameters import Number, Numbers
from nas.records import COSTS, QUALITIES, Evaluation, LayerReport, State

ROW = "row"  # the note under which the journal keeps a finished trial's row
PARAMS = "params_"  # how columns of genes begin
STRUCTURE = ("blocks", "mean_width", "kept_share", "mean_bits")
BOUND = "bound"  # a flag: costs are not measured, but the least that they may be

Identity = tuple[str, tuple[tuple[str, Number], ...]]


def identity_of(candidate_id: str, numbers: Numbers) -> Identity:
    """What makes two trials the same evaluation: the candidate and its searched training numbers."""
    return candidate_id, tuple(sorted(numbers.items()))


@dataclass(frozen=True)
class TrialNotes:
    """What is noted of a trial beside its parameters, from the ask on.

    `epochs` is the length of its training, `training` its searched numbers, `recipe` what else differs from the
    study's `training`, in keys of `finals`; `teacher` is the artifact of the trial that `recipe` names as teacher.
    `attempts` counts evaluations begun, `deaths` workers that died over it. `duplicate_of` and `retry_of` are numbers
    of trials of the same phase, `search_trial` is the number of a finalist's trial in the search, `reference` the name
    of what is compared with the front.
    """

    candidate_json: Mapping[str, Any]
    id: str
    seed: int
    epochs: int
    training: Numbers = field(default_factory=dict)
    attempts: int = 1
    deaths: int = 0
    duplicate_of: int | None = None
    retry_of: int | None = None
    search_trial: int | None = None
    reference: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None

    @classmethod
    def of(cls, candidate: Candidate, *, seed: int, epochs: int, training: Numbers) -> TrialNotes:
        """The notes of a trial that is asked for now."""
        return cls(candidate.to_json(), candidate.id, seed, epochs, dict(training))

    @cached_property
    def candidate(self) -> Candidate:
        """Read when it is needed: that takes half a millisecond, and a journal may hold ten thousand."""
        return Candidate.from_json(self.candidate_json)

    @property
    def identity(self) -> Identity:
        return identity_of(self.id, self.training)

    @property
    def settings(self) -> dict[str, Any]:
        """All that differs from the study's `training`: the searched numbers, and the recipe over them."""
        return {**self.training, **self.recipe}

    def to_json(self) -> dict[str, Any]:
        """The notes as the journal keeps them; what does not apply is left out."""
        notes = {name: getattr(self, name) for name in _NOTED}
        optional = ("duplicate_of", "retry_of", "search_trial", "teacher", "reference")
        left_out = {name for name in optional if notes[name] is None}
        left_out |= {name for name in ("training", "recipe") if not notes[name]}
        return {"candidate": self.candidate_json} | {k: v for k, v in notes.items() if k not in left_out}

    @classmethod
    def from_json(cls, notes: Mapping[str, Any]) -> TrialNotes:
        """Out of a trial's user attributes, which also hold what others noted."""
        return cls(candidate_json=notes["candidate"], **{name: notes[name] for name in _NOTED if name in notes})


_NOTED = [noted.name for noted in fields(TrialNotes) if noted.name != "candidate_json"]


@dataclass(frozen=True)
class TrialRow:
    """A finished trial as the tables show it. None is what was not measured.

    `number` counts the trials of one phase; a finalist names its search trial in `trial`, and its accuracy there in
    `search_accuracy`. `rung` is the last one that its training has reached. `costs` are those of the first target by
    name, and `latency_ms@NAME` and `size_bytes@NAME` of others. `violation` says by how much, relative to its limit,
    each broken constraint is exceeded. `expected_gain` is by what share the sampler expected this trial to enlarge the
    hypervolume when it proposed it. `p_on_front` is the probability to be on the front; `seeds` trainings of the search
    have `mean_accuracy` together. `recipe` says what differs from the study's `training`, empty for nothing;
    `reference` is the name of what is no candidate of the search.
    """

    number: int
    state: State
    id: str
    reason: str = ""
    structure_id: str = ""
    fidelity: float = 0.0
    epochs: float = 0.0
    accuracy: float | None = None
    accuracy_se: float | None = None
    train_accuracy: float | None = None
    violation: Mapping[str, float] = field(default_factory=dict)
    attempts: int = 1
    seconds: float | None = None
    seed: int = 0
    started_at: str = ""
    artifact: str = ""
    flags: tuple[str, ...] = ()
    test_accuracy: float | None = None
    test_accuracy_se: float | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    log_loss: float | None = None
    test_balanced_accuracy: float | None = None
    test_macro_f1: float | None = None
    retry_of: int | None = None
    rung: float | None = None
    expected_gain: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    structure: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    trial: int | None = None
    search_accuracy: float | None = None
    p_on_front: float | None = None
    seeds: int | None = None
    mean_accuracy: float | None = None
    reference: str | None = None
    recipe: str | None = None

    @property
    def shown(self) -> int:
        """The number that users know it by: that of the search trial."""
        return self.number if self.trial is None else self.trial

    @property
    def label(self) -> str:
        """What users know it by: its name as a reference, else its number."""
        return self.reference or str(self.shown)

    @property
    def sparsity(self) -> float | None:
        """The share of parameters that are zero in the file."""
        nonzero, parameters = self.costs.get("nonzero_parameters"), self.costs.get("parameters")
        return None if nonzero is None or not parameters else 1 - nonzero / parameters

    @property
    def accuracy_in_search(self) -> float | None:
        return self.accuracy if self.trial is None else self.search_accuracy

    def measured(self, objective: str) -> float | None:
        """An objective by its column's name; None where it was not measured."""
        found: float | None = getattr(self, objective) if objective in QUALITIES else self.costs.get(objective)
        return found

    def value(self, objective: str) -> float:
        """An objective by its column's name. Raises ValueError where it was not measured."""
        if (found := self.measured(objective)) is None:
            raise ValueError(f"trial {self.shown}: expected a value of {objective}, got none ({self.state})")
        return found

    def to_json(self) -> dict[str, Any]:
        """The flat form that the journal keeps."""
        row = {name: getattr(self, name) for name in _FLAT} | dict(self.costs) | dict(self.structure)
        row |= {PARAMS + gene: value for gene, value in self.params.items()}
        row |= {"state": str(self.state), "flags": list(self.flags), "violation": dict(self.violation)}
        return row | {name: value for name in _OPTIONAL if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialRow:
        """A row out of the journal. What an earlier version did not record yet has its default."""
        known = {name: row[name] for name in (*_FLAT, *_OPTIONAL) if name in row}
        return cls(
            **known | {"state": State(row["state"]), "flags": tuple(row.get("flags", ()))},
            costs={name: row[name] for name in row if name.partition("@")[0] in COSTS},
            structure={name: row[name] for name in STRUCTURE if name in row},
            params={sys.intern(name.removeprefix(PARAMS)): row[name] for name in row if name.startswith(PARAMS)},
        )


_OPTIONAL = ("trial", "expected_gain", "rung", "recipe", "reference")  # left out of the journal where there is none
_OF_FRONTS = ("search_accuracy", "p_on_front", "seeds", "mean_accuracy")  # never in the journal
_NESTED = ("costs", "structure", "params")
_FLAT = [flat.name for flat in fields(TrialRow) if flat.name not in (*_NESTED, *_OPTIONAL, *_OF_FRONTS)]


def row_in(notes: Mapping[str, Any]) -> TrialRow | None:
    """The row among a trial's user attributes; None while it is not finished."""
    return TrialRow.from_json(notes[ROW]) if ROW in notes else None


def row_of(evaluation: Evaluation, *, number: int, artifact: str, params: Mapping[str, Any]) -> TrialRow:
    """The row of one evaluation; `artifact` is its folder relative to the run folder, `params` its genes."""
    validation, test, measurement = evaluation.validation, evaluation.test, evaluation.measurement
    return TrialRow(
        number=number,
        state=evaluation.state,
        reason=evaluation.reason or _violation_text(evaluation.violations),
        id=evaluation.candidate_id,
        structure_id=evaluation.structure_id,
        fidelity=evaluation.fidelity,
        epochs=evaluation.epochs,
        accuracy=validation.accuracy if validation else None,
        accuracy_se=validation.se if validation else None,
        train_accuracy=evaluation.train_accuracy,
        violation=dict(evaluation.violations),
        attempts=evaluation.attempts,
        seconds=sum(evaluation.seconds.values()) if evaluation.seconds else None,
        seed=evaluation.seed,
        started_at=evaluation.started_at,
        artifact=artifact,
        flags=(*evaluation.flags, *((BOUND,) if measurement and measurement.origin == "bound" else ())),
        test_accuracy=test.accuracy if test else None,
        test_accuracy_se=test.se if test else None,
        balanced_accuracy=validation.balanced_accuracy if validation else None,
        macro_f1=validation.macro_f1 if validation else None,
        log_loss=validation.log_loss if validation else None,
        test_balanced_accuracy=test.balanced_accuracy if test else None,
        test_macro_f1=test.macro_f1 if test else None,
        costs=measurement.costs(evaluation.target) if measurement else {},
        structure=structure_of(evaluation.layers),
        params=params,
    )


def structure_of(layers: Sequence[LayerReport]) -> dict[str, float]:
    """The shipped network in STRUCTURE's four numbers; nothing where no layers are recorded.

    blocks: those inside stages, named `stage2.block1`. mean_width: output channels per layer, without the last one's.
    kept_share: channels left by pruning, of all there were. mean_bits: stored bits per weight, biases apart.
    """
    inner = layers[:-1]
    weights = [layer.parameters - layer.out_channels for layer in layers]
    if not inner or not sum(weights):
        return {}
    return {
        "blocks": len({layer.block for layer in layers if "." in layer.block}),
        "mean_width": sum(layer.out_channels for layer in inner) / len(inner),
        "kept_share": sum(layer.out_channels for layer in inner)
        / sum(layer.unpruned_channels or layer.out_channels for layer in inner),
        "mean_bits": sum(n * BITS[layer.format] for n, layer in zip(weights, layers, strict=True)) / sum(weights),
    }


def words_of(recipe: Mapping[str, Any]) -> str:
    """A recipe in one line, as it is asked for on a command line: `epochs=60 train_images=all`."""
    return " ".join(f"{key}={value}" for key, value in _leaves(recipe))


def _leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value).replace(" ", "")


def _violation_text(violations: Mapping[str, float]) -> str:
    """For records of earlier versions, which left the reason out."""
    return "; ".join(f"{name} {excess:.1%} above its limit" for name, excess in violations.items())
