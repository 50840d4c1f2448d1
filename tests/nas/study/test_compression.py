"""The section `compression`: its names are rows of tables, and only integers have step sizes."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from compressors.pruning.importances import IMPORTANCES
from nas.study import Compression


def test_every_importance_may_be_named() -> None:
    assert set(get_args(Compression.model_fields["importance"].annotation)) == set(IMPORTANCES)


def test_only_integers_have_step_sizes_to_learn() -> None:
    with pytest.raises(ValidationError, match=r"expected formats with step sizes, got fp32 among \['int4', 'fp32'\]"):
        Compression(learned_step_sizes=("int4", "fp32"))
    assert Compression(learned_step_sizes=("int8", "int2")).learned_step_sizes == ("int8", "int2")
