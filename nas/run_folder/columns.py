"""The table of columns: what the tables of a run folder hold, how a cell is written and how it is read.

Everything that names a column follows from here: the writers, the typed readers of the report, the order in each file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Literal

from nas.candidates.genes import all_genes
from nas.records import COSTS
from nas.run_folder.rows import PARAMS, STRUCTURE, TrialRow
from nas.study import Study


@dataclass(frozen=True, slots=True)
class Kind:
    """How the values of a column are written (nothing is written for None), and their type when they are read."""

    write: Callable[[Any], str]
    dtype: Literal["Int64", "float64", "str"]


def _full(value: Any) -> str:
    """Full precision for floats, `str` for the rest."""
    return repr(value) if isinstance(value, float) else str(value)


def _excesses(value: Mapping[str, float]) -> str:
    return "; ".join(f"{name}={excess!r}" for name, excess in value.items())


COUNT = Kind(lambda value: str(int(value)), "Int64")
MEASURE = Kind(_full, "float64")
EPOCHS = Kind(lambda value: _full(value).removesuffix(".0"), "float64")  # whole ones, unless patience ended a stage
TEXT = Kind(_full, "str")
FLAGS = Kind(" ".join, "str")
EXCESSES = Kind(_excesses, "str")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in the files, its kind, and how it is read off a row (None where there is no value)."""

    name: str
    kind: Kind
    read: Callable[[TrialRow], Any]

    def cell(self, row: TrialRow) -> str:
        value = self.read(row)
        return "" if value is None else self.kind.write(value)


def _own(name: str, kind: Kind) -> Column:
    """A field of the row."""
    return Column(name, kind, attrgetter(name))


def _cost(name: str) -> Column:
    """A cost, or with @TARGET a cost on another target."""
    is_latency = name.partition("@")[0] == "latency_ms"
    return Column(name, MEASURE if is_latency else COUNT, lambda row: row.costs.get(name))


def _structure(name: str) -> Column:
    return Column(name, COUNT if name == "blocks" else MEASURE, lambda row: row.structure.get(name))


def _gene(name: str) -> Column:
    gene = name.removeprefix(PARAMS)
    return Column(name, TEXT, lambda row: row.params.get(gene))


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        *(_own(name, COUNT) for name in ("number", "attempts", "seed", "retry_of")),
        *(_own(name, TEXT) for name in ("state", "reason", "id", "structure_id", "started_at", "artifact", "recipe")),
        _own("reference", TEXT),
        *(_own(name, MEASURE) for name in ("fidelity", "rung", "seconds", "accuracy", "accuracy_se", "train_accuracy")),
        *(_own(name, MEASURE) for name in ("balanced_accuracy", "macro_f1", "log_loss")),
        *(_own(name, MEASURE) for name in ("test_accuracy", "test_accuracy_se")),
        *(_own(name, MEASURE) for name in ("test_balanced_accuracy", "test_macro_f1")),
        *(_own(name, MEASURE) for name in ("expected_gain", "p_on_front", "mean_accuracy")),
        _own("seeds", COUNT),
        _own("epochs", EPOCHS),
        _own("flags", FLAGS),
        _own("violation", EXCESSES),
        Column("trial", COUNT, attrgetter("shown")),
        Column("sparsity", MEASURE, attrgetter("sparsity")),
        Column("search_accuracy", MEASURE, attrgetter("accuracy_in_search")),
        *map(_cost, COSTS),
        *map(_structure, STRUCTURE),
    )
}

# The order in the files; columns of a study's other targets stand behind the same cost on the first.
TRIAL_COLUMNS = (
    "number", "state", "reason", "id", "structure_id", "fidelity", "epochs", "accuracy", "accuracy_se",
    "train_accuracy", "parameters", "size_bytes", "latency_ms", "macs", "peak_memory_bytes",
    "balanced_accuracy", "macro_f1", "log_loss", "violation",
    "attempts", "seconds", "seed", "started_at", "artifact", "flags", "retry_of", "rung", "expected_gain",
    *STRUCTURE, "nonzero_parameters", "coded_bytes", "sparsity",
)  # fmt: skip
FRONT_COLUMNS = (
    "trial", "id", "search_accuracy", "accuracy", "accuracy_se", "test_accuracy", "test_accuracy_se",
    "p_on_front", "seeds", "mean_accuracy",
    "parameters", "size_bytes", "latency_ms", "macs", "peak_memory_bytes",
    "balanced_accuracy", "macro_f1", "log_loss", "test_balanced_accuracy", "test_macro_f1", "flags", "artifact",
    "epochs", "recipe", "nonzero_parameters", "coded_bytes", "sparsity",
)  # fmt: skip
FINALIST_COLUMNS = (*FRONT_COLUMNS, "state", "reason")
REPEAT_COLUMNS = (
    "trial", "id", "seed", "state", "reason", "epochs", "accuracy", "accuracy_se", "train_accuracy",
    "balanced_accuracy", "macro_f1", "log_loss", "parameters", "size_bytes", "latency_ms", "macs",
    "peak_memory_bytes", "seconds", "started_at", "flags", "artifact", "nonzero_parameters", "coded_bytes", "sparsity",
)  # fmt: skip
REFERENCE_COLUMNS = (
    "reference", "id", "seed", "state", "reason", "recipe", "epochs", "accuracy", "accuracy_se", "test_accuracy",
    "test_accuracy_se", "train_accuracy", "parameters", "size_bytes", "latency_ms", "macs", "peak_memory_bytes",
    "balanced_accuracy", "macro_f1", "log_loss", "test_balanced_accuracy", "test_macro_f1", "seconds", "started_at",
    "flags", "artifact", "nonzero_parameters", "coded_bytes", "sparsity",
)  # fmt: skip


@cache
def column(name: str) -> Column | None:
    """The column of this name; None for one that no table here has."""
    if name in COLUMNS:
        return COLUMNS[name]
    if name.startswith(PARAMS):
        return _gene(name)
    return _cost(name) if name.partition("@")[0] in COSTS else None


def kind_of(name: str) -> Kind:
    """The kind of a column by its name; what nobody here knows is text."""
    known = column(name)
    return TEXT if known is None else known.kind


def trial_columns(study: Study) -> list[str]:
    """The columns of trials.csv; genes are all that any network may have."""
    return [*_with_targets(TRIAL_COLUMNS, study), *(PARAMS + gene for gene in all_genes(study))]


def front_columns(study: Study) -> list[str]:
    """The columns of front.csv."""
    return _with_targets(FRONT_COLUMNS, study)


def finalist_columns(study: Study) -> list[str]:
    """The columns of finalists.csv."""
    return _with_targets(FINALIST_COLUMNS, study)


def repeat_columns(study: Study) -> list[str]:
    """The columns of repeats.csv."""
    return _with_targets(REPEAT_COLUMNS, study)


def reference_columns(study: Study) -> list[str]:
    """The columns of references.csv."""
    return _with_targets(REFERENCE_COLUMNS, study)


def _with_targets(names: Sequence[str], study: Study) -> list[str]:
    """With `latency_ms@NAME` for each further target, and `size_bytes@NAME` where its runtime needs another file."""
    first, *others = study.targets
    more = {
        "size_bytes": [f"size_bytes@{target.name}" for target in others if target.runtime != first.runtime],
        "latency_ms": [f"latency_ms@{target.name}" for target in others],
    }
    return [column for name in names for column in (name, *more.get(name, ()))]
