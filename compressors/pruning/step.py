"""Pruning as a step of a compression: at once, or little by little while the network trains on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from compressors.batch_norm import estimate_batch_norm
from compressors.budgets import shared_out
from compressors.pipeline import Method, Options
from compressors.pruning import gradual
from compressors.pruning.channels import check, prune
from compressors.pruning.observed import Scores
from compressors.pruning.places import Group
from compressors.requests.pruned import Prune
from compressors.rewinding import rewind


def _resolve(network: nn.Module, record: Prune, options: Options) -> Prune:
    """The budget, shared out over the groups by their scores."""
    if record.budget is None:
        return record
    criterion, competing = options.importance, record.budget.among(options.groups)
    scores = criterion.score(network, competing, options.evidence)
    units = {group.name: group.unit for group in competing}
    plain = {name: own.tolist() for name, own in criterion.comparable(scores, units).items()}
    return Prune(shared_out(plain, record.budget.ratio, record.budget.grid, units))


def _apply(network: nn.Module, record: Prune, options: Options) -> nn.Module:
    if record.budget is not None:
        raise ValueError("pruned: expected a budget to be resolved before it is applied")
    chosen = check(network, options.groups, record.kept)
    if not chosen:  # a budget that came down to nothing: earlier weights would be those of a network less trained
        return network
    if options.gradual:
        holder = gradual.Gradual(chosen, record.kept, options.importance, options.evidence)
        return gradual.begin(network, holder, ranks=not options.only_shapes)
    scores = _scores(network, chosen, options)
    early = options.evidence.early if options.evidence is not None else None
    if early is not None and not options.only_shapes:
        rewind(network, early)
    prune(network, options.groups, record.kept, importance=lambda _, group: scores[group.name])
    return network


def _scores(network: nn.Module, groups: Sequence[Group], options: Options) -> Scores:
    """Where weights do not matter yet, a criterion that needs to know more than them takes the first channels."""
    if options.only_shapes and options.importance.needs_evidence:
        return {group.name: -torch.arange(group.width, dtype=torch.float32) for group in groups}
    return options.importance.score(network, groups, options.evidence)


PRUNING = Method(
    resolve=_resolve,
    apply=_apply,
    settle=estimate_batch_norm,
    before_step=gradual.proceed,
    averaged=gradual.hold,
    end_stage=lambda network: gradual.proceed(network, 1.0),
    leave=gradual.complete,
)
