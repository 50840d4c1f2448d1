"""The operations of a blueprint, one row each: all that the rest of the package knows of an operation. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation.

    module: the torch module that does it, `torch.nn:Class` or one of ours, called with the node's fields; None: a
    function. reads: how many tensors it reads; None: any number from one on. has_weights: whether it has parameters.
    by_channel: whether each output channel is computed from the input channel of its number alone (of all it reads).
    fields: the arguments of the module that a node gives; pairs are height and width. width: the one of them that
    counts the channels of the output, "": these follow from what is read.
    """

    module: str | None = None
    reads: int | None = 1
    has_weights: bool = False
    by_channel: bool = True
    fields: tuple[str, ...] = ()
    width: str = ""

    @property
    def may_be_head(self) -> bool:
        """Whether its outputs can be the classes."""
        return self.has_weights and not self.by_channel


_WINDOW = ("kernel_size", "stride", "padding")
_NORM = ("num_features", "eps", "momentum")

OPS: dict[str, Op] = {
    # layers: all sizes are pairs; padding is of zeros
    "conv": Op(
        module="torch.nn:Conv2d",
        has_weights=True,
        by_channel=False,
        fields=("in_channels", "out_channels", *_WINDOW, "dilation", "groups", "bias"),
        width="out_channels",
    ),
    "linear": Op(
        module="torch.nn:Linear",
        has_weights=True,
        by_channel=False,
        fields=("in_features", "out_features", "bias"),
        width="out_features",
    ),
    "norm": Op(module="torch.nn:BatchNorm2d", has_weights=True, fields=_NORM, width="num_features"),
    # of features, behind a linear layer of its own, into which it is folded
    "norm1d": Op(module="torch.nn:BatchNorm1d", has_weights=True, fields=_NORM, width="num_features"),
    # activations
    "relu": Op(module="torch.nn:ReLU"),
    "relu6": Op(module="torch.nn:ReLU6"),
    "hardswish": Op(module="torch.nn:Hardswish"),
    "hardsigmoid": Op(module="torch.nn:Hardsigmoid"),
    "sigmoid": Op(module="torch.nn:Sigmoid"),
    "silu": Op(module="torch.nn:SiLU"),
    "tanh": Op(module="torch.nn:Tanh"),
    "gelu": Op(module="torch.nn:GELU", fields=("approximate",)),
    "elu": Op(module="torch.nn:ELU", fields=("alpha",)),
    "leaky_relu": Op(module="torch.nn:LeakyReLU", fields=("negative_slope",)),
    # pooling
    "max_pool": Op(module="torch.nn:MaxPool2d", fields=(*_WINDOW, "dilation", "ceil_mode")),
    "average_pool": Op(module="torch.nn:AvgPool2d", fields=(*_WINDOW, "ceil_mode", "count_include_pad")),
    "adaptive_average": Op(module="torch.nn:AdaptiveAvgPool2d", fields=("output_size",)),
    # what joins and moves
    "add": Op(reads=2),
    "multiply": Op(reads=2),  # the second may be of 1x1 pixels, as in squeeze-and-excitation
    "concatenate": Op(reads=None, by_channel=False),
    "select": Op(module="search_spaces.blocks:SelectChannels", by_channel=False, fields=("channels",)),  # whole ones
    "flatten": Op(by_channel=False),  # (N, C, H, W) -> (N, C * H * W), channel by channel
    "dropout": Op(module="torch.nn:Dropout", fields=("p",)),
}
