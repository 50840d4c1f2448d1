"""The space of a network that exists already: nothing is drawn of it but the size of images; its plan is searched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from search_spaces.block_configs import Record
from search_spaces.block_spaces import BlockSpace
from search_spaces.existing.architecture import SECTIONS, ExistingArchitecture, PixelNorm
from search_spaces.existing.known import Known, known_as
from search_spaces.trials import Trial, ask

LEAST_SIZE = 8  # the smallest image that data can be brought to
TORCHVISION = "torchvision."
InputSize = Annotated[int, Field(ge=LEAST_SIZE, le=224)]
NOT_READ = frozenset({"family", "trusted", "input_size", "width_grid"})  # keys that do not change what is read


class ExistingSpace(Record):
    """A network that exists already, whose pruning ratios, formats and ranks are searched."""

    family: Literal["existing"] = Field("existing", description="existing: a network that is there, by its `base`.")
    base: str = Field(
        description="The network: torchvision.NAME, or package.module:function of your own code, which returns a torch "
        "module and is run only where `trusted` says so. Any classifier of convolutions and linear layers that "
        "torch.fx can trace; its last layer is fitted to the classes."
    )
    trusted: bool = Field(
        False, description="Whether the code that `base` names may be run; torchvision's own need not be trusted."
    )
    weights: str = Field(
        "none",
        description="The weights it begins with: none, random ones; DEFAULT, those that torchvision has for it, "
        "downloaded; own, those that the function's network comes with; or a file, .safetensors or a saved state_dict. "
        "`training.epochs` then counts fine-tuning.",
    )
    stem: Literal["auto", "keep", "small"] = Field(
        "auto",
        description="keep: its first layers as they are. small: its first convolution with stride 1, 3x3 where it was "
        "larger, without the pooling behind it. auto: small where no weights are given, images (of several sizes the "
        "largest) are smaller than 64 pixels, it divides their sides by 4 or more, and the rest can take larger maps; "
        "else keep.",
    )
    head: Literal["keep", "linear"] = Field(
        "keep",
        description="keep: its last layers as they are, but for the number of classes. linear: one linear layer behind "
        "the average over each map.",
    )
    pixels: Literal["auto", "data", "none"] | PixelNorm = Field(
        "auto",
        description="How pixels in [0, 1] are normalised: data, by their mean and standard deviation; none, not at "
        "all; or by a mean and a std, one number or one for each channel. auto: as torchvision's weights want it with "
        "weights DEFAULT, else data.",
    )
    input_size: InputSize | Annotated[tuple[InputSize, ...], Field(min_length=1)] = Field(
        description="Height and width in pixels that images are brought to; of several one is chosen per network."
    )
    width_grid: Literal[1, 2, 4, 8, 16] = Field(8, description="Pruned widths are multiples of this.")

    @model_validator(mode="after")
    def _check(self) -> ExistingSpace:
        if (sizes := list(self.input_sizes)) != sorted(set(sizes)):
            raise ValueError(f"input_size: expected ascending order, every choice once, got {sizes}")
        return self

    @property
    def input_sizes(self) -> tuple[int, ...]:
        return (self.input_size,) if isinstance(self.input_size, int) else self.input_size

    @property
    def sections(self) -> int:
        return SECTIONS

    @property
    def words(self) -> str:
        """What is searched, in words."""
        begun = "" if self.weights == "none" else f" with the weights {self.weights}"
        return f"the network {self.base}{begun}"

    def network(self, input_channels: int) -> Mapping[str, Any] | None:
        """The blueprint, as JSON, that a process must know where candidates are read."""
        return self.known(input_channels).blueprint.to_json()

    def identity(self, input_channels: int) -> Mapping[str, Any]:
        """The keys, and the digest of the network that they named when it was read."""
        told = self.model_dump(mode="json", exclude={"trusted"})
        return {**told, "network": self.known(input_channels).blueprint.digest}

    @property
    def has_weights(self) -> bool:
        """Whether it begins with weights of another training."""
        return self.weights != "none"

    @property
    def most_width_choices(self) -> int:
        """No width is drawn: what is cut of them is."""
        return 1

    @property
    def is_of_torchvision(self) -> bool:
        """Whether torchvision has it, whose code need not be trusted."""
        return self.base.startswith(TORCHVISION)

    @property
    def stride(self) -> int:
        """The smallest image; whether the network can do with it is seen when it is read."""
        return LEAST_SIZE

    def block_spaces(self) -> Mapping[str, BlockSpace]:
        """None: it is not made of blocks of known kinds."""
        return {}

    def of_one_kind(self) -> list[ExistingSpace]:
        """The space itself."""
        return [self]

    def asked(self, input_channels: int) -> dict[str, Any]:
        """What decides which network is read: the keys that say so, and the channels of the data's images."""
        told = self.model_dump(mode="json", exclude=set(NOT_READ))
        return {**told, "input_channels": input_channels, "small_images": max(self.input_sizes)}

    def known(self, input_channels: int) -> Known:
        """The network, read if it was not yet: its code is run then. Raises ValueError where it cannot be."""
        found = known_as(asked := self.asked(input_channels))
        if found is None:
            from search_spaces.existing.reading import read_space  # imports torch

            found = read_space(asked, trusted=self.trusted)
        return found

    def sample(self, trial: Trial, *, input_channels: Literal[1, 3]) -> ExistingArchitecture:
        """The network on images of a size that is drawn."""
        known, pixels = self.known(input_channels), None
        if known.normalization is not None:
            pixels = PixelNorm(mean=known.normalization.mean, std=known.normalization.std)
        size = ask(trial, "input_size", self.input_sizes)
        return _architecture(self.base, known.blueprint.digest, known.weights, size, input_channels, pixels)


@lru_cache(maxsize=1 << 8)  # equal draws are one object, so that what is worked out of it is quickly found again
def _architecture(
    base: str, network: str, weights: str, size: int, channels: Literal[1, 3], pixels: PixelNorm | None
) -> ExistingArchitecture:
    return ExistingArchitecture.model_construct(
        base=base, network=network, weights=weights, input_size=size, input_channels=channels, pixels=pixels
    )
