"""Small existing networks for tests: blueprints node by node, known ones and random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from search_spaces.existing.blueprint import INPUT, Blueprint, Node


class Draft:
    """A blueprint in the making; every method adds a node and answers its name. Shapes, channels and side or features
    and 0, are kept by hand."""

    def __init__(self, channels: int = 3, size: int = 8) -> None:
        self.nodes: list[Node] = []
        self.shapes: dict[str, tuple[int, int]] = {INPUT: (channels, size)}
        self.channels = channels

    def add(
        self,
        op: str,
        *reads: str,
        name: str = "",
        shape: tuple[int, int] | None = None,
        module: str = "",
        **fields: Any,
    ) -> str:
        name = name or f"{op}_{len(self.nodes)}"
        self.nodes.append(Node(name=name, op=op, reads=reads, fields=fields, module=module))
        self.shapes[name] = shape or self.shapes[reads[0]]
        return name

    def conv(
        self, name: str, read: str, width: int, *, kernel: int = 3, stride: int = 1, split: int = 1, bias: bool = False,
        module: str = "",
    ) -> str:  # fmt: skip
        channels, size = self.shapes[read]
        return self.add(
            "conv", read, name=name, shape=(width, -(-size // stride)), module=module, in_channels=channels,
            out_channels=width, kernel_size=[kernel] * 2, stride=[stride] * 2, padding=[kernel // 2] * 2,
            dilation=[1, 1], groups=split, bias=bias,
        )  # fmt: skip

    def norm(self, name: str, read: str, *, module: str = "") -> str:
        channels = self.shapes[read][0]
        return self.add("norm", read, name=name, module=module, num_features=channels, eps=1e-5, momentum=0.1)

    def norm1d(self, name: str, read: str) -> str:
        return self.add("norm1d", read, name=name, num_features=self.shapes[read][0], eps=1e-5, momentum=0.1)

    def unit(self, name: str, read: str, width: int, **fields: Any) -> str:
        """Convolution, batch norm, ReLU: NAME.0, NAME.1 and a function."""
        return self.add("relu", self.norm(f"{name}.1", self.conv(f"{name}.0", read, width, **fields)))

    def select(self, read: str, channels: list[int]) -> str:
        return self.add("select", read, shape=(len(channels), self.shapes[read][1]), channels=channels)

    def concatenate(self, *reads: str) -> str:
        return self.add("concatenate", *reads, shape=(sum(self.shapes[r][0] for r in reads), self.shapes[reads[0]][1]))

    def pooled(self, read: str) -> str:
        """One pixel, the mean."""
        return self.add("adaptive_average", read, shape=(self.shapes[read][0], 1), output_size=[1, 1])

    def flatten(self, read: str) -> str:
        channels, size = self.shapes[read]
        return self.add("flatten", read, shape=(channels * size * size, 0))

    def linear(self, name: str, read: str, width: int, *, bias: bool = True, module: str = "") -> str:
        features = self.shapes[read][0]
        return self.add(
            "linear", read, name=name, shape=(width, 0), module=module, in_features=features, out_features=width,
            bias=bias,
        )  # fmt: skip

    def done(self, read: str | None = None, *, head: str = "fc") -> Blueprint:
        """With a linear head behind `read`, or with the last node as it is."""
        if read is not None:
            self.linear(head, read if self.shapes[read][1] == 0 else self.flatten(self.pooled(read)), 1)
        return Blueprint(input_channels=self.channels, head=head, nodes=tuple(self.nodes))


def residual() -> Blueprint:
    """Two residual blocks, the second with a shortcut convolution: ResNet's names."""
    draft = Draft()
    x = draft.add("relu", draft.norm("bn1", draft.conv("conv1", INPUT, 6)))
    for block, width, stride in (("layer1.0", 6, 1), ("layer1.1", 6, 1), ("layer2.0", 8, 2)):
        out = draft.add("relu", draft.norm(f"{block}.bn1", draft.conv(f"{block}.conv1", x, width, stride=stride)))
        out = draft.norm(f"{block}.bn2", draft.conv(f"{block}.conv2", out, width))
        if stride > 1:
            path = f"{block}.downsample"
            x = draft.norm(f"{path}.1", draft.conv(f"{path}.0", x, width, kernel=1, stride=stride))
        x = draft.add("relu", draft.add("add", out, x))
    return draft.done(x)


def dense() -> Blueprint:
    """A dense block of two layers and a transition: batch norms stand before convolutions; DenseNet's names."""
    draft = Draft()
    parts = [draft.unit("features.conv0", INPUT, 4)]
    for number in (1, 2):
        path = f"features.denseblock1.denselayer{number}"
        x = draft.add("relu", draft.norm(f"{path}.norm1", draft.concatenate(*parts)))
        x = draft.add("relu", draft.norm(f"{path}.norm2", draft.conv(f"{path}.conv1", x, 6, kernel=1)))
        parts.append(draft.conv(f"{path}.conv2", x, 3))
    x = draft.add("relu", draft.norm("features.transition1.norm", draft.concatenate(*parts)))
    x = draft.conv("features.transition1.conv", x, 5, kernel=1)
    return draft.done(draft.add("relu", draft.norm("features.norm5", x)), head="classifier")


def shuffled() -> Blueprint:
    """Two units of ShuffleNetV2: halves, depthwise layers, shuffles as selections."""
    draft = Draft()
    x = draft.unit("conv1", INPUT, 8)
    for number in (0, 1):
        passed, half = draft.select(x, [0, 1, 2, 3]), draft.select(x, [4, 5, 6, 7])
        path = f"stage2.{number}.branch2"
        out = draft.add("relu", draft.norm(f"{path}.1", draft.conv(f"{path}.0", half, 4, kernel=1)))
        out = draft.norm(f"{path}.4", draft.conv(f"{path}.3", out, 4, split=4))
        out = draft.add("relu", draft.norm(f"{path}.6", draft.conv(f"{path}.5", out, 4, kernel=1)))
        x = draft.select(draft.concatenate(passed, out), [0, 4, 1, 5, 2, 6, 3, 7])
    return draft.done(draft.unit("conv5", x, 6, kernel=1))


def squeezed() -> Blueprint:
    """An inverted residual with squeeze-and-excitation, a convolution in groups behind it; MobileNet's names."""
    draft = Draft()
    x = draft.unit("features.0", INPUT, 4)
    out = draft.unit("features.1.block.0", x, 12, kernel=1)
    out = draft.unit("features.1.block.1", out, 12, split=12)
    scale = draft.add("relu", draft.conv("features.1.block.2.fc1", draft.pooled(out), 3, kernel=1, bias=True))
    scale = draft.conv("features.1.block.2.fc2", scale, 12, kernel=1, bias=True)
    out = draft.add("multiply", out, draft.add("hardsigmoid", scale))
    out = draft.norm("features.1.block.3.1", draft.conv("features.1.block.3.0", out, 4, kernel=1))
    x = draft.unit("features.2", draft.add("add", out, x), 16, kernel=1)
    return draft.done(draft.unit("features.3", x, 24, split=4), head="classifier")


def flattened() -> Blueprint:
    """VGG's way: convolutions, a flattened map of 4x4 pixels, linear layers."""
    draft = Draft()
    x = draft.add("relu", draft.conv("features.0", INPUT, 5, bias=True))
    x = draft.add("relu", draft.conv("features.2", x, 7, stride=2, bias=True))
    x = draft.add("relu", draft.linear("classifier.0", draft.flatten(x), 9))
    return draft.done(x, head="classifier.2")


def normed() -> Blueprint:
    """A perceptron with batch norm behind its hidden layers, the second with dropout between, as one writes it."""
    draft = Draft()
    x = draft.add("relu", draft.norm1d("1", draft.linear("0", draft.flatten(INPUT), 9, bias=False)))
    x = draft.add("dropout", draft.linear("3", x, 7), p=0.5)
    return draft.done(draft.add("relu", draft.norm1d("5", x)), head="7")


def fire() -> Blueprint:
    """A squeeze, two expansions side by side, and a convolution as head; SqueezeNet's names."""
    draft = Draft()
    x = draft.add("relu", draft.conv("features.0", INPUT, 6, bias=True))
    x = draft.add("relu", draft.conv("features.3.squeeze", x, 4, kernel=1, bias=True))
    sides = [draft.conv(f"features.3.expand{k}x{k}", x, 5, kernel=k, bias=True) for k in (1, 3)]
    x = draft.concatenate(*(draft.add("relu", side) for side in sides))
    draft.flatten(draft.pooled(draft.conv("classifier.1", x, 1, kernel=1, bias=True)))
    return draft.done(head="classifier.1")


def shared() -> Blueprint:
    """A layer that is run twice, on maps of two sizes, and whose outputs it reads itself."""
    draft = Draft()
    x = draft.add("relu", draft.conv("first", INPUT, 6, bias=True))
    x = draft.add("relu", draft.conv("again", x, 6, bias=True))
    x = draft.add("max_pool", x, shape=(6, 4), kernel_size=[2, 2], stride=[2, 2], padding=[0, 0], dilation=[1, 1])
    return draft.done(draft.add("relu", draft.conv("again_1", x, 6, bias=True, module="again")))


def perceptron() -> Blueprint:
    """The MLP 784-128-10 of grey images of 28 pixels."""
    draft = Draft(channels=1, size=28)
    return draft.done(draft.add("relu", draft.linear("0", draft.flatten(INPUT), 128)), head="2")


def needed(blueprint: Blueprint) -> Blueprint:
    """Without nodes whose results lead nowhere, as every network is that was read."""
    wanted, nodes = {blueprint.nodes[-1].name}, list[Node]()
    for node in reversed(blueprint.nodes):
        if node.name in wanted:
            nodes.append(node)
            wanted |= set(node.reads)
    return Blueprint(input_channels=blueprint.input_channels, head=blueprint.head, nodes=tuple(nodes[::-1]))


DRAFTS = {
    "residual": residual, "dense": dense, "shuffled": shuffled, "squeezed": squeezed, "flattened": flattened,
    "normed": normed, "fire": fire, "shared": shared,
}  # fmt: skip


@st.composite
def drafts(draw: st.DrawFn) -> Blueprint:
    """Random networks on images of 8 pixels: any of the above, one upon the other."""
    draft = Draft(channels=draw(st.sampled_from([1, 3])))
    known = [draft.conv("stem", INPUT, draw(st.sampled_from([2, 4, 6])))]
    for number in range(draw(st.integers(1, 7))):
        known.append(_drawn(draw, draft, known, f"body{number}"))
    last = known[-1]
    if draw(st.booleans()):
        last = draft.flatten(last)
        if draw(st.booleans()):
            last = draft.linear("hidden", last, 4)
            last = draft.add("relu", draft.norm1d("hidden_norm", last) if draw(st.booleans()) else last)
    return draft.done(last)


def _drawn(draw: st.DrawFn, draft: Draft, known: list[str], name: str) -> str:
    """One more operation on some of what is known."""
    read = draw(st.sampled_from(known[-3:]))
    width = draft.shapes[read][0]
    alike = [one for one in known if draft.shapes[one] == draft.shapes[read]]
    as_large = [one for one in known if draft.shapes[one][1] == draft.shapes[read][1]]
    kinds = ("conv", "conv", "groups", "depthwise", "norm", "relu", "select", "add", "add", "concatenate", "pool", "se",
             "again")  # fmt: skip
    kind = draw(st.sampled_from(kinds))
    if kind == "conv":
        return draft.conv(name, read, draw(st.sampled_from([2, 4, 6])), kernel=draw(st.sampled_from([1, 3])), bias=True)
    if kind == "groups":
        split = draw(st.sampled_from([count for count in (1, 2, 3) if width % count == 0]))
        return draft.conv(name, read, split * draw(st.integers(1, 3)), split=split)
    if kind == "depthwise":
        return draft.conv(name, read, width * draw(st.integers(1, 2)), split=width)
    runnable = [node for node in draft.nodes if node.op == "conv" and node.fields["in_channels"] == width]
    if kind == "again" and runnable:
        layer = draw(st.sampled_from(runnable))
        shape = (int(str(layer.fields["out_channels"])), draft.shapes[read][1])
        return draft.add("conv", read, name=name, shape=shape, module=layer.path, **layer.fields)
    if kind == "norm":
        return draft.norm(name, read)
    if kind == "select":
        return draft.select(read, draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=8)))
    if kind == "concatenate":
        return draft.concatenate(read, draw(st.sampled_from(as_large)))
    if kind == "add":
        return draft.add("add", read, draw(st.sampled_from(alike)))
    if kind == "pool" and draft.shapes[read][1] > 1:
        shape = (width, draft.shapes[read][1] // 2)
        return draft.add("max_pool", read, shape=shape, kernel_size=[2, 2], stride=[2, 2], padding=[0, 0])
    if kind == "se":
        return draft.add("multiply", read, draft.conv(name, draft.pooled(read), width, kernel=1, bias=True))
    return draft.add("relu", read)
