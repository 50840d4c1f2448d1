"""The side of images where nobody says one: what the pictures suggest, as far as the network can. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationError

from nas.errors import InputError
from search_spaces.existing.architecture import ExistingArchitecture
from search_spaces.existing.space import LEAST_SIZE, ExistingSpace
from search_spaces.trials import Pick, first

LARGEST = 224
OTHER_SIZE = "cannot take images of"  # what a reader says of a network that was asked about images it does not fit
USUAL = (8, 16, 28, 32, 64, 96, 128, 160, 192, 224)


def fitted_size(space: Mapping[str, Any], suited: int, *, input_channels: Literal[1, 3]) -> int:
    """`suited` if the network can take images of that side, else the nearest usual size above it, else any.

    A multilayer perceptron takes one size alone. Raises InputError where the network cannot be read, or takes none.
    """
    refusal = ""
    for size in order(suited):
        try:
            asked = ExistingSpace.model_validate({**space, "input_size": size})
            architecture = asked.sample(Pick(first), input_channels=input_channels)
        except ValidationError as error:
            details = error.errors()[0]
            raise InputError(f"space.{'.'.join(map(str, details['loc']))}: {details['msg']}") from None
        except ValueError as error:
            if OTHER_SIZE not in str(error):
                raise InputError(str(error)) from None
            refusal = refusal or str(error)
            continue
        # What is known of it by now tells of other sizes without reading it again.
        if (found := next((one for one in order(size) if takes(architecture, one)), None)) is not None:
            return found
        refusal = refusal or f"space.input_size: {why_not(architecture, size)}"
        break
    raise InputError(refusal)


def order(suited: int) -> Iterator[int]:
    """Sizes to be tried, the best first, each once."""
    above = [size for size in USUAL if size > suited]
    below = [size for size in reversed(USUAL) if size < suited]
    yield from dict.fromkeys((suited, *above, *below, *_all()))


def _all() -> Iterable[int]:
    return range(LEAST_SIZE, LARGEST + 1)


def takes(architecture: ExistingArchitecture, size: int) -> bool:
    """Whether the network can be run on images of this side."""
    return not why_not(architecture, size)


def why_not(architecture: ExistingArchitecture, size: int) -> str:
    """What keeps it from that, in words; empty where nothing does."""
    try:
        architecture.model_copy(update={"input_size": size}).layers(1)
    except ValueError as error:
        return str(error)
    return ""
