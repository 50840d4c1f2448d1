"""Before and after, figure by figure and layer by layer: what the table, `table.json` and the page show. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from compressors.plan import whole_of
from nas.compression.logits import Distance
from nas.records import Evaluation, LayerReport
from nas.report.figures import FIGURES, NONE, accuracy_text, present

SCHEMA = 1
LOW = ("parameters", "nonzero_parameters", "size_bytes", "coded_bytes", "macs", "latency_ms", "peak_memory_bytes")
SHARES = ("accuracy", "test_accuracy", "sparsity")
Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after; `after` are its factors where it was factored, none where it is gone."""

    name: str
    before: LayerReport
    after: tuple[LayerReport, ...]

    @property
    def parameters(self) -> tuple[int, int]:
        return self.before.parameters, sum(layer.parameters for layer in self.after)

    @property
    def macs(self) -> tuple[int, int]:
        return self.before.macs, sum(layer.macs for layer in self.after)

    @property
    def channels(self) -> tuple[int, int]:
        """Output channels."""
        return self.before.out_channels, self.after[-1].out_channels if self.after else 0

    @property
    def formats(self) -> str:
        return ", ".join(dict.fromkeys(layer.format for layer in self.after)) or "gone"

    @property
    def ran(self) -> str:
        return ", ".join(dict.fromkeys(layer.ran for layer in self.after)) or NONE

    @property
    def ranks(self) -> tuple[int, ...]:
        """The widths between factors, none of a whole layer."""
        return tuple(layer.out_channels for layer in self.after[:-1])

    @property
    def sparsity(self) -> float | None:
        """The share of zeros among its weights, None where it is not known."""
        known = [layer for layer in self.after if layer.sparsity is not None]
        weights = sum(layer.parameters for layer in known)
        return sum((layer.sparsity or 0.0) * layer.parameters for layer in known) / weights if weights else None


@dataclass(frozen=True)
class Comparison:
    """A network before and after its compression. `base` names it, `plan` says what was done, in words."""

    base: str
    plan: str
    before: Evaluation
    after: Evaluation
    distance: Distance
    limits: Mapping[str, float]

    @property
    def figures(self) -> tuple[Figures, Figures]:
        return figures_of(self.before), figures_of(self.after)

    @property
    def layers(self) -> tuple[LayerChange, ...]:
        return changes(self.before.layers, self.after.layers)

    def to_json(self) -> dict[str, Any]:
        """What `table.json` holds: costs in their units, accuracies as fractions, ratios as after / before."""
        before, after = self.figures
        return {
            "schema_version": SCHEMA,
            "base": self.base,
            "plan": self.plan,
            "before": dict(before),
            "after": dict(after),
            "ratio": {name: ratio(before[name], after[name]) for name in LOW},
            "times_smaller": {name: ratio(after[name], before[name]) for name in LOW},
            "logits": asdict(self.distance),
            "limits": dict(self.limits),
            "flags": {"before": list(self.before.flags), "after": list(self.after.flags)},
            "layers": [layer_json(change) for change in self.layers],
        }


def figures_of(evaluation: Evaluation) -> Figures:
    """Every figure of an evaluation by name, None where it was not measured."""
    known, validation, test = evaluation.known, evaluation.validation, evaluation.test
    found: dict[str, float | None] = {
        "accuracy": None if validation is None else validation.accuracy,
        "accuracy_se": None if validation is None else validation.se,
        "test_accuracy": None if test is None else test.accuracy,
        "test_accuracy_se": None if test is None else test.se,
        **{name: known.get(name) for name in LOW},
    }
    nonzero, parameters = known.get("nonzero_parameters"), known.get("parameters")
    found["sparsity"] = None if nonzero is None or not parameters else 1 - nonzero / parameters
    return found


def ratio(whole: float | None, part: float | None) -> float | None:
    """part / whole, None where one is not known or the whole is 0."""
    return part / whole if present(whole) and present(part) and whole else None


def changes(before: Sequence[LayerReport], after: Sequence[LayerReport]) -> tuple[LayerChange, ...]:
    """Every layer with what became of it, in order of execution."""
    names = {layer.name for layer in before}
    found: dict[str, list[LayerReport]] = {name: [] for name in names}
    for layer in after:
        own = layer.name if layer.name in names else whole_of(layer.name)  # a name may end in a number without factors
        found.setdefault(own, []).append(layer)
    return tuple(LayerChange(layer.name, layer, tuple(found[layer.name])) for layer in before)


def layer_json(change: LayerChange) -> dict[str, Any]:
    return {
        "name": change.name,
        "kind": change.before.kind,
        "channels": list(change.channels),
        "parameters": list(change.parameters),
        "macs": list(change.macs),
        "format": change.formats,
        "ran": change.ran,
        "ranks": list(change.ranks),
        "sparsity": change.sparsity,
    }


@dataclass(frozen=True)
class Line:
    """A row of the table as a reader sees it: a figure before and after, and how they compare in two ways."""

    label: str
    before: str
    after: str
    ratio: str = ""
    times: str = ""


def lines(comparison: Comparison) -> Iterator[Line]:
    """The rows of the table."""
    before, after = comparison.figures
    for name, label in (("accuracy", "validation accuracy (%)"), ("test_accuracy", "test accuracy (%)")):
        first, second = (accuracy_text(figures[name], figures[f"{name}_se"]) for figures in (before, after))
        yield Line(label, first, second, points(before[name], after[name]))
    for name in LOW:
        figure = FIGURES[name]
        part = ratio(before[name], after[name])
        yield Line(
            figure.title,
            figure.text(before[name]),
            figure.text(after[name]),
            NONE if part is None else f"{part:.3f}",
            NONE if not part else f"{1 / part:.2f}x",
        )
    yield Line("zeros among parameters (%)", *(percent(figures["sparsity"]) for figures in (before, after)))
    told = comparison.distance
    yield Line("KL of probabilities (nats)", NONE, f"{told.kl:.4g}")
    yield Line("MSE of logits", NONE, f"{told.mse:.4g}")
    yield Line("same answer (%)", NONE, percent(told.agreement))


def points(before: float | None, after: float | None) -> str:
    """The difference of two shares in points."""
    return f"{100 * (after - before):+.1f} points" if present(before) and present(after) else NONE


def percent(share: float | None) -> str:
    return f"{100 * share:.1f}" if present(share) else NONE
