"""What `nas check` prints and warns of, by closed forms."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console
from small_network import SPACE, know_small

from nas.candidates.corners import extreme_candidates
from nas.commands.check import CROWDED, TRIALS_FOR_MANY, check_table, closed_form_costs, warnings_of
from nas.estimate.candidates import file_bytes
from nas.measuring.latency_benchmark import untrained_file
from nas.records import OBJECTIVES
from nas.study import Study
from search_spaces.flows import FLOWS


def make_study(**fields: Any) -> Study:
    given = {
        "name": "t",
        "data": {"source": "digits"},
        "space": {"preset": "8px"},
        "compression": {"pruning_ratio": (0.0, 0.5), "weight_format": ("int8", "int4")},
        "objectives": ("accuracy", "parameters", "size_bytes"),
        **fields,
    }
    return Study.model_validate(given)


def test_three_networks_with_their_costs() -> None:
    study = make_study()
    console = Console(width=120)
    with console.capture() as shown:
        console.print(check_table(study))
    for name, candidate in extreme_candidates(study).items():
        line = next(line for line in shown.get().splitlines() if f" {name} " in line)
        costs = (candidate.parameters(10), candidate.macs(10), candidate.weight_bytes(10))
        file = file_bytes(study, candidate, 10)
        assert file is not None
        assert line.replace("│", " ").split() == [name, *(f"{cost:,}" for cost in costs), f"{file:,.0f}"]
        assert tuple(closed_form_costs(candidate, 10).values()) == costs
    assert "t: about 10^" in shown.get()
    assert f"{study.search.trials} trials" in shown.get()


def test_what_depends_on_weights_is_a_bound() -> None:
    study = make_study(compression={"pruning_ratio": (0.5,), "pruning_scope": "global"})
    console = Console(width=120)
    with console.capture() as shown:
        console.print(check_table(study))
    middle = extreme_candidates(study)["middle"]
    least = middle.least(10).parameters(10)
    assert least < middle.parameters(10)
    line = next(line for line in shown.get().splitlines() if " middle " in line)
    assert line.replace("│", " ").split()[:3] == ["middle", "≥", f"{least:,}"]
    assert "(≥)" in shown.get()


def test_bytes_of_the_file_that_is_written() -> None:
    study = make_study()
    for candidate in extreme_candidates(study).values():
        written = len(untrained_file(candidate, 10, study.target))
        assert file_bytes(study, candidate, 10) == pytest.approx(written, abs=40), "but for equal zero points"
    parameters = extreme_candidates(study)["largest"].parameters(10)
    assert file_bytes(study, extreme_candidates(study)["largest"], 10) > parameters, "int8: a byte for each, and more"


def test_a_file_that_cannot_be_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {"residual": {"kernels": (3,)}}
    study = make_study(space={"family": "mixed", "preset": "8px", "blocks": blocks})
    candidate = extreme_candidates(study)["smallest"]
    assert file_bytes(study, candidate, 10) is not None
    monkeypatch.delitem(FLOWS, "residual")
    assert file_bytes(study, candidate, 9) is None


def test_a_sound_study_is_not_warned_of() -> None:
    assert warnings_of(make_study(constraints={"parameters": {"max": 1e9}})) == []


@pytest.mark.parametrize(
    ("objectives", "constraints", "keys"),
    [
        (("accuracy",), {}, ("compression.weight_format", "compression.pruning_ratio")),
        (("accuracy", "parameters"), {}, ("compression.weight_format",)),
        (("accuracy", "macro_f1", "latency_ms"), {}, ()),
        (("accuracy",), {"size_bytes": {"max": 1e9}}, ()),
        (("accuracy",), {"macs": {"max": 1e9}}, ("compression.weight_format",)),
    ],
)
def test_genes_that_nothing_rewards(
    objectives: tuple[str, ...], constraints: dict[str, Any], keys: tuple[str, ...]
) -> None:
    found = warnings_of(make_study(objectives=objectives, constraints=constraints))
    assert [warning.partition(":")[0] for warning in found] == list(keys)


def test_ways_of_factoring_that_have_no_layer_or_no_reward() -> None:
    ways = ({"method": "cp", "rank": 4}, {"method": "svd", "rank": 4})
    fields = {"compression": {"low_rank": ways}, "space": {"family": "mobile", "preset": "8px"}}
    idle = "compression.low_rank: no layer of this space can be factored by cp rank 4"
    assert warnings_of(make_study(**fields)) == [idle]
    unrewarded, other = warnings_of(make_study(**fields, objectives=("accuracy",)))
    assert unrewarded == "compression.low_rank: no objective or constraint rewards a smaller network"
    assert other == idle


@pytest.mark.parametrize(
    ("compression", "objective", "key"),
    [
        ({"mask": (None, {"ratio": 0.5})}, "parameters", "mask"),
        ({"mask": (None, {"ratio": 0.5})}, "nonzero_parameters", None),
        ({"mask": {"ratio": 0.5}}, "parameters", None),  # no gene
        ({"remove_activations": (False, True)}, "macro_f1", "remove_activations"),
        ({"remove_activations": (False, True)}, "macs", None),
        ({"weight_format": ("int8", "int4")}, "coded_bytes", None),
        ({"weight_format": ("int8", "int4")}, "nonzero_parameters", "weight_format"),
    ],
)
def test_every_compressor_wants_its_reward(compression: dict[str, Any], objective: str, key: str | None) -> None:
    found = warnings_of(make_study(compression=compression, objectives=("accuracy", objective)))
    assert [warning.partition(":")[0] for warning in found] == ([] if key is None else [f"compression.{key}"])


STATIC = {"quantization": {"choices": ("aware", "static")}, "rate_weight": 0.1, "calibration": "mse"}


@pytest.mark.parametrize(
    ("compression", "training", "keys"),
    [
        ({"weight_format": ("fp32",)}, STATIC, ["training.rate_weight", "training.calibration"]),
        ({"weight_format": ("int8",)}, STATIC, []),
        ({"weight_format": ("int8",)}, {**STATIC, "quantization": "static"}, ["training.rate_weight"]),
        ({"weight_format": ("int8",)}, {"equalization": True}, ["training.equalization"]),
        ({"activation_bits": 4}, {}, ["compression.activation_bits"]),
        (
            {"importance": "l1", "pruning_scope": "global", "rewind": 0.1}, {},
            ["compression.importance", "compression.pruning_scope", "compression.rewind"],
        ),
        ({"importance": "l1", "pruning_scope": "global", "rewind": 0.1, "pruning_ratio": (0.5,)}, {}, []),
        ({"pruning_schedule": "iterative"}, {}, ["compression.pruning_schedule"]),
        ({"pruning_schedule": "iterative", "mask": {"ratio": 0.5}}, {}, []),
    ],
)  # fmt: skip
def test_what_is_set_and_does_nothing(compression: dict[str, Any], training: dict[str, Any], keys: list[str]) -> None:
    found = warnings_of(make_study(compression=compression, training=training))
    assert [warning.partition(":")[0] for warning in found] == keys
    assert all(warning.endswith(": no effect") for warning in found)


def test_what_depends_on_weights_is_marked_as_a_bound() -> None:
    console = Console(width=160, color_system=None)
    for scope, marks in (("local", 0), ("global", 3)):
        study = make_study(compression={"pruning_scope": scope, "pruning_ratio": (0.5, 0.75)})
        with console.capture() as capture:
            console.print(check_table(study))
        rows = [line for line in capture.get().splitlines() if re.search("smallest|middle|largest", line)]
        assert [row.count("≥") for row in rows] == [marks] * 3


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, ["compression"]),
        ({"search": {"trials": 1, "finalists": 1}}, []),
        ({"training": {"learning_rate": {"low": 0.01, "high": 0.1}}}, []),
        ({"compression": {"weight_format": ("int8", "int4")}}, []),
    ],
)
def test_a_network_of_which_nothing_is_searched(changes: dict[str, Any], warned: list[str]) -> None:
    know_small()
    found = warnings_of(make_study(**{"space": SPACE, "compression": {}, **changes}))
    assert [warning.partition(":")[0] for warning in found] == warned


@pytest.mark.parametrize("trials", [TRIALS_FOR_MANY - 1, TRIALS_FOR_MANY])
def test_many_objectives_need_many_trials(trials: int) -> None:
    crowded = make_study(objectives=OBJECTIVES[-CROWDED - 1 :], search={"trials": trials, "finalists": 1})
    assert [warning.partition(":")[0] for warning in warnings_of(crowded)] == ["objectives"] * (
        trials < TRIALS_FOR_MANY
    )


@pytest.mark.parametrize("name", ["parameters", "macs", "size_bytes"])
def test_a_limit_below_the_smallest_network(name: str) -> None:
    least = closed_form_costs(extreme_candidates(make_study())["smallest"], 10)[name]
    assert warnings_of(make_study(constraints={name: {"max": float(least)}})) == []
    (found,) = warnings_of(make_study(constraints={name: {"max": least - 1.0}}))
    assert found == f"constraints.{name}.max: {least - 1:g} is below the smallest network's {least:,}"
