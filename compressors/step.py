"""What a step is: a row of the table in `steps`. No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from compressors.plan import CompressionPlan
from compressors.requests.shapes import Least


@dataclass(frozen=True)
class Retraining:
    """A stage of training, and what differs in it.

    number: seeds its epochs; no two stages have the same. share: its default share of the whole training.
    peak: its largest learning rate as a fraction of the first stage's, where each stage has its own schedule.
    ceiling: the same fraction where one schedule runs over all stages; the schedule's rate is cut there.
    is_tail: whether it may follow a schedule that is over by then, with its own `peak`.
    with_norms: what replaces peak and ceiling where batch norm is alive in a stage that otherwise has none.
    in_fp32: whether it trains in fp32 whatever the study says. stops_early: whether `patience` may end it.
    """

    number: int
    share: float
    peak: float = 1.0
    ceiling: float = 1.0
    in_fp32: bool = False
    stops_early: bool = False
    is_tail: bool = False
    with_norms: tuple[float, float] | None = None


class AnythingBut(Collection[str]):
    """Every name but some."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __contains__(self, name: object) -> bool:
        return name not in self._names

    def __iter__(self) -> Iterator[str]:
        return iter((f"anything but {' and '.join(self._names)}" if self._names else "anything",))

    def __len__(self) -> int:
        return 1


ANYTHING: Collection[str] = AnythingBut()


def _never(_: Any) -> bool:
    return False


def _as_asked(plan: CompressionPlan, *_: Any) -> CompressionPlan:
    return plan


@dataclass(frozen=True)
class Step:
    """One row: a way of making a network smaller.

    asked: plan -> the frozen record of what it asks for, None: nothing. method: a compressors.pipeline.Method, or where
    one is, as `module:attribute`. training: the stage that follows it, None: the step needs none, or the next one's
    is enough. after: the steps that may have been applied before it; `reason` says why no others.
    shapes_grids: its `settle` is needed by an untrained network as well, which has no range or scale without it.
    folds: batch norm is folded when it is done. of_formats: it says how formats are brought about, and does nothing
    where all are fp32. same_costs: all costs are those of the plan without it.

    What a record asks for may depend on weights: `depends` says of a record whether it does. Its method then resolves
    it, once weights are real, to a record that says what results; `written` puts that into a plan in the place of the
    request. `least` makes of such a plan, for a network of these shapes, one that costs no more than whatever results.
    """

    name: str
    asked: Callable[[CompressionPlan], Any]
    method: Any
    training: Retraining | None = None
    after: Collection[str] = ()
    reason: str = ""
    shapes_grids: bool = False
    folds: bool = False
    of_formats: bool = False
    same_costs: bool = False
    depends: Callable[[Any], bool] = _never
    written: Callable[[CompressionPlan, Any], CompressionPlan] = _as_asked
    least: Least = _as_asked

    def loaded(self) -> Any:
        """The method, imported."""
        if isinstance(self.method, str):
            module, _, attribute = self.method.partition(":")
            return getattr(import_module(module), attribute)
        return self.method
