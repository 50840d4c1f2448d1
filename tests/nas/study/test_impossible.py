"""What no compressor can do ends, before any work, in one line that begins with the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates
from nas.commands.refusals import refuse
from nas.errors import InputError
from nas.study.file import load_study

STUDY = Path(__file__).parents[3] / "studies" / "digits.yaml"


@pytest.mark.parametrize(
    ("key", "value", "beside"),
    [
        ("compression.weight_format", "[int9]", ()),
        ("compression.weight_format", "[codebook1]", ()),
        ("compression.weight_format", "[int4]", ("training.quantization=dynamic",)),
        ("compression.activation_bits", "9", ()),
        ("compression.pruning_ratio", "[0.5, 1.0]", ()),
        ("compression.pruning_scope", "all", ()),
        ("compression.importance", "l3", ()),
        ("compression.rewind", "1.0", ()),
        ("compression.mask", "{ratio: 1.0}", ()),
        ("compression.mask", "{threshold: -1}", ()),
        ("compression.low_rank", "{method: svd, ratio: 1.0}", ()),
        ("compression.low_rank", "{method: svd, rank: 0}", ()),
        ("compression.low_rank", "{method: qr, rank: 2}", ()),
        ("compression.low_rank", "{method: cp, energy: 0.9}", ()),
        ("compression.remove_blocks", "[2]", ()),
        ("training.quantization", "later", ()),
        ("training.calibration", "max", ()),
        ("training.rate_weight", "-1", ()),
        ("training.distillation", "{teacher: self, features_weight: 1, at: [stage9]}", ()),
        ("training.distillation", "{teacher: torchvision.resnet18, weights: none.pth}", ()),
    ],
)
def test_one_line_that_names_the_key(key: str, value: str, beside: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        refuse(load_study(STUDY, [f"{key}={value}", *beside]))
    (line,) = str(caught.value).splitlines()
    assert line.removeprefix("command line: ").startswith(key)
    assert "expected" in line


def test_a_depthwise_layer_has_no_rank() -> None:
    architecture = extreme_candidates(load_study(STUDY))["largest"].architecture
    name = next(layer.name for layer in architecture.layers(10) if layer.kind == "depthwise")
    plan = {"steps": {"low_rank": {name: {"method": "svd", "rank": 2}}}}
    given = {"schema": 1, "architecture": architecture.model_dump(mode="json"), "plan": plan}
    with pytest.raises(ValueError, match=rf"low_rank of {name}: expected .*, got a depthwise one"):
        Candidate.from_json(given)
