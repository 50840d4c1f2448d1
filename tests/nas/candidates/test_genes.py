"""The genes of a study."""

from __future__ import annotations

import numpy as np
from by_hand import NUMBERS, drive, make_study

from nas.candidates.genes import all_genes, gene_choices
from nas.run_folder.columns import trial_columns
from nas.run_folder.paths import RunFolder
from nas.search.draws import Draws, RandomTrial
from nas.search.search import Search
from nas.study import Study


def test_genes_of_numbers_come_last(folder: RunFolder) -> None:
    study = make_study(trials=1, training=NUMBERS)
    search = Search(study, folder)
    drive(search)
    plain = trial_columns(make_study(trials=1))
    assert trial_columns(study) == [*plain, "params_training.learning_rate", "params_training.mixup"]
    params = list(search.journal.trials()[0].params)
    assert params[-2:] == ["training.learning_rate", "training.mixup"]


def test_genes_of_layers_that_few_ways_through_the_widths_reach() -> None:
    """Blocks of stage 2 have a shortcut only where stage 1 has not the width that stage 2 always has."""
    stages = ({"depths": (1,), "widths": (8, 16, 24)}, {"depths": (1,), "widths": (16,), "stride": 1})
    layered = {"weight_format": ("int8", "fp32"), "granularity": "layer"}
    shape = {
        "family": "shuffle",
        "head_widths": (8,),
        "stem_widths": (8, 24),
        "stages": stages,
        "expansions": (1,),
        "kernels": (3,),
    }
    study = make_study().model_dump() | {"space": {"input_size": 8, **shape}, "compression": layered}
    study = Study.model_validate(study)
    known = set(gene_choices(study))
    assert "stage2.block1.shortcut_project.weight_format" in known
    draws, random = Draws(study), np.random.default_rng(0)
    for _ in range(100):
        trial = RandomTrial(random)
        draws(trial)
        assert trial.values.keys() <= known


def test_choices_of_every_gene() -> None:
    choices = gene_choices(make_study())
    assert choices["stage1.depth"] == (1, 2)
    assert choices["stage1.block2.expansion"] == (1, 2)
    assert choices["stage1.weight_format"] == ("fp32", "int8")
    assert list(choices) == all_genes(make_study())
