"""How much a study written by `nas init` tries: numbers between a least and a most.

The numbers that fit into the time are written into the study, so the same file is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

EffortName = Literal["quick", "normal", "thorough"]
Span = tuple[int, int]  # the least that makes sense, and the most that still pays


@dataclass(frozen=True)
class Effort:
    """What one level may spend. Steps are optimizer steps of one training; sizes are those of the input in pixels.

    minutes: of the whole run, where the user names none.
    """

    minutes: float
    trials: Span
    trial_steps: Span
    finalists: Span
    final_steps: Span
    most_pixels: int


# No row changes the recipe: on digits, over five to six seeds, three times the epochs gave finalists 0.9 points more;
# an average of weights, a teacher or smoothed labels gave none (studies/results/recipes-digits.json).
EFFORTS: Mapping[EffortName, Effort] = {
    "quick": Effort(10, (8, 24), (240, 1000), (4, 6), (600, 4000), 64),
    "normal": Effort(60, (12, 64), (300, 3000), (5, 8), (1500, 15000), 128),
    "thorough": Effort(480, (32, 250), (600, 8000), (6, 12), (4000, 60000), 224),
}
