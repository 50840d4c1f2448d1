"""The operations of a network as a torch.fx graph, and where in the network each of them stands."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from search_spaces.existing.errors import Unreadable

# By name, since most networks do without torchvision, which takes a while to import.
_LEAVES = ("torchvision.ops.stochastic_depth",)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class Tracer(fx.Tracer):
    """Traces into everything but torch's own layers, and remembers which module it was in."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[tuple[str, nn.Module]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__module__ in _LEAVES or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        # Not popped where it raises: an error is told with the module in which it came up.
        self.inside.append((self.path_of_module(m), m))
        result = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        return result


def trace(network: nn.Module) -> fx.Graph:
    """The graph of a network in eval mode. Raises Unreadable where what it does depends on values, or is no graph."""
    tracer = Tracer()
    defaults = _defaults(network)
    with _evaluating(network):
        try:
            return tracer.trace(network, concrete_args=defaults or None)
        except Exception as error:  # the network's own code may raise anything at all
            path, module = tracer.inside[-1] if tracer.inside else ("", network)
            raise Unreadable(
                f"{named(path, module)}: cannot be traced{_line_of(error, module)}: {_reason(error)}; supported: a "
                "forward whose steps are the same for all images, and that asks no tensor for its values"
            ) from None


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, where it comes compiled or copied to several devices. Raises Unreadable for TorchScript."""
    if isinstance(network, torch.jit.ScriptModule):
        raise Unreadable("the network: is a TorchScript module, supported: the Python module that it was made from")
    inner = getattr(network, "_orig_mod", None) or (network.module if isinstance(network, nn.DataParallel) else network)
    return inner if isinstance(inner, nn.Module) else network


def named(path: str, module: nn.Module) -> str:
    """A module for a reader: path and class."""
    return f"{path or 'the network'} ({type(module).__name__})"


def place_of(network: nn.Module, node: fx.Node) -> str:
    """The innermost module in which an operation stands, for a reader."""
    path = scope_of(node)
    return named(path, network.get_submodule(path))


def scope_of(node: fx.Node) -> str:
    """The path of the innermost module in which an operation stands; of a layer's call its own."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    return str(next(reversed(stack.values()))[0]) if stack else ""


def refuse_what_a_trace_does_not_show(network: nn.Module) -> None:
    """Raise Unreadable for hooks, forwards replaced on an instance, computed and shared weights."""
    owners = dict[int, str]()
    for path, module in network.named_modules():
        hooked = [words.strip("_").replace("_", " ") for words in _HOOKS if getattr(module, words, None)]
        if hooked:
            raise Unreadable(f"{named(path, module)}: has {hooked[0]}, supported: layers without")
        if "forward" in vars(module):
            raise Unreadable(f"{named(path, module)}: its forward was replaced, supported: the class's own")
        if parametrize.is_parametrized(module):
            raise Unreadable(
                f"{named(path, module)}: has computed weights, supported: plain ones (remove_parametrizations first)"
            )
        for name, weight in module.named_parameters(recurse=False):
            own = f"{path}.{name}".removeprefix(".")
            other = owners.setdefault(id(weight), own)
            if other != own:
                raise Unreadable(f"{own}: is also {other}, supported: each layer has weights of its own")


def _defaults(network: nn.Module) -> dict[str, Any]:
    """What a network's forward takes beside the image, with its defaults. Raises Unreadable for several inputs."""
    taken = [
        each
        for each in inspect.signature(type(network).forward).parameters.values()
        if each.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ][1:]
    needed = [each.name for each in taken if each.default is inspect.Parameter.empty]
    if len(needed) > 1 or not taken:
        raise Unreadable(
            f"{named('', network)}: forward takes {', '.join(needed) or 'nothing'}, supported: one batch of images"
        )
    return {each.name: each.default for each in taken[1:]}


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In eval mode, and as it was afterwards: a trace leaves the constants that it meets on the network."""
    modes, own = [(module, module.training) for module in network.modules()], set(vars(network))
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name in vars(network).keys() - own:
            delattr(network, name)


def _line_of(error: Exception, module: nn.Module) -> str:
    """The line of the network's own code in which an error came up, with where it is."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename]
    frames = [f for f in frames if f.filename != __file__]
    return f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


def _reason(error: Exception) -> str:
    """An error in a few words."""
    if isinstance(error, fx.proxy.TraceError):
        return "a branch or loop depends on the values or the size of a tensor"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
