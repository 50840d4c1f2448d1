"""Masking as a step of a compression, and how masks grow in the stage behind it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from compressors.masking.layers import Layer, hold, layers_of, masked_layers, set_mask
from compressors.masking.numerics import count_at_most, kept_mask, shared_out
from compressors.masking.scores import SCORINGS, Scores
from compressors.pipeline import Method, Options
from compressors.plan import NETWORK
from compressors.ramp import cubic
from compressors.requests.masked import Amount, Mask, Ranking, most_zeros
from compressors.rewinding import rewind

RAMP = 2 / 3  # of the stage: so long masks grow, where they do; then what is left recovers
GRAINS = 50  # times at most that a mask grows: each time its layer's weights are sorted
_GOAL = "mask_goal"  # the zeros that a growing mask ends with


def _scores(network: nn.Module, layers: Mapping[str, Layer], by: Ranking, options: Options) -> Scores:
    """Where weights do not matter yet, nothing has to be known besides them."""
    return SCORINGS["magnitude" if options.only_shapes else by](network, layers, options.evidence)


def _resolve(network: nn.Module, record: Mask, options: Options) -> Mask:
    """The number of zeros of every layer, for the weights as they are."""
    layers = layers_of(network, record)
    counts = _shared(network, layers, record.amounts[NETWORK], options) if record.is_global else _own(layers, record)
    rankings = {name: amount.by for name in layers if (amount := _amount(record, name))}
    return Mask({name: Amount(zeros=zeros, by=rankings[name]) for name, zeros in counts.items() if zeros})


def _amount(record: Mask, name: str) -> Amount:
    found = record.amount_of(name)
    assert found is not None
    return found


def _shared(network: nn.Module, layers: Mapping[str, Layer], amount: Amount, options: Options) -> dict[str, int]:
    if amount.threshold is not None:
        return _own(layers, Mask(dict.fromkeys(layers, amount)))
    most = {name: most_zeros(layer.weight.numel(), len(layer.weight)) for name, layer in layers.items()}
    zeros = amount.zeros_of(sum(layer.weight.numel() for layer in layers.values()))
    return shared_out(_scores(network, layers, amount.by, options), zeros, most)


def _own(layers: Mapping[str, Layer], record: Mask) -> dict[str, int]:
    counts = {}
    for name, layer in layers.items():
        amount, weights = _amount(record, name), layer.weight.numel()
        if amount.threshold is None:
            counts[name] = amount.zeros_of(weights)
        else:
            counts[name] = min(count_at_most(layer.weight, amount.threshold), weights - 1)
    return counts


def _apply(network: nn.Module, record: Mask, options: Options) -> nn.Module:
    """Zero the weights of least score in every layer; growing masks take nothing away yet."""
    layers = layers_of(network, record)
    zeros = {name: _amount(record, name).zeros_of(layer.weight.numel()) for name, layer in layers.items()}
    layers = {name: layer for name, layer in layers.items() if zeros[name]}
    if not layers:  # a request that came down to nothing: earlier weights would be those of a network less trained
        return network
    if options.gradual:
        for name, layer in layers.items():
            set_mask(layer, torch.ones_like(layer.weight, dtype=torch.bool))
            vars(layer)[_GOAL] = zeros[name]
        return network
    masks = _masks(network, layers, zeros, record, options)
    _rewind(network, options)
    for name, mask in masks.items():
        set_mask(layers[name], mask)
    return network


def _masks(
    network: nn.Module, layers: Mapping[str, Layer], zeros: Mapping[str, int], record: Mask, options: Options
) -> Scores:
    """The mask of each layer; weights of one ranking are ranked together."""
    found: Scores = {}
    for by in dict.fromkeys(_amount(record, name).by for name in layers):
        ranked = {name: layer for name, layer in layers.items() if _amount(record, name).by == by}
        scores = _scores(network, ranked, by, options)
        found |= {name: kept_mask(scores[name], zeros[name]) for name in ranked}
    return found


def _rewind(network: nn.Module, options: Options) -> None:
    """Go back to early weights, where the network is still the one that they were taken of."""
    early = options.evidence.early if options.evidence is not None else None
    if early is None or options.only_shapes:
        return
    own = network.state_dict()
    if own.keys() == early.keys() and all(own[name].shape == early[name].shape for name in own):
        rewind(network, early)


def _grow(network: nn.Module, done: float) -> None:
    """Masks that grow take away the weights that are smallest by now."""
    for layer, mask in masked_layers(network):
        if _GOAL in vars(layer):
            goal: int = vars(layer)[_GOAL]
            zeros = round(goal * cubic(done / RAMP))
            more = zeros - (mask.numel() - int(mask.sum()))
            if more > 0 and (zeros == goal or more * GRAINS >= goal):
                set_mask(layer, kept_mask(layer.weight.detach().abs().where(mask, -1.0), zeros))


def _grown(network: nn.Module) -> nn.Module:
    """The network with masks that are as large as they were to become, whether or not a stage was trained."""
    _grow(network, 1.0)
    return network


MASKING = Method(
    resolve=_resolve,
    apply=_apply,
    before_step=_grow,
    averaged=hold,
    end_stage=lambda network: _grow(network, 1.0),
    leave=_grown,
)
