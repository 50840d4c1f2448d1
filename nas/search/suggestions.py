"""Candidates that a sensitivity scan suggests: the network it is of, each layer compressed as far as that costs little.

For every tolerance there is one: each compression gene has the strongest choice that, by the scan, loses at most that
much in every layer or channel group the gene is for. Losses of layers add up, and training mends some of them, so
several tolerances are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compressors.plan import BITS
from nas.data.paths import expanded
from nas.errors import InputError
from nas.run_folder.paths import RunFolder
from nas.run_folder.sensitivity import JSON_FILE, Scan, read_scans
from nas.search.draws import Draws
from nas.study import Study
from nas.study.search import OWN_SCAN, is_scan
from search_spaces.trials import middle, middle_of_range

TOLERANCES = (0.0, 0.005, 0.01, 0.02, 0.05)
ROUNDING = 1e-9  # of a difference of two accuracies
Values = dict[str, Any]


def suggestions(study: Study, folder: RunFolder | None) -> list[Values]:
    """The genes of what the scans that `search.warm_start` names suggest, each once; the most careful first.

    Raises InputError where a scan is not there, or of no network of this space. Without a `folder` its own scan is
    passed over.
    """
    found: list[Values] = []
    for number, name in enumerate(study.search.warm_start):
        if not is_scan(name) or (name == OWN_SCAN and folder is None):
            continue
        key = f"search.warm_start[{number}]"
        file = expanded(name, key) if name != OWN_SCAN or folder is None else folder.path / JSON_FILE
        own = [values for scan in _scans(file, key) for values in suggested_by(scan, study)]
        if not own:
            raise InputError(f"{key}: expected a scan of a network of this study's space, got others alone in {file}")
        found += [values for values in own if values not in found]
    return found


def unusable_scans(study: Study, folder: RunFolder | None = None) -> Iterator[str]:
    """Why `nas run` will refuse a scan, in a line that begins with its key; of its own scan only with its `folder`."""
    try:
        suggestions(study, folder)
    except InputError as error:
        yield str(error)


def suggested_by(scan: Scan, study: Study) -> Iterator[Values]:
    """The genes of a candidate for each tolerance; none where the scanned architecture is not of this space."""
    draws, architecture = Draws(study), scan.candidate.get("architecture")
    for tolerance in TOLERANCES:
        answers = Answers(scan, tolerance)
        candidate, _ = draws(answers)
        if candidate.to_json()["architecture"] == architecture:
            yield answers.values


class Answers:
    """A trial that answers as a scan suggests; `values` are its answers.

    What no scan is about has the scanned network's own gene, or the middle where that is no choice here.
    """

    def __init__(self, scan: Scan, tolerance: float) -> None:
        self.values: Values = {}
        self._scan, self._tolerance = scan, tolerance

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        if name not in self.values:
            self.values[name] = self._choice(name, choices)
        return self.values[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return int(self.suggest_categorical(name, range(low, high + 1)))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        own = self._scan.genes.get(name)
        value = middle_of_range(low, high, log=log) if own is None else float(own)
        return float(self.values.setdefault(name, min(max(value, low), high)))

    def _choice(self, gene: str, choices: Sequence[Any]) -> Any:
        scope, _, key = gene.rpartition(".")
        if key == "weight_format":
            return self._strongest("format", scope, sorted(choices, key=BITS.__getitem__))
        if key == "pruning_ratio":
            return self._strongest("ratio", scope, sorted(choices, reverse=True))
        own = self._scan.genes.get(gene)
        return next((choice for choice in choices if str(choice) == own), middle(choices))

    def _strongest(self, kind: str, scope: str, choices: Sequence[Any]) -> Any:
        """Of choices, the strongest first: the first that is known to lose little enough, else the last."""
        losses = self._losses(kind, scope)
        for choice in choices[:-1]:
            if losses and all(of_name.get(choice, 1.0) <= self._tolerance + ROUNDING for of_name in losses.values()):
                return choice
        return choices[-1]

    def _losses(self, kind: str, scope: str) -> Mapping[str, Mapping[Any, float]]:
        """Name of a layer or group within a gene's scope -> value -> loss; nothing is lost by changing nothing."""
        nothing: Any = "fp32" if kind == "format" else 0.0
        found: dict[str, dict[Any, float]] = {}
        for point in self._scan.points:
            inside = scope == "network" or point.name == scope or point.name.startswith(f"{scope}.")
            if point.kind == kind and inside:
                found.setdefault(point.name, {nothing: 0.0})[point.value] = self._scan.loss(point)
        return found


def _scans(file: Path, key: str) -> list[Scan]:
    try:
        found = [scan for scan in read_scans(file) if scan.points]
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
    if not found:
        raise InputError(f"{key}: expected a scan, written by `nas sensitivity`, got none in {file}")
    return found
