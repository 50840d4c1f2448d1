"""Writes a blueprint: the operations of a traced graph are read in order, each by its row of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from search_spaces.existing.blueprint import INPUT, Node, needed
from search_spaces.existing.building import OWN_MODULES
from search_spaces.existing.errors import Unreadable
from search_spaces.existing.ops import OPS
from search_spaces.existing.reading.arranging import arrangement
from search_spaces.existing.reading.forms import MODULES, Form, NotOffered
from search_spaces.existing.reading.functions import FUNCTIONS, LAYERS, LEFT_OUT, OFFERED
from search_spaces.existing.reading.operands import IN_WORDS, Constant, refuse_pending, tensors_in
from search_spaces.existing.reading.pending import Ended
from search_spaces.existing.reading.raised import RAISED, without_raised
from search_spaces.existing.reading.shapes import shape_behind
from search_spaces.existing.reading.tracing import named, place_of, scope_of
from search_spaces.existing.reading.values import BATCH, UNKNOWN, MovedOtherwise, Value

_HOMES = ("torch", "_operator", "builtins", "torchvision")  # of functions that rows are for
_CONSTANT = "_tensor_constant"  # how the names begin that a trace gives to tensors that a forward makes
_OF_NO_TENSOR = ("_assert", "_assert_is_none")  # what a trace adds for arguments with a default


class Writing:
    """Writes the nodes of a blueprint while the operations of a graph are read in order."""

    def __init__(self, network: nn.Module, input_channels: int) -> None:
        self.network = network
        self.nodes: list[Node] = []
        self._image = Value(INPUT, (BATCH, input_channels, *UNKNOWN))
        self._held: dict[fx.Node, Any] = {}
        self._taken = {INPUT, *(path for path, _ in network.named_modules())}
        self._shapes = dict[str, tuple[int, ...]]()
        self._now: fx.Node | None = None
        self._result: Any = None

    def read(self, node: fx.Node) -> None:
        """Write what one operation is. Raises Unreadable."""
        self._now = node
        if node.op == "placeholder":
            # What comes behind the image has a default, which is what it is.
            self._held[node] = next(iter(node.args), None) if self._held else self._image
            return
        try:
            self._held[node] = self._outcome(node)
        except NotOffered as error:
            raise Unreadable(f"{self._place()}: {self._what(node)}{error}") from None
        except TypeError:  # a row takes the arguments that it knows
            raise Unreadable(
                f"{self._place()}: {self._what(node)}is called with arguments that are not among those supported"
            ) from None
        except (MovedOtherwise, RuntimeError, IndexError, ValueError, AttributeError) as error:
            if isinstance(error, Unreadable):
                raise
            # torch's own words would be about sizes that stand for others.
            raise Unreadable(
                f"{self._place()}: {self._what(node)}moves or takes single pixels, or depends on the size of images, "
                "supported: movements of whole channels, and flattening"
            ) from None

    def finished(self) -> tuple[Node, ...]:
        """What the logits are computed from, in order."""
        result = self._result.logits if isinstance(self._result, Ended) else self._result
        if not isinstance(result, Value):
            kind = IN_WORDS.get(type(result), type(result).__name__)
            raise Unreadable(f"{named('', self.network)}: gives a {kind}, supported: one tensor of logits")
        if len(result.shape) != 2:
            raise Unreadable(
                f"{named('', self.network)}: gives a tensor of {len(result.shape)} axes, supported: logits (N, classes)"
            )
        last = self._settled(result).node
        return tuple(needed(without_raised(self.nodes), last))

    # The Protocol that the rows of FUNCTIONS know.
    def apply(self, form: Form, *read: Value) -> Value:
        """The output of one more operation."""
        shapes = [self._settled(value).shape for value in read]
        shape = shape_behind(form, shapes)
        name = self._emit(form, [value.node for value in read], self._layer_now(), shape)
        if form.is_in_place:
            read[0].become(name, shape)
            return read[0]
        return Value(name, shape)

    def _outcome(self, node: fx.Node) -> Any:
        args, kwargs = self._values(node.args), self._values(node.kwargs)
        if "input" in kwargs:  # which comes first, whatever the tables call it
            args = (kwargs.pop("input"), *args)
        if node.op == "output":
            self._result = args[0]
            return None
        if node.op == "get_attr":
            return Constant(str(node.target))
        if node.op == "call_module":
            return self._layer(self.network.get_submodule(str(node.target)), args, kwargs)
        return self._function(node, args, kwargs)

    def _values(self, given: Any) -> Any:
        """What arguments are, with what their nodes hold."""
        if isinstance(given, fx.Node):
            return self._held[given]
        if isinstance(given, Mapping):
            return {name: self._values(each) for name, each in given.items()}
        if isinstance(given, slice):
            return slice(*(self._values(each) for each in (given.start, given.stop, given.step)))
        if isinstance(given, tuple | list):
            return (
                [self._values(each) for each in given] if isinstance(given, list) else tuple(map(self._values, given))
            )
        return given

    def _layer(self, layer: nn.Module, args: Any, kwargs: Any) -> Any:
        if type(layer).__name__ in LEFT_OUT:
            return args[0]
        if type(layer) in LAYERS:
            name, more = LAYERS[type(layer)](layer)
            refuse_pending(name, args)
            return FUNCTIONS[name](self, *args, *more)
        if type(layer) not in MODULES:
            raise NotOffered(f"is none of the layers supported: {', '.join(_known_layers())}")
        refuse_pending("", args)
        if kwargs or len(args) != 1 or not isinstance(args[0], Value):
            raise NotOffered("is called with a constant or with several tensors, supported: one tensor of the network")
        return self.apply(MODULES[type(layer)](layer), args[0])

    def _function(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        name, home = (node.target, "torch") if isinstance(node.target, str) else _name_of(node.target)
        if name in _OF_NO_TENSOR:
            return None
        found = list(tensors_in(args)) + list(tensors_in(kwargs))
        if constants := [each.path for each in found if isinstance(each, Constant)]:
            what = "a tensor of its own making" if constants[0].startswith(_CONSTANT) else constants[0]
            raise NotOffered(f"reads {what} outside of a layer, supported: weights that torch's own layers hold")
        if not found or (name == "getitem" and isinstance(args[0], tuple | list)):
            return _computed(node, args, kwargs)
        if name not in FUNCTIONS or home.split(".")[0] not in _HOMES:
            raise NotOffered(f"is none of the functions supported: {OFFERED}")
        refuse_pending(name, found)
        return FUNCTIONS[name](self, *args, **kwargs)

    def _settled(self, value: Value) -> Value:
        """The value as an output of the last node written for it: pending movements become nodes."""
        if value.numbers is None:
            return value
        found = arrangement(value)
        if found is None:
            raise MovedOtherwise
        shape, node = value.origin, value.node
        if found.channels is not None:
            shape = (shape[0], len(found.channels), *shape[2:])
            node = self._emit(Form("select", {"channels": [*found.channels]}), [node], "", shape)
        if found.is_flattened:
            shape = value.shape if found.features is None else (shape[0], shape[1] * shape[2] * shape[3])
            node = self._emit(Form("flatten"), [node], "", shape)
        if found.features is not None:
            node = self._emit(Form("select", {"channels": [*found.features]}), [node], "", value.shape)
        if found.is_raised:
            node = self._emit(Form(RAISED), [node], "", value.shape)
        value.become(node, value.shape)
        return value

    def _emit(self, form: Form, reads: list[str], layer: str, shape: tuple[int, ...]) -> str:
        """Write a node; of an operation that a layer does by the layer's path, of others by where they stand."""
        has_weights = form.op in OPS and OPS[form.op].has_weights
        assert self._now is not None
        scope = scope_of(self._now)
        if self._now.op == "call_module":  # what else is written then is what its argument was moved to before
            scope = scope.rpartition(".")[0]
        wanted = layer or f"{scope}.{form.op}".strip(".")
        if wanted.partition(".")[0] in OWN_MODULES:
            if has_weights:
                raise NotOffered("has a name that is taken by what stands beside a network's layers, supported: others")
            layer, wanted = "", f"own_{wanted}"
        name = layer if layer and layer not in self._shapes else self._free(wanted)
        module = layer if has_weights and name != layer else ""
        self.nodes.append(Node(name=name, op=form.op, reads=tuple(reads), fields=form.fields, module=module))
        self._shapes[name] = shape
        return name

    def _layer_now(self) -> str:
        """The path of the layer that is called; "" where it is a function."""
        return str(self._now.target) if self._now is not None and self._now.op == "call_module" else ""

    def _free(self, name: str) -> str:
        """A name that no module and no node has."""
        number, found = 0, name
        while found in self._taken or found in self._shapes:
            number += 1
            found = f"{name}_{number}"
        return found

    def _place(self) -> str:
        assert self._now is not None
        return place_of(self.network, self._now)

    def _what(self, node: fx.Node) -> str:
        """The operation in an error, where that is not said by the place."""
        if node.op in ("call_module", "output"):
            return ""
        name = node.target if isinstance(node.target, str) else _name_of(node.target)[0]
        return f"{name} " if node.op == "get_attr" else f"{name}() "


def _name_of(target: Any) -> tuple[str, str]:
    return str(getattr(target, "__name__", target)), str(getattr(target, "__module__", ""))


def _computed(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """What a function of numbers alone gives. Raises NotOffered for one that makes a tensor."""
    if isinstance(node.target, str):
        result = getattr(args[0], node.target)(*args[1:], **kwargs)
    else:
        home = _name_of(node.target)[1]
        if home.startswith("torch"):
            raise NotOffered("makes a tensor of its own, supported: tensors computed from the image")
        assert callable(node.target)
        result = node.target(*args, **kwargs)
    return result


def _known_layers() -> list[str]:
    return sorted({kind.__name__ for kind in (*MODULES, *LAYERS)})
