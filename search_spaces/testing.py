"""The contract of a kind of block, for a test of one line: `class TestMine(BlockContract): kind = Mine`.

`kind` is a class of your own, as `own_kinds` describes it, or a kind's name. pytest collects the tests of the subclass.
What is held here needs no more than this package: names, shapes, costs and channel groups against the torch module, and
records. `nas.testing.BlockContract` adds the whole way to a file that runs as integers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.block_configs import BlockConfig
from search_spaces.block_spaces import BlockSpace
from search_spaces.kinds import BlockKind, kind_of, read_block
from search_spaces.layers import ChannelGroup
from search_spaces.network import build_block, build_network
from search_spaces.own_code import is_named
from search_spaces.own_kinds import learn_class, learn_kind, name_of
from search_spaces.sites import BlockSite
from search_spaces.spaces import MixedSpace
from search_spaces.trials import Pick

CLASSES = 10
SEEDS = range(4)
CHANNELS, SIZE = 16, 8  # of a block's input
PLACES = ((1, 16), (1, 24), (2, 16))  # strides and output widths; only the first keeps the shape


def known_name(kind: type | str) -> str:
    """The name of a kind, which this process knows from now on. Raises ValueError where it is none."""
    if isinstance(kind, str):
        if is_named(kind):
            learn_kind(kind)
        return kind
    learn_class(name := name_of(kind), kind)
    return name


def freedom_of(kind: str) -> dict[str, Any]:
    """Two of every list of choices that a kind has."""
    row = kind_of(kind)
    own: dict[str, Any] = dict.fromkeys(row.choices, (False, True))
    own |= {"expansions": (1, 2)} if row.widens else {}
    return {"kernels": (3, 5), "activations": ("relu", "hardswish"), **own}


@cache
def space_of_kind(kind: str) -> MixedSpace:
    """A small space of one kind of block."""
    given = {"family": "mixed", "preset": "8px", "blocks": {kind: freedom_of(kind)}, "trusted": is_named(kind)}
    return MixedSpace.model_validate(given)


def realistic(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """A network with plausible batch norm statistics, in place."""
    numbers = torch.Generator().manual_seed(seed)
    for module in network.eval().modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=numbers)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=numbers)  # type: ignore[union-attr]
            module.weight.data.uniform_(0.5, 2, generator=numbers)
            module.bias.data.normal_(0, 0.5, generator=numbers)
    return network


def layers_of(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def pixels(size: int, channels: int = 3, *, count: int = 2) -> Tensor:
    """Images of whole pixels in [0, 1]."""
    drawn = torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(1))
    return drawn.float() / 255


def executed(network: nn.Module, x: Tensor) -> list[tuple[str, int, int, int]]:
    """Name, input side, output side and multiply-accumulates of each layer, in order of execution."""
    ran: list[tuple[str, int, int, int]] = []

    def listen(name: str, layer: nn.Conv2d | nn.Linear) -> None:
        def hook(_: nn.Module, given: tuple[Tensor], out: Tensor) -> None:
            before, after = (t.shape[-1] if t.dim() == 4 else 1 for t in (given[0], out))
            ran.append((name, before, after, layer.weight.numel() * after**2))

        layer.register_forward_hook(hook)

    for name, layer in layers_of(network).items():
        listen(name, layer)
    with torch.no_grad():
        logits = network(x)
    assert logits.shape == (len(x), CLASSES), f"expected logits of {(len(x), CLASSES)}, got {tuple(logits.shape)}"
    return ran


def silence(network: nn.Module, group: ChannelGroup, kept: int) -> None:
    """Let all channels of a group behind the first `kept` be zero everywhere."""
    for path, axis in group.members:
        module = network.get_submodule(path)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.weight.data[kept:] = 0
        if axis == 0 and isinstance(module.bias, nn.Parameter):
            module.bias.data[kept:] = 0


def cut(network: nn.Module, group: ChannelGroup, kept: int) -> None:
    """Remove all channels of a group behind the first `kept`."""
    for path, axis in group.members:
        module = network.get_submodule(path)
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if tensor.dim() > axis and (axis == 0 or name == "weight"):
                tensor.data = tensor.data.narrow(axis, 0, kept)
        if isinstance(module, nn.Conv2d) and axis == 0 and module.groups > 1:
            module.groups = kept


class BlockContract:
    """What every kind of block keeps to. A subclass says which: `kind`."""

    kind: ClassVar[type | str]

    @property
    def name(self) -> str:
        return known_name(self.kind)

    @property
    def row(self) -> BlockKind:
        return kind_of(self.name)

    def configs(self) -> Sequence[BlockConfig]:
        """Two choices of each field, in every combination."""
        return BlockSpace.model_validate(freedom_of(self.name)).configs(self.name)

    def sites(self) -> Iterator[BlockSite]:
        """Every record at places that keep the shape and that do not."""
        for config, (stride, out_width) in product(self.configs(), PLACES):
            yield BlockSite("stage1.block1", config, CHANNELS, out_width, stride, SIZE)

    def networks(self) -> Iterator[Architecture]:
        """Networks of such blocks, drawn at random."""
        for seed in SEEDS:
            yield space_of_kind(self.name).sample(Pick(random.Random(seed).choice), input_channels=3)

    def test_the_record_holds_the_kind_and_its_choices(self) -> None:
        fields = set(self.row.config.model_fields)
        assert fields == {"kind", *self.row.fields}, f"expected kind and {self.row.fields}, got {sorted(fields)}"
        configs = self.configs()
        assert {config.kind for config in configs} == {self.name}
        assert len(configs) == len(set(configs)) == 2 ** len(self.row.fields), "two choices of each field"
        has_inner = any(row.writes == "inner" for config in configs for row in self.row.rows(config, True))
        assert has_inner == (self.row.widens is not None), f"widens is {self.row.widens}, an inner width: {has_inner}"

    def test_records_survive_json(self) -> None:
        for config in self.configs():
            assert isinstance(config, self.row.config)
            assert read_block(config.model_dump(mode="json")) == config

    def test_rows_join_both_ends_and_split_only_where_the_kind_says_so(self) -> None:
        for site in self.sites():
            rows = site.rows()
            assert len({row.layer for row in rows}) == len(rows), f"a layer's name stands twice among {rows}"
            halves = [row for row in rows if "half" in (row.reads, row.writes)]
            assert bool(halves) == self.row.splits, f"splits is {self.row.splits}, layers of halves: {halves}"
            assert {row.reads for row in rows} & {"in", "half"}, f"no layer reads the input: {rows}"
            assert rows[-1].writes in ("out", "half"), f"the last layer does not write the output: {rows[-1]}"
            assert not (site.has_skip and self.row.splits), "a width that is added whole is not written in halves"

    def test_a_skip_is_where_the_row_says(self) -> None:
        """With convolutions that give zero, a block with a skip passes its input on."""
        x = torch.rand(2, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        for site in self.sites():
            if site.keeps_shape and site.config.activation == "relu":
                block = build_block(site).eval()
                for layer in layers_of(block).values():
                    for tensor in layer.parameters():
                        tensor.data.zero_()
                with torch.no_grad():
                    passes = bool(torch.allclose(block(x), x))
                assert passes == site.has_skip, f"adds_input is {self.row.adds_input}; passes its input on: {passes}"

    def test_blocks_have_the_stated_shape(self) -> None:
        for site in self.sites():
            with torch.no_grad():
                out = build_block(site).eval()(torch.rand(1, CHANNELS, SIZE, SIZE))
            side = site.output_size
            assert out.shape == (1, site.out_width, side, side), f"{site}: got {tuple(out.shape)}"

    def test_modules_are_the_layers_in_order_of_execution(self) -> None:
        for architecture in self.networks():
            network = build_network(architecture, CLASSES, seed=0).eval()
            expected = [(la.name, la.input_size, la.output_size, la.macs) for la in architecture.layers(CLASSES)]
            ran = executed(network, pixels(architecture.input_size))
            differing = [pair for pair in zip(expected, ran, strict=False) if pair[0] != pair[1]]
            assert ran == expected, f"name, sides and MACs by the rows, and as they ran: {differing[:1] or len(ran)}"

    def test_groups_hold_every_axis_once_and_of_their_width(self) -> None:
        for architecture in self.networks():
            layers = {layer.name: layer for layer in architecture.layers(CLASSES)}
            members = [(member, group.width) for group in architecture.all_groups() for member in group.members]
            twice = [member for member, count in Counter(member for member, _ in members).items() if count > 1]
            assert not twice, f"in a group more than once: {twice}"
            for (name, axis), width in members:
                layer = layers[name.removesuffix("_bn")]
                assert (layer.out_channels, layer.in_channels)[axis] == width, f"{name} at axis {axis}: not {width}"

    def test_cut_channels_leave_the_shapes_of_the_closed_form_and_what_silenced_ones_do(self) -> None:
        """Channels that are zero everywhere may be removed without changing any output."""
        for architecture in self.networks():
            kept = {group.name: max(1, group.width // 2) for group in architecture.all_groups()}
            network = realistic(build_network(architecture, CLASSES, seed=0))
            x = pixels(architecture.input_size)
            for group in architecture.all_groups():
                silence(network, group, kept[group.name])
            with torch.no_grad():
                silenced = network(x)
                for group in architecture.all_groups():
                    cut(network, group, kept[group.name])
                assert shapes_of(network) == _closed_form(architecture, kept)
                torch.testing.assert_close(network(x), silenced, rtol=1e-4, atol=1e-4)


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of the weight of each layer."""
    return {name: tuple(layer.weight.shape) for name, layer in layers_of(network).items()}


def _closed_form(architecture: Architecture, kept: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    return {
        layer.name: (layer.out_channels, layer.in_channels // layer.groups)
        + ((layer.kernel,) * 2 if layer.kind != "linear" else ())
        for layer in architecture.layers(CLASSES, kept)
    }
