"""The networks a study knows without drawing: its smallest, middle and largest one, and its teacher."""

from __future__ import annotations

import json
import pwd
from pathlib import Path
from typing import Any

import pytest

from compressors.plan import CompressionPlan
from nas.candidates.candidate import Candidate
from nas.candidates.corners import extreme_candidates, float_candidate, teacher_candidate
from nas.errors import InputError
from nas.study import Study


def make_study(**distillation: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits"},
            "space": {"family": "mixed", "preset": "8px"},
            "compression": {"pruning_ratio": (0.0, 0.25, 0.5), "weight_format": ("int8", "int3", "int4")},
            "training": {"distillation": {"teacher": "reference", **distillation}},
        }
    )


def test_the_smallest_is_compressed_most_and_the_largest_least() -> None:
    """Whatever order the study lists ratios and formats in."""
    found = extreme_candidates(make_study())
    edges = {"int8"}  # the first and the last layer
    assert set(found["smallest"].plan.formats.values()) == {"int3"} | edges
    assert set(found["middle"].plan.formats.values()) == {"int4"} | edges
    assert set(found["largest"].plan.formats.values()) == {"int8"}
    assert found["smallest"].plan.kept
    assert not found["largest"].plan.kept
    sizes = [found[name].weight_bytes(10) for name in ("smallest", "middle", "largest")]
    assert sizes == sorted(sizes)


def test_sizes_are_in_order() -> None:
    found = extreme_candidates(make_study())
    for cost in ("parameters", "macs"):
        values = [getattr(found[name], cost)(10) for name in ("smallest", "middle", "largest")]
        assert values == sorted(values)
        assert values[0] < values[2]


@pytest.mark.parametrize("choices", [(False, True), (True, False)])
def test_what_may_be_removed_is_removed_from_the_smallest_alone(choices: tuple[bool, bool]) -> None:
    compression = {"remove_blocks": choices, "remove_activations": choices, "granularity": "network"}
    found = extreme_candidates(Study.model_validate({**make_study().model_dump(), "compression": compression}))
    architecture = found["smallest"].architecture
    assert set(found["smallest"].plan.steps.get("blocks_removed", {})) == {
        site.name for site in architecture.blocks() if site.has_skip
    }
    assert found["smallest"].plan.steps["activations_removed"]
    assert not found["largest"].plan.steps


def test_the_largest_network_teaches_unless_another_is_named(tmp_path: Path) -> None:
    largest = teacher_candidate(make_study())
    assert largest.architecture == extreme_candidates(make_study())["largest"].architecture
    assert (largest.plan.kept, largest.plan.formats) == ({}, {})
    smallest = Candidate(architecture=extreme_candidates(make_study())["smallest"].architecture)
    file = tmp_path / "candidate.json"
    file.write_text(json.dumps(smallest.to_json()))
    assert teacher_candidate(make_study(architecture=str(file))) == smallest


@pytest.mark.parametrize("text", [None, "{", "{}", '{"schema": 1}', "[1]", "5"])
def test_what_is_no_candidate_is_refused(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "candidate.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=r"training.distillation.architecture: expected a candidate.json, got"):
        teacher_candidate(make_study(architecture=str(file)))


@pytest.mark.parametrize("text", [None, "{}", "[1]"])
def test_a_folder_without_a_candidate_cannot_teach_by_its_maps(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "candidate.json").write_text(text)
    with pytest.raises(InputError, match=r"^k: expected candidate.json of a network in .*, got"):
        float_candidate(tmp_path, key="k")


def test_only_a_float_network_teaches_by_its_maps(tmp_path: Path) -> None:
    candidate = Candidate(architecture=extreme_candidates(make_study())["largest"].architecture)
    (tmp_path / "candidate.json").write_text(json.dumps(candidate.to_json()))
    assert float_candidate(tmp_path, key="k") == candidate
    integers = candidate.model_copy(update={"plan": CompressionPlan(formats={"classifier": "int8"})})
    (tmp_path / "candidate.json").write_text(json.dumps(integers.to_json()))
    with pytest.raises(InputError, match=r"^k: expected a float network, .* teach, got .* with int8"):
        float_candidate(tmp_path, key="k")


def test_a_teacher_for_other_images_is_refused(tmp_path: Path) -> None:
    other = extreme_candidates(make_study())["largest"].architecture.model_copy(update={"input_size": 16})
    file = tmp_path / "candidate.json"
    file.write_text(json.dumps(Candidate(architecture=other).to_json()))
    with pytest.raises(InputError, match=r"expected images of size and channels \(8, 1\), got \(16, 1\)"):
        teacher_candidate(make_study(architecture=str(file)))


def test_a_teacher_below_a_home_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(InputError, match=r"expected a candidate\.json, got .*~/candidate\.json"):
        teacher_candidate(make_study(architecture="~/candidate.json"))
