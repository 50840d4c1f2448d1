"""Which penalties a recipe asks for, stage by stage."""

from __future__ import annotations

from trainings import recipe_of

from nas.training.penalties import PENALTIES, penalties_of


def test_penalties_are_those_whose_number_is_not_zero() -> None:
    assert penalties_of(recipe_of(), "dense") == []
    rate = [(0.5, PENALTIES["rate_weight"])]
    assert penalties_of(recipe_of(rate_weight=0.5), "quantized") == rate
    both = recipe_of(rate_weight=0.5, bn_sparsity=0.1)
    assert penalties_of(both, "dense") == [(0.1, PENALTIES["bn_sparsity"]), *rate]
    assert penalties_of(both, "quantized") == rate  # the scales of batch norms rank nothing any more


def test_every_penalty_is_a_number_of_the_recipe_that_is_zero_by_default() -> None:
    assert all(getattr(recipe_of(), name) == 0 for name in PENALTIES)
