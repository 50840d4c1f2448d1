"""Parameter importance: how much of the objectives an additive model predicts from groups of genes, with its error.

Genes of one kind within one stage form a group (`stage2.kernel`), described by how often each choice was taken among
the blocks that were asked. So genes that only some networks have need no made-up value, and a hundred genes become some
thirty groups. A number searched over a range is described by itself and its square. The model is ridge regression on
these shares, costs by their logarithm; on such data it explains more of unseen trials than a model of trees and takes a
tenth of the time. A group's importance is the held-out R2 that is lost when its values are shuffled among the held-out
trials (permutation importance: Breiman 2001, doi:10.1023/A:1010933404324; Fisher et al. 2019, arXiv:1801.01489). Groups
that vary together share their importance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nas.objectives import as_minimised
from nas.records import State
from nas.run_folder.rows import PARAMS

FOLDS, REPEATS = 5, 5
FEWEST_TRIALS, MOST_TRIALS = 20, 1000
SMALLEST_R2 = 0.05
PENALTIES = np.logspace(0, 4, 9)
NOT_ASKED = ""
MOST_CHOICES = 16  # a gene with more answers than this, all numbers, was asked over a range

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupImportance:
    """`loss`: the drop of the held-out R2 when this group's values are shuffled, its standard error over the folds."""

    group: str
    loss: float
    se: float


@dataclass(frozen=True, slots=True)
class ObjectiveImportance:
    """Importances for one objective, the largest first, with the R2 of the model on trials it had not seen.

    `clear` says whether that R2 is at least 0.05 and more than two standard errors above 0; where it is not, the
    importances mean nothing. `r2` is None where there are too few trials, or only one value, to try.
    """

    objective: str
    trials: int
    r2: float | None
    r2_se: float | None
    groups: tuple[GroupImportance, ...] = ()

    @property
    def constant(self) -> bool:
        """Whether there are enough trials, but nothing in them varies."""
        return self.r2 is None and self.trials >= FEWEST_TRIALS

    @property
    def clear(self) -> bool:
        return self.r2 is not None and self.r2_se is not None and self.r2 > max(SMALLEST_R2, 2 * self.r2_se)


def importances(trials: pd.DataFrame, objectives: Sequence[str], *, seed: int = 0) -> list[ObjectiveImportance]:
    """Importances for every objective, from the COMPLETE rows of trials.csv (genes as text, empty if not asked).

    Of more than MOST_TRIALS so many are drawn: what they tell is as sure as anyone wants, and takes seconds.
    """
    complete = trials[trials["state"] == State.COMPLETE]
    if len(complete) > MOST_TRIALS:
        complete = complete.iloc[np.sort(np.random.default_rng(seed).choice(len(complete), MOST_TRIALS, replace=False))]
    groups = group_features(complete)
    return [_importance(complete, groups, objective, seed) for objective in objectives]


def group_of(gene: str) -> str:
    """`stage2.block1.kernel` -> `stage2.kernel`: genes of one kind in one stage belong together."""
    parts = gene.split(".")
    return gene if len(parts) == 1 else f"{parts[0]}.{parts[-1]}"


def group_features(trials: pd.DataFrame) -> dict[str, Array]:
    """Group -> features (trials, features): the share of each choice among the genes asked, or a number and its square.

    Groups that vary only.
    """
    members: Mapping[str, list[str]] = defaultdict(list)
    for column in trials:
        if str(column).startswith(PARAMS):
            members[group_of(str(column).removeprefix(PARAMS))].append(str(column))
    features = {group: _features(trials[columns].to_numpy(dtype=object)) for group, columns in members.items()}
    return {group: values for group, values in features.items() if len(values) and np.ptp(values, axis=0).any()}


def _features(answers: NDArray[Any]) -> Array:
    """(trials, genes) -> (trials, features)."""
    choices = _choices(answers)
    return _powers(answers) if len(choices) > MOST_CHOICES and all(map(_is_number, choices)) else shares_of(answers)


def _choices(answers: NDArray[Any]) -> list[str]:
    return sorted(set(answers.ravel().tolist()) - {NOT_ASKED})


def _is_number(answer: str) -> bool:
    try:
        float(answer)
    except ValueError:
        return False
    return True


def _powers(answers: NDArray[Any]) -> Array:
    """(trials, genes) of numbers -> (trials, 2): the standardized number and its square.

    By the logarithm where all are positive; the mean over the genes asked, and over all trials where none was.
    """
    asked = answers != NOT_ASKED
    numbers = np.where(asked, answers, "nan").astype(np.float64)
    if np.nanmin(numbers) > 0:
        numbers = np.log(numbers)
    counts = asked.sum(axis=1)
    means = np.where(asked, numbers, 0.0).sum(axis=1) / np.maximum(1, counts)
    centred = np.where(counts > 0, means - means[counts > 0].mean(), 0.0)
    standard: Array = centred / max(float(centred.std()), 1e-12)
    return np.stack([standard, standard**2], axis=1)


def shares_of(answers: NDArray[Any]) -> Array:
    """(trials, genes) -> (trials, choices)."""
    counts = np.stack(
        [(answers == choice).sum(axis=1) for choice in _choices(answers)] or [np.zeros(len(answers))], axis=1
    )
    asked = np.maximum(1, (answers != NOT_ASKED).sum(axis=1, keepdims=True))
    shares: Array = counts / asked
    return shares


def _importance(complete: pd.DataFrame, groups: Mapping[str, Array], objective: str, seed: int) -> ObjectiveImportance:
    measured = complete[objective].notna().to_numpy() if objective in complete else np.zeros(len(complete), bool)
    values = complete.loc[measured, objective].to_numpy(dtype="float64") if measured.any() else np.zeros(0)
    if len(values) < FEWEST_TRIALS or not np.ptp(values) or not groups:
        return ObjectiveImportance(objective, len(values), None, None)
    varying = {group: features[measured] for group, features in groups.items()}
    r2, losses = _held_out(varying, as_minimised(objective, values), seed)
    found = [
        GroupImportance(group, float(loss.mean()), _standard_error(loss))
        for group, loss in zip(groups, losses.T, strict=True)
    ]
    found.sort(key=lambda importance: -importance.loss)
    return ObjectiveImportance(objective, len(values), float(r2.mean()), _standard_error(r2), tuple(found))


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _held_out(groups: Mapping[str, Array], target: Array, seed: int) -> tuple[Array, Array]:
    """R2 per fold (folds,) and its loss per fold and group (folds, groups), on the trials of that fold alone."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.hstack(list(groups.values()))
    ends = np.cumsum([values.shape[1] for values in groups.values()])
    random = np.random.default_rng(seed)
    r2, losses = np.zeros(FOLDS), np.zeros((FOLDS, len(groups)))
    for fold, held in enumerate(np.array_split(random.permutation(len(target)), FOLDS)):
        known = np.setdiff1d(np.arange(len(target)), held)
        model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
        model.fit(features[known], target[known])
        spread = max(float(np.mean((target[held] - target[known].mean()) ** 2)), 1e-12)
        shuffled = [
            shuffled_together(features[held], start, end, random)
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
            for _ in range(REPEATS)
        ]
        predicted = model.predict(np.vstack([features[held], *shuffled])).reshape(-1, len(held))
        errors = np.mean((predicted - target[held]) ** 2, axis=1) / spread
        r2[fold] = 1 - errors[0]
        losses[fold] = errors[1:].reshape(-1, REPEATS).mean(axis=1) - errors[0]
    return r2, losses


def shuffled_together(features: Array, start: int, end: int, random: np.random.Generator) -> Array:
    """A copy in which the columns `start` to `end` of one group are moved together to other rows."""
    copy = features.copy()
    copy[:, start:end] = features[random.permutation(len(features)), start:end]
    return copy
