"""A shipped float network as torch modules again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from by_hand import make_study

from compressors.pipeline import compress
from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.data import load
from nas.errors import InputError
from nas.rebuilding import float_network
from nas.shipping import ship
from nas.training.inference import CalibrationBatches
from nas.training.pipeline import options_of
from nas.workbench import Workbench, build

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    study = make_study()
    return Workbench(study, load(study.data, input_size=8, seed=0))


def shipped(bench: Workbench, folder: Path, plan: CompressionPlan) -> torch.nn.Module:
    candidate = Candidate(architecture=extreme_candidates(bench.study)["largest"].architecture, plan=plan)
    options = options_of(candidate, bench.study.compression)
    batches = CalibrationBatches(bench.tiny_feed())
    network = compress(build(candidate, bench, seed=3, dropout=0.0).cpu(), plan, options, batches)
    ship(network, candidate, folder, header=bench.header, targets=bench.study.targets)
    return network.eval()


def groups_of(bench: Workbench) -> dict[str, int]:
    groups = extreme_candidates(bench.study)["largest"].architecture.groups()
    return {groups[0].name: groups[0].width // 2}


@pytest.mark.parametrize("is_pruned", [False, True])
def test_it_answers_as_the_one_that_was_shipped(bench: Workbench, tmp_path: Path, is_pruned: bool) -> None:
    network = shipped(bench, tmp_path, CompressionPlan(kept=groups_of(bench) if is_pruned else {}))
    again, images = float_network(tmp_path, bench, key="k").eval(), torch.rand(4, 1, 8, 8)
    assert torch.equal(again(images), network(images))


def test_integers_are_refused(bench: Workbench, tmp_path: Path) -> None:
    shipped(bench, tmp_path, CompressionPlan(formats={"classifier": "int8"}))
    with pytest.raises(InputError, match=r"k: expected a float network, .* teach, got .* with int8"):
        float_network(tmp_path, bench, key="k")


def test_a_damaged_folder_is_refused(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"k: expected candidate.json of a network in .*, got"):
        float_network(tmp_path, bench, key="k")
    shipped(bench, tmp_path, CompressionPlan())
    (tmp_path / "weights.safetensors").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"k: expected weights.safetensors of a network in"):
        float_network(tmp_path, bench, key="k")
    (tmp_path / "moved").rename(tmp_path / "weights.safetensors")
    smallest = extreme_candidates(bench.study)["smallest"].architecture
    (tmp_path / "candidate.json").write_text(json.dumps(Candidate(architecture=smallest).to_json()))
    with pytest.raises(InputError, match=r"k: expected .*weights.safetensors to fit its candidate.json"):
        float_network(tmp_path, bench, key="k")
