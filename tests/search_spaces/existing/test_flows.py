"""What existing networks do between their layers: the flows are run, and give what the torch network gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import pytest
import torch
from drafts import Draft, dense, residual, shuffled
from torch import Tensor, nn

from search_spaces.existing.blueprint import INPUT as IMAGE
from search_spaces.existing.blueprint import Blueprint
from search_spaces.existing.building import ExistingNetwork
from search_spaces.existing.executed import folded_norms
from search_spaces.existing.flows import IDLE, stretches_of
from search_spaces.existing.ops import OPS
from search_spaces.flows import INPUT, Op, Operation, Stretch

FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "normalize": lambda x: x,
    "relu": torch.relu,
    "average": lambda x: x.mean((2, 3), keepdim=True),
    "flatten": lambda x: x.flatten(1),
    "add": lambda a, b: a + b,
    "concatenate": lambda *parts: torch.cat(parts, 1),
    "max_pool": lambda x: nn.functional.max_pool2d(x, 2, 2),
}


def pooled() -> Blueprint:
    """A plain chain with pooling and dropout."""
    draft = Draft()
    x = draft.unit("a", IMAGE, 4)
    x = draft.add("max_pool", x, shape=(4, 4), kernel_size=[2, 2], stride=[2, 2], padding=[0, 0], dilation=[1, 1],
                  ceil_mode=False)  # fmt: skip
    x = draft.unit("b", draft.add("dropout", x, p=0.5), 6)
    return draft.done(draft.add("dropout", draft.flatten(draft.pooled(x)), p=0.5))


def twice() -> Blueprint:
    """One convolution that is run twice."""
    draft = Draft()
    x = draft.add("relu", draft.conv("a", IMAGE, 3, bias=True))
    return draft.done(draft.add("relu", draft.conv("again", x, 3, bias=True, module="a")))


NETWORKS = {"residual": residual, "dense": dense, "shuffled": shuffled, "pooled": pooled}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_the_flows_one_after_the_other_compute_what_the_network_computes(make: Callable[[], Blueprint]) -> None:
    blueprint = make()
    torch.manual_seed(0)
    network = ExistingNetwork(blueprint, 5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = torch.rand(2, 3, 8, 8)
    x = images
    for stretch in stretches_of(blueprint, 8, 0) or ():
        x = run(stretch, network, folded_norms(blueprint), x)
    torch.testing.assert_close(x, network(images))


def run(stretch: Stretch, network: nn.Module, folded: Mapping[str, str], x: Tensor) -> Tensor:
    """What a stretch makes of a tensor, layer by layer of the torch network."""
    results = {INPUT: x}
    for number, operation in enumerate(stretch.flow):
        given = operated(operation, [results[read] for read in operation.reads], network, folded)
        if operation.size is not None and given.ndim == 4:
            assert tuple(given.shape[2:]) == operation.size
        results[number] = given
    return results[len(stretch.flow) - 1]


def operated(operation: Operation, reads: list[Tensor], network: nn.Module, folded: Mapping[str, str]) -> Tensor:
    if operation.op == "select":
        chosen: Tensor = reads[0][:, list(dict[str, Any](operation.fields)["channels"])]
        return chosen
    if operation.op != "layer":
        return FUNCTIONS[operation.op](*reads)
    given: Tensor = network.get_submodule(operation.layer)(*reads)
    for norm in (norm for norm, conv in folded.items() if conv == operation.layer):
        given = network.get_submodule(norm)(given)
    return given


def test_a_stretch_is_a_part_where_one_tensor_carries_all_on() -> None:
    found = stretches_of(residual(), 8, 0) or ()
    assert [stretch.parts for stretch in found] == [("conv1",), ("layer1.0",), ("layer1.1",), ("layer2.0",), ("fc",)]
    assert [stretch.flow[-1].op for stretch in found] == ["relu", "relu", "relu", "flatten", "layer"]


def test_parts_that_all_read_the_same_tensors_are_one_stretch() -> None:
    parts = [stretch.parts for stretch in stretches_of(dense(), 8, 0) or ()]
    layers = tuple(f"features.denseblock1.denselayer{number}" for number in (1, 2))
    assert parts == [("features.conv0",), layers, ("features.transition1",), ("classifier",)]


def test_pooling_belongs_to_what_comes_before_it_and_dropout_to_nothing() -> None:
    found = stretches_of(pooled(), 8, 0) or ()
    assert [[operation.op for operation in stretch.flow] for stretch in found] == [
        ["normalize", "layer", "relu", "max_pool"], ["layer", "relu", "average", "flatten"], ["layer"],
    ]  # fmt: skip


def test_the_first_operation_says_how_many_numbers_normalise_pixels() -> None:
    assert [(stretches_of(pooled(), 8, n) or ())[0].flow[0].fields for n in (0, 3)] == [
        (("channels", 0),), (("channels", 3),),
    ]  # fmt: skip


def test_a_layer_that_is_run_twice_has_no_flow() -> None:
    assert stretches_of(twice(), 8, 0) is None


def test_every_operation_of_a_blueprint_has_its_name_in_flows() -> None:
    named = {op for op, row in OPS.items() if not row.has_weights and op not in IDLE}
    assert named < {*get_args(Op)}
