"""Any architecture: one of our blocks, or a network that exists already. No torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from search_spaces.architecture import Architecture
from search_spaces.existing.architecture import ExistingArchitecture


def _made_of(value: Any) -> str:
    """Whether a record names a network that it is based on."""
    is_existing = "base" in value if isinstance(value, dict) else isinstance(value, ExistingArchitecture)
    return "existing" if is_existing else "blocks"


AnyArchitecture = Annotated[
    Annotated[Architecture, Tag("blocks")] | Annotated[ExistingArchitecture, Tag("existing")], Discriminator(_made_of)
]
