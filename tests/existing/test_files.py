"""Files of existing networks, pruned and in int8: layers run as integers, and they say what torch says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from existing_networks import NAMES, existing

from compressors.plan import CompressionPlan
from compressors.pruning import prune, weight_norm
from nas.candidates.candidate import Candidate
from nas.testing import check_integer_file
from search_spaces.blocks import Normalize

torch.set_num_threads(1)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_runs_as_integers_and_says_what_torch_says(name: str, tmp_path: Path) -> None:
    net = existing(name, linear_head=name == "vgg16_bn")  # whose own head has nine tenths of all weights
    architecture = net.architecture
    kept = {group.name: max(1, group.width // 2) for group in architecture.all_groups()}
    formats = {layer.name: "int8" for layer in architecture.layers(10)}
    candidate = Candidate(architecture=architecture, plan=CompressionPlan(kept=kept, formats=formats))
    network = net.built()
    network.normalize = Normalize(0.5, 0.25)
    prune(network, architecture.all_groups(), kept, importance=weight_norm(2))
    # Of sigmoids, 16 in a row, each rounds now and then a code the other way.
    most_apart = 0.75 if name == "regnet_y_400mf" else 0.25
    check_integer_file(candidate, tmp_path / "model.onnx", network, most_apart=most_apart)
