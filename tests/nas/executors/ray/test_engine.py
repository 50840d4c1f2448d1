"""What the engine says before it reaches anything, and what it asks Ray for; no Ray runs."""

from __future__ import annotations

from typing import Any, cast

import pytest
from by_hand import make_study

import nas.executors.ray.engine
from nas.errors import InputError
from nas.executors.ray.engine import RAY, _require_room, need_of, trial_options
from nas.study import Study
from nas.study.cluster import RayOptions

FILES: list[tuple[dict[str, Any], list[str]]] = [
    ({"training": {"distillation": {"teacher": "big.json"}}}, ["training.distillation.architecture: big.json"]),
    (
        {"training": {"distillation": {"teacher": "torchvision.resnet18", "weights": "own.pth"}}},
        ["training.distillation.weights: own.pth"],
    ),
    ({"finals": {"teacher": "exported"}}, ["finals.teacher: exported"]),
    ({"finals": {"teacher": 3}}, []),
    ({"finals": {"teacher": "none"}, "training": {"distillation": {"teacher": "reference"}}}, []),
    ({"finals": {"teacher": "torchvision.resnet18"}}, []),
    ({"training": {"distillation": {"teacher": "self"}}}, []),
]


def study_with(given: dict[str, Any], **ray: Any) -> Study:
    plain = make_study().model_dump(exclude_unset=True)
    return Study.model_validate({**plain, **given, "search": {**plain["search"], "engine": "ray", "ray": ray}})


@pytest.mark.parametrize(("given", "named"), FILES)
def test_files_that_no_node_has_are_refused(given: dict[str, Any], named: list[str]) -> None:
    """Finalists' as well as trials'; not where every node has them, or where there is one machine."""
    found = RAY.refused(study_with(given, address="auto"))
    assert [line.partition(" is not")[0] for line in found] == named
    assert not RAY.refused(study_with(given, address="auto", shared=True))
    assert not RAY.refused(study_with(given))


def test_a_machine_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.executors.ray.engine, "find_spec", lambda _: None)
    (line,) = RAY.refused(study_with({}))
    assert line.startswith("search.engine: ray needs the package ray, which is not installed here")


def test_what_a_trial_takes() -> None:
    options = RayOptions(cpus=2.0, gpus=0.5, resources={"a100": 0.5})
    assert need_of(options) == {"CPU": 2.0, "GPU": 0.5, "a100": 0.5}
    found = trial_options(options, {"env_vars": {"A": "b"}})
    assert (found["num_cpus"], found["num_gpus"], found["resources"]) == (2.0, 0.5, {"a100": 0.5})
    assert (found["max_restarts"], found["max_task_retries"]) == (0, 0)  # the driver's rules are the only ones


def test_no_node_has_what_a_trial_takes() -> None:
    class Nodes:
        def nodes(self) -> dict[str, dict[str, float]]:
            return {"1": {"CPU": 4.0, "memory": 1e9}, "2": {"CPU": 4.0, "node:1.2.3.4": 1.0}}

    _require_room(1, cast("Any", Nodes()), RayOptions())
    with pytest.raises(InputError, match=r"takes \(CPU 1, GPU 1\), got nodes with CPU 4$"):
        _require_room(0, cast("Any", Nodes()), RayOptions(gpus=1.0))
