"""The key `compression.mask`: which amounts of single weights may become zero."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from compressors.requests.masked import Amount
from nas.study.section import NotNegative, Section, Share


class MaskChoice(Section):
    """How many single weights become zero, and which."""

    ratio: Share | None = Field(
        None, description="The share of weights that becomes zero; by default a threshold says which."
    )
    threshold: NotNegative | None = Field(
        None,
        description="The size up to which weights become zero; how many depends on weights. By default the ratio says.",
    )
    scope: Literal["local", "global"] = Field(
        "local",
        description="local: every layer loses its own share. global: the ratio is one budget of the whole network, "
        "shared out by what ranks weights; one weight per output channel stays. The gene is then one of the network.",
    )
    by: Literal["magnitude", "sensitivity"] = Field(
        "magnitude",
        description="What ranks weights: their size, or size times gradient of the loss (SNIP, arXiv:1810.02340).",
    )

    @model_validator(mode="after")
    def _one_amount(self) -> MaskChoice:
        if (self.ratio is None) == (self.threshold is None):
            came = "neither" if self.ratio is None else "both"
            raise ValueError(f"expected a ratio or a threshold, got {came}")
        if self.threshold is not None and self.by != "magnitude":
            raise ValueError(f"by: expected magnitude beside a threshold, which is a size, got {self.by}")
        if self.threshold is not None and self.scope != "local":
            raise ValueError(f"scope: expected local beside a threshold, which holds for every layer, got {self.scope}")
        return self

    def __str__(self) -> str:
        """What a gene calls it."""
        amount = f"{self.ratio:g}" if self.ratio is not None else f"up to {self.threshold:g}"
        return amount if self.by == "magnitude" else f"{amount} by {self.by}"

    def decision(self) -> dict[str, Any] | None:
        """What a plan says of a layer, or of the whole network."""
        if self.ratio == 0:
            return None
        return Amount(ratio=self.ratio, threshold=self.threshold, by=self.by).to_json()


def strength(choice: MaskChoice | None) -> float:
    """The share of zeros, to sort choices by; what a threshold comes down to is taken to grow with it."""
    if choice is None:
        return 0.0
    return choice.ratio if choice.ratio is not None else 1 - 1 / (1 + 10 * (choice.threshold or 0.0))


MaskChoices = MaskChoice | None | Annotated[tuple[MaskChoice | None, ...], Field(min_length=1)]
