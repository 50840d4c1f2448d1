"""The studies of compressors: every method is chosen in one, and each ends in files that compute what networks do."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from compressors.formats import FORMATS
from compressors.low_rank.factoring import CHOOSING
from compressors.low_rank.factors import METHODS
from compressors.requests.masked import Ranking
from compressors.steps import QUANTIZATIONS, STEPS, requests_of
from nas.candidates.candidate import Candidate
from nas.study import Study
from nas.study.compression import Importance
from nas.study.file import load_study
from nas.study.recipe import Calibration

STUDIES = sorted((Path(__file__).parents[2] / "studies" / "compressors").glob("*.yaml"))
METHODS_BY_KEY = {
    "weight_format": set(FORMATS),
    "importance": set(get_args(Importance)),
    "pruning_scope": {"local", "global"},
    "pruning_schedule": {"one_shot", "iterative"},
    "mask": {"ratio", "threshold", "scope global", "rewind", *(f"by {name}" for name in get_args(Ranking))},
    "low_rank": {*METHODS, *CHOOSING},
    "remove": {"blocks", "activations"},
    "activation_bits": {8, 4},
    "quantization": set(QUANTIZATIONS),
    "calibration": set(get_args(Calibration)),
    "training": {"bias_correction", "equalization", "bn_sparsity", "rate_weight", "optimizer", "batch_size"},
    "distillation": {"self", "reference", "torchvision", "features_weight", "attention_weight"},
    "objectives": {"nonzero_parameters", "coded_bytes"},
}


def chosen_in(study: Study) -> Iterator[tuple[str, object]]:
    """Key and method of everything that a candidate of the study may have or is trained by."""
    compression, training = study.compression, study.training
    yield from (("weight_format", name) for name in compression.weight_format)
    if any(compression.pruning_ratio):
        yield from ((key, getattr(compression, key)) for key in ("importance", "pruning_scope", "pruning_schedule"))
    for mask in filter(None, compression.mask_choices):
        yield "mask", "threshold" if mask.ratio is None else "ratio"
        yield from (("mask", words) for words in (f"by {mask.by}", f"scope {mask.scope}"))
        yield from [("mask", "rewind")] if compression.rewind is not None else []
    for factoring in filter(None, compression.low_rank_choices):
        yield "low_rank", factoring.method
        yield from (("low_rank", name) for name in CHOOSING if getattr(factoring, name) is not None)
    yield from (("remove", what) for what in METHODS_BY_KEY["remove"] if any(getattr(compression, f"remove_{what}")))
    yield "activation_bits", compression.activation_bits
    yield from (("quantization", way) for way in training.quantizations)
    if "static" in training.quantizations:
        yield "calibration", training.calibration
    searched = {*training.searched}
    yield from (("training", name) for name in ("optimizer", "batch_size") if name in searched)
    numbers = ("bias_correction", "equalization", "bn_sparsity", "rate_weight")
    yield from (("training", name) for name in numbers if getattr(training, name))
    if (teaching := training.distillation) is not None:
        yield "distillation", teaching.teacher.partition(".")[0]
        yield from (("distillation", n) for n in ("features_weight", "attention_weight") if getattr(teaching, n))
    yield from (("objectives", name) for name in study.objectives)


def test_every_method_is_chosen_in_a_study() -> None:
    chosen = {pair for path in STUDIES for pair in chosen_in(load_study(path))}
    assert not {(key, one) for key, methods in METHODS_BY_KEY.items() for one in methods} - chosen


# The steps that a study is there for, where it is not quantization-aware training alone.
STEPS_OF = {
    "dynamic": {"dynamic"},
    "low-rank": {"low_rank"},
    "masks": {"masked"},
    "masks-global": {"masked"},
    "lottery-ticket": {"masked"},
    "post-training": {"calibrated"},
    "removal": {"blocks_removed", "activations_removed"},
    "rewinding": {"pruned"},
    "slimming": {"pruned"},
    **{name: {"pruned", "quantized"} for name in ("criteria", "chance", "leave-one-out")},
    **{name: {"pruned", "calibrated"} for name in ("gradients", "idle-outputs", "median", "norms")},
}


def test_steps_are_those_of_the_table() -> None:
    assert set(STEPS_OF) <= {path.stem for path in STUDIES}
    assert set().union(*STEPS_OF.values()) == set(STEPS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_of_a_compressor_runs(path: Path, tmp_path: Path) -> None:
    """Some trial is compressed as the study offers; its files are there and agree with torch."""
    folder = tmp_path / "run"
    command = [sys.executable, "-P", "-m", "nas.cli", "run", str(path), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    front, trials = read(folder / "front.csv"), read(folder / "trials.csv")
    complete = [row for row in trials if row["state"] == "COMPLETE"]
    assert not [row["reason"] for row in trials if row["state"] == "FAILED"]
    if load_study(path).compression.activation_bits == 8:
        assert front
        assert all(float(row["accuracy"]) > 0.3 for row in front)
    else:
        assert not front, "simulated ones are on no front"
        assert {row["flags"] for row in complete} == {"simulated"}
    assert not [row for row in complete if "parity" in row["flags"]]
    candidates = [Candidate.from_json(json.loads(file.read_text())) for file in folder.rglob("search-*/candidate.json")]
    found = {request.step.name for candidate in candidates for request in requests_of(candidate.plan)}
    assert STEPS_OF.get(path.stem, {"quantized"}) <= found


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))
