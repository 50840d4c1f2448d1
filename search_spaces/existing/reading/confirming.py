"""Whether a network that is built from its blueprint computes what the network did that was read."""

from __future__ import annotations

import copy

import torch
from torch import nn

from search_spaces.existing.building import ExistingNetwork, begin_with
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.reading.network import Read
from search_spaces.own_code import told

TOLERANCE = 1e-4  # of the largest logit


def refuse_other_outputs(network: nn.Module, read: Read, image_size: int) -> None:
    """Raise Unreadable where the two give other logits for random images of this size, or the network gives none.

    What a trace cannot show is found here: views that are overwritten in place, layers that do not obey `eval()`.
    """
    images = torch.rand(
        2, read.blueprint.input_channels, image_size, image_size, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        original = copy.deepcopy(network).cpu().float().eval()
        try:
            expected = original(images)
        except Exception as error:  # the network's own code may raise anything at all
            size = f"{image_size}x{image_size}"
            raise Unreadable(f"the network cannot take images of {size} pixels: {told(error)}") from None
        rebuilt = ExistingNetwork(read.blueprint, read.num_classes).eval()
        begin_with(rebuilt, read.state)
        try:
            found = rebuilt(images)
        except RuntimeError as error:
            raise _other(network, f"these cannot be run: {told(error)}") from None
    if expected.shape != found.shape:
        raise _other(network, f"it gives {tuple(expected.shape)}, they give {tuple(found.shape)}")
    expected, found = _as_probabilities(expected, found)
    off = float((expected - found).abs().max())
    if not off <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise _other(network, f"its logits differ by up to {off:.2g}")


def _other(network: nn.Module, how: str) -> Unreadable:
    return Unreadable(
        f"the network ({type(network).__name__}): computes something else than the operations that it was read as: "
        f"{how}, supported: a forward without side effects and random numbers"
    )


def _as_probabilities(expected: torch.Tensor, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as they are; as probabilities or their logarithms where the network ended with those, which are left out."""
    for ending in (torch.softmax, torch.log_softmax):
        ended = ending(found, 1)
        if torch.allclose(expected, ended, atol=TOLERANCE):
            return expected, ended
    return expected, found
