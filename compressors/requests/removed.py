"""What a plan asks of the removal of blocks and of activations."""

from __future__ import annotations

from dataclasses import dataclass

from compressors.plan import CompressionPlan


@dataclass(frozen=True)
class RemoveBlocks:
    """Blocks, by name, whose skip is all that is left of them."""

    blocks: tuple[str, ...]


@dataclass(frozen=True)
class RemoveActivations:
    """Blocks, by name, whose activations go."""

    blocks: tuple[str, ...]


def blocks_asked(plan: CompressionPlan) -> RemoveBlocks | None:
    """The blocks that go."""
    blocks = _named("blocks_removed", plan)
    return RemoveBlocks(blocks) if blocks else None


def activations_asked(plan: CompressionPlan) -> RemoveActivations | None:
    """The blocks whose activations go."""
    blocks = _named("activations_removed", plan)
    return RemoveActivations(blocks) if blocks else None


def _named(step: str, plan: CompressionPlan) -> tuple[str, ...]:
    """The names of a step that knows no more of each than that it is meant. Raises ValueError for anything else."""
    decisions = plan.steps.get(step, {})
    for name, value in decisions.items():
        if value is not True:
            raise ValueError(f"plan.steps.{step}.{name}: expected true, or no such key, got {value!r}")
    return tuple(decisions)
