"""From a torch module to a blueprint: the traced operations one by one, each by its row of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from torch import Tensor, nn

from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.executed import unfolded_features
from search_spaces.existing.ops import OPS
from search_spaces.existing.reading.heads import channels_of_images, classes_left_out
from search_spaces.existing.reading.tracing import refuse_what_a_trace_does_not_show, trace, unwrapped
from search_spaces.existing.reading.writing import Writing


@dataclass(frozen=True)
class Read:
    """An existing network: its blueprint, and its weights by name, on the CPU, in 32 bits.

    num_classes: of the network as it came. unused: names in its state dict that no operation reads, such as those of
    heads that only train.
    """

    blueprint: Blueprint
    state: Mapping[str, Tensor]
    num_classes: int
    unused: frozenset[str] = frozenset()


def read_network(network: nn.Module, *, input_channels: int | None = None) -> Read:
    """Read a classifier: (N, C, H, W) -> (N, classes), in eval mode. The network stays as it is.

    `input_channels` need only be given where no layer says it. Raises Unreadable, which names the layer, what it is
    and what is supported.
    """
    network = unwrapped(network)
    refuse_what_a_trace_does_not_show(network)
    graph = trace(network)
    channels = input_channels or channels_of_images(network, graph)
    writing = Writing(network, channels)
    for node in graph.nodes:
        writing.read(node)
    head, num_classes, nodes = classes_left_out(writing.finished())
    try:
        blueprint = Blueprint(input_channels=channels, head=head, nodes=nodes)
    except ValidationError as error:  # a layer that runs as two things
        raise Unreadable(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    _refuse_norms_of_no_layer(blueprint)
    state, unused = _weights(network, blueprint)
    return Read(blueprint, state, num_classes, unused)


def _refuse_norms_of_no_layer(blueprint: Blueprint) -> None:
    for norm in unfolded_features(blueprint):
        before = blueprint.by_name.get(norm.reads[0])
        what = "the image" if before is None else f"{before.name} ({before.op})"
        raise Unreadable(
            f"{norm.path} (BatchNorm1d): reads {what}, supported: a linear layer that runs once and whose outputs "
            "nothing else reads"
        )


def _weights(network: nn.Module, blueprint: Blueprint) -> tuple[dict[str, Tensor], frozenset[str]]:
    """The weights that a blueprint's nodes have, by name, and the names of those that none has."""
    paths = {node.path for node in blueprint.nodes if OPS[node.op].has_weights}
    whole = network.state_dict()
    strange = [name for name, value in whole.items() if value.is_complex()]
    if strange:
        raise Unreadable(f"{strange[0]}: is complex, supported: real weights")
    state = {name: _plain(value) for name, value in whole.items() if name.rpartition(".")[0] in paths}
    for node in blueprint.nodes:
        if node.op == "conv" and state[weight := f"{node.path}.weight"].dim() == 2:
            state[weight] = state[weight][:, :, None, None]
    return state, frozenset(whole) - frozenset(state)


def _plain(value: Tensor) -> Tensor:
    value = value.detach()
    value = value if value.is_meta else value.cpu()
    return value.float() if value.is_floating_point() else value
