"""The study file: what is accepted; every mistake is named with its line, key, expectation and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.formats import FORMATS
from compressors.steps import stage_names
from nas.errors import InputError
from nas.records import COSTS, OBJECTIVES, QUALITIES
from nas.registry import ENGINES
from nas.study import (
    Choices,
    Compression,
    Constraints,
    Cost,
    Data,
    NotNegative,
    Objective,
    Range,
    ReportOptions,
    Search,
    Share,
    Study,
    Target,
    Training,
)
from nas.study.file import CHANGEABLE, difference, dump_study, frozen_difference, load_recorded, load_study, placed
from nas.study.words import dotted
from search_spaces.mixes import MIXES
from search_spaces.spaces import PRESETS, MixedSpace, MobileSpace

STAGES = ", ".join(stage_names())
BASE = """\
name: tiny
data:
  source: digits
space:
  preset: 8px
"""
MOBILE = BASE + "  family: mobile\n"

NAME_RULE = "text of at most 80 characters matching ^[A-Za-z0-9][A-Za-z0-9_.-]*$"
COST_NAMES = ", ".join(COSTS)
AT_TARGET = "latency_ms@TARGET, size_bytes@TARGET"
SECTIONS = ", ".join(Study.model_fields)
MOBILE_KEYS, MIXED_KEYS = (", ".join(kind.model_fields) for kind in (MobileSpace, MixedSpace))
KINDS = "residual, fused_inverted_residual, inverted_residual, shuffle, plain"
OWN = "package.module:Class"
PIXELS = "an integer of at least 8 and at most 224"
SEARCH_KEYS = ", ".join(Search.model_fields)


def write(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """Lines of the error, the folder cut off."""
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        load_study(path, overrides)
    return str(caught.value).replace(str(path), "x.yaml").splitlines()


def load(folder: Path, text: str, *overrides: str) -> Study:
    return load_study(write(folder, text), overrides)


def test_smallest_file_gets_defaults(tmp_path: Path) -> None:
    expected = Study(name="tiny", data=Data(source="digits"), space=MobileSpace.model_validate({"preset": "8px"}))
    assert load(tmp_path, MOBILE) == expected


def test_a_space_without_a_family_is_the_mix_of_its_preset(tmp_path: Path) -> None:
    space = MixedSpace.model_validate({**MIXES["8px"], "preset": "8px", "family": "mixed"})
    for study in (load(tmp_path, BASE), load(tmp_path, BASE + "  family: auto\n")):
        assert study.space == space
        assert load(tmp_path, dump_study(study)) == study, "written out it stays what it was"
    wider = load(tmp_path, BASE, "space.stem_widths=[32]").space
    assert (wider.stem_widths, wider.stages) == ((32,), space.stages)


@pytest.mark.parametrize("space", ["{preset: 8px, kernels: [3]}", "{preset: 8px, squeeze_excite: [false]}"])
def test_lists_of_choices_for_blocks_are_those_of_a_mobile_space(tmp_path: Path, space: str) -> None:
    """As they were when a space without a family was mobile."""
    assert isinstance(load(tmp_path, BASE, f"space={space}").space, MobileSpace)


def test_the_family_auto_needs_a_preset(tmp_path: Path) -> None:
    names = "8px, 32px, 64px, 96px, 128px, 224px"
    said = f"command line: space.preset: expected one of {names} with family auto, got nothing"
    assert mistakes(tmp_path, BASE, "space={family: auto, input_size: 8}") == [said]


@pytest.mark.parametrize(
    ("data", "scope"),
    [
        ("{source: image_folder, path: p, group_pattern: a}", "all"),
        ("{source: image_folder, path: p, group_pattern: a, group_scope: class}", "class"),
        ("{source: image_folder, path: p}", "class"),
        ("{source: digits}", "class"),
    ],
)
def test_groups_of_a_run_folder_that_names_no_scope_are_those_of_all_classes(
    tmp_path: Path, data: str, scope: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(BASE.replace("data:\n  source: digits", f"data: {data}"))
    assert load_recorded(path).data.group_scope == scope
    assert load_study(path).data.group_scope == "class"


CONSTRAINED = BASE + "constraints: {accuracy: {min: 0.9}, size_bytes: {max: 20000}}\n"


@pytest.mark.parametrize("epochs", [None, 20, 5])
def test_a_quality_binds_what_is_trained_as_finalists_are(tmp_path: Path, epochs: int | None) -> None:
    study = load(tmp_path, CONSTRAINED + f"search: {{epochs: {epochs or 'null'}}}\ntraining: {{epochs: 20}}\n")
    every, costs = {"accuracy": 0.9, "size_bytes": 20000.0}, {"size_bytes": 20000.0}
    assert (study.limits, study.cost_limits) == (every, costs)
    assert study.limits_in("search") == (costs if epochs == 5 else every)
    assert study.limits_in("final") == every


def test_only_the_constraints_that_are_given_are_written_down(tmp_path: Path) -> None:
    study = load(tmp_path, CONSTRAINED)
    assert "constraints:\n  accuracy:\n    min: 0.9\n  size_bytes:\n    max: 20000.0\nsearch:" in dump_study(study)
    assert difference(load(tmp_path, BASE), study) == [
        "constraints.accuracy.min: nothing -> 0.9", "constraints.size_bytes.max: nothing -> 20000.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "space",
    [
        "{preset: 48px}", "{preset: 48}", "{family: mobile, presett: 8px}",
        "{preset: 48px, family: mixed}",
    ],
)  # fmt: skip
def test_a_wrong_preset_is_one_mistake(tmp_path: Path, space: str) -> None:
    """Not five: what it would have filled is not said to be missing."""
    (said,) = mistakes(tmp_path, BASE, f"space={space}")
    assert "space.preset" in said


def test_a_misspelled_key_is_one_mistake_and_hides_no_other(tmp_path: Path) -> None:
    (said,) = mistakes(tmp_path, BASE, "targets=[{nam: cpu}]")
    assert said.startswith("command line: targets[0].nam: unknown key")
    both = mistakes(tmp_path, BASE, "space={preset: 48px, kernels: [4]}")
    assert [line.split(": ")[1] for line in both] == ["space.preset", "space.kernels[0]"]
    far = mistakes(tmp_path, BASE, "targets=[{zzz: cpu}]")
    assert {line.split(": ")[1] for line in far} == {"targets[0].zzz", "targets[0].name"}


def test_a_number_is_searched_where_it_has_an_effect(tmp_path: Path) -> None:
    adam = load(tmp_path, BASE + "training: {optimizer: adam, momentum: 0.5, gamma: 0.5}\n")
    assert adam.training.searched == {}
    text = (
        "training: {optimizer: rmsprop, schedule: exponential, momentum: {choices: [0.1]}, gamma: {choices: [0.5]}}\n"
    )
    assert set(load(tmp_path, BASE + text).training.searched) == {"momentum", "gamma"}


def test_preset_is_filled_in_and_what_is_given_wins(tmp_path: Path) -> None:
    space = load(tmp_path, BASE + "  kernels: [7]\n").space
    assert space.kernels == (7,)
    assert space.head_widths == PRESETS["8px"]["head_widths"]


def test_study_words_match_records() -> None:
    assert get_args(Cost) == COSTS
    assert get_args(Objective) == OBJECTIVES


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("2024-01-01", "2024-01-01"), ("1_000", "1_000"),
        ("1:30", "1:30"), ("'8'", "8"), ("~", None), ("null", None), ("", None), ("=", "="),
    ],
)  # fmt: skip
def test_yaml_1_2_text(tmp_path: Path, scalar: str, value: str | None) -> None:
    assert load(tmp_path, BASE + f"report:\n  title: {scalar}\n").report.title == value


@pytest.mark.parametrize(
    ("scalar", "value"),
    [("1e-3", 0.001), ("5E2", 500), (".5", 0.5), ("3", 3), ("+1.", 1), ("0x1F", 31), ("0o17", 15), ("010", 10)],
)
def test_yaml_1_2_numbers(tmp_path: Path, scalar: str, value: float) -> None:
    hours = load(tmp_path, BASE + f"search:\n  hours: {scalar}\n").search.hours
    assert hours == value
    assert isinstance(hours, float)


@pytest.mark.parametrize(("scalar", "value"), [("true", True), ("FALSE", False)])
def test_yaml_1_2_booleans(tmp_path: Path, scalar: str, value: bool) -> None:
    assert load(tmp_path, BASE + f"compression: {{edges_below_int8: {scalar}}}\n").compression.edges_below_int8 is value


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("search:\n  trials: -3\n", "7: search.trials: expected an integer of at least 1, got -3"),
        ("search:\n  trials: '8'\n", "7: search.trials: expected an integer of at least 1, got '8'"),
        ("search:\n  trials: true\n", "7: search.trials: expected an integer of at least 1, got true"),
        ("search:\n  trials: 2.0\n", "7: search.trials: expected an integer of at least 1, got 2.0"),
        ("search:\n  trials:\n", "7: search.trials: expected an integer of at least 1, got null"),
        ("search:\n  hours: 0\n", "7: search.hours: expected a number above 0 or null, got 0"),
        ("search:\n  hours: .nan\n", "7: search.hours: expected a number above 0 or null, got nan"),
        ("search:\n  hours: true\n", "7: search.hours: expected a number above 0 or null, got true"),
        ("search:\n  workers: true\n", "7: search.workers: expected an integer of at least 1 or auto, got true"),
        ("search:\n  workers: 1.0\n", "7: search.workers: expected an integer of at least 1 or auto, got 1.0"),
        (
            "search:\n  sampler: nsga9\n",
            "7: search.sampler: expected one of random, tpe, nsga2, nsga3, pareto, grid, got 'nsga9'",
        ),
        (
            "search:\n  trails: 3\n",
            f"7: search.trails: unknown key, expected one of {SEARCH_KEYS}; did you mean 'trials'?",
        ),
        ("search:\n  '[key]': 3\n", f"7: search.[key]: unknown key, expected one of {SEARCH_KEYS}"),
        ("zzz: 3\n", f"6: zzz: unknown key, expected one of {SECTIONS}"),
        ("search:\n", "6: search: expected a mapping, got null"),
        ("search: [1]\n", "6: search: expected a mapping, got [1]"),
        ("report: {title: 3}\n", "6: report.title: expected text or null, got 3"),
        (
            "compression:\n  weight_format:\n    - fp32\n    - int9\n",
            f"9: compression.weight_format[1]: expected one of {', '.join(FORMATS)}, got 'int9'",
        ),
        (
            "compression:\n  weight_format: [int9]\n",
            f"7: compression.weight_format[0]: expected one of {', '.join(FORMATS)}, got 'int9'",
        ),
        (
            "compression:\n  weight_format: int9\n",
            f"7: compression.weight_format[0]: expected one of {', '.join(FORMATS)}, got 'int9'",
        ),
        (
            "compression: {pruning_ratio: []}\n",
            "6: compression.pruning_ratio: expected a number of at least 0 and at most 0.875 or a list of at least 1, "
            "each a number of at least 0 and at most 0.875, got []",
        ),
        (
            "compression: {pruning_ratio: [0, 0.0]}\n",
            "6: compression.pruning_ratio: every choice once, got [0.0, 0.0]",
        ),
        (
            "training:\n  shares: [0.5, 0.5]\n",
            f"7: training.shares: expected a mapping with keys among {STAGES}, got [0.5, 0.5]",
        ),
        (
            "training:\n  shares: [0.1, 0.2, 0.3, 0.4]\n",
            f"7: training.shares: expected a mapping with keys among {STAGES}, got [0.1, 0.2, 0.3, 0.4]",
        ),
        (
            "training:\n  shares: {dense: 0.5, prune: 0.2, quantized: 0.3}\n",
            f"7: training.shares.prune: unknown key, expected one of {STAGES}; did you mean 'pruned'?",
        ),
        (
            "training:\n  shares: {dense: 0.5, pruned: half, quantized: 0.3}\n",
            "7: training.shares.pruned: expected a number of at least 0 and below 1, got 'half'",
        ),
        ("training: {cycle: epoch}\n", "6: training.cycle: expected one of whole, stage, tail, got 'epoch'"),
        ("search: {engine: lokal}\n", "6: search.engine: expected one of local, ray, got 'lokal'"),
        ("search: {engine: 5}\n", "6: search.engine: expected one of local, ray, got 5"),
        (
            "training:\n  shares: [0.1, 0.2, 0.3]\n",
            "7: training.shares: expected shares that sum to 1, that of dense above 0, "
            "got {dense: 0.1, pruned: 0.2, quantized: 0.3}",
        ),
        (
            "objectives: [speed]\n",
            f"6: objectives[0]: expected one of accuracy, balanced_accuracy, macro_f1, {COST_NAMES}, {AT_TARGET}, "
            "got 'speed'",
        ),
        (
            "training: {learning_rate: fast}\n",
            "6: training.learning_rate: expected a number above 0 or {low, high, log} or {choices} or null, got 'fast'",
        ),
        (
            "training: {learning_rate: {low: 0, high: 1}}\n",
            "6: training.learning_rate.low: expected a number above 0, got 0",
        ),
        (
            "training: {dropout: 1.5}\n",
            "6: training.dropout: expected a number of at least 0 and below 1 or {low, high, log} or {choices}, "
            "got 1.5",
        ),
        (
            "training: {dropout: [0.1, 0.2]}\n",
            "6: training.dropout: expected a number of at least 0 and below 1 or {low, high, log} or {choices}, "
            "got [0.1, 0.2]",
        ),
        (
            "training: {gamma: {choices: [0.1, 1.5]}}\n",
            "6: training.gamma.choices[1]: expected a number above 0 and at most 1, got 1.5",
        ),
        (
            "training: {ema: {low: 0.5}}\n",
            "6: training.ema.high: expected a number of at least 0 and below 1, got nothing",
        ),
        (
            "training: {epochs: {low: 1, high: 2}}\n",
            "6: training.epochs: expected an integer of at least 1, got a mapping",
        ),
        (
            "training:\n  ema:\n    low: 0.5\n    high: 1.0\n",
            "9: training.ema.high: expected a number of at least 0 and below 1, got 1.0",
        ),
        (
            "training: {mixup: {low: 0.4, high: 0.2}}\n",
            "6: training.mixup.high: expected a number above low 0.4, got 0.2",
        ),
        (
            "training: {mixup: {low: 0.0, high: 0.2, log: true}}\n",
            "6: training.mixup.low: expected a number above 0 on a logarithmic scale, got 0",
        ),
        (
            "training: {dropout: {choices: [0.0, 1.5]}}\n",
            "6: training.dropout.choices[1]: expected a number of at least 0 and below 1, got 1.5",
        ),
        (
            "training: {dropout: {choices: [0.5, 0.5]}}\n",
            "6: training.dropout.choices: every choice once, got [0.5, 0.5]",
        ),
        (
            "training: {l1: {low: 0.0, high: 0.5, step: 0.1}}\n",
            "6: training.l1.step: unknown key, expected one of low, high, log, choices",
        ),
        (
            "training: {l1: {choices: [0.1, 0.2], log: true}}\n",
            "6: training.l1.log: unknown key, expected one of choices",
        ),
        (
            "training: {learning_rate: {choices: [0.1, -1]}}\n",
            "6: training.learning_rate.choices[1]: expected a number above 0, got -1",
        ),
        (
            "training: {milestones: [0.5, 0.25]}\n",
            "6: training.milestones: expected shares in ascending order, got [0.5, 0.25]",
        ),
        (
            "training: {distillation: {architecture: a.json}}\n",
            "6: training.distillation.architecture: expected null with teacher self, got 'a.json'",
        ),
        (
            "training:\n  optimizer: adam\n  momentum: {choices: [0.5, 0.9]}\n",
            "8: training.momentum: searched only with optimizer sgd or rmsprop, got optimizer adam",
        ),
        (
            "training: {gamma: {choices: [0.1, 0.5]}}\n",
            "6: training.gamma: searched only with schedule step or exponential, got schedule one_cycle",
        ),
        (
            "compression: {learned_step_sizes: [int4, fp32]}\n",
            "6: compression.learned_step_sizes: expected formats with step sizes, got fp32 among ['int4', 'fp32']",
        ),
        (
            "compression: {importance: momentum}\ntraining: {momentum: {choices: [0.9, 0]}}\n",
            "6: compression.importance: momentum ranks by the optimizer's first moments, expected training.momentum "
            "above 0 with sgd and rmsprop, got 0",
        ),
        (
            "compression: {rewind: 0.1, pruning_schedule: iterative}\n",
            "6: compression.rewind: expected null with pruning_schedule iterative, which ends with the weights it "
            "trained, got 0.1",
        ),
        ("objectives: [macs, macs]\n", "6: objectives: every objective once, got ['macs', 'macs']"),
        (
            "constraints:\n  mac: {max: 1}\n",
            f"7: constraints.mac: unknown key, expected one of {', '.join(OBJECTIVES)}, {AT_TARGET}; "
            "did you mean 'macs'?",
        ),
        ("constraints:\n  macs: {}\n", "7: constraints.macs.max: expected a number above 0, got nothing"),
        ("constraints: {macs: 9}\n", "6: constraints.macs: expected a mapping with keys among max or null, got 9"),
        (
            "constraints: {accuracy: {min: 90}}\n",
            "6: constraints.accuracy.min: expected a number above 0 and at most 1, got 90",
        ),
        ("targets:\n  - name: a b\n", f"7: targets[0].name: expected {NAME_RULE}, got 'a b'"),
        ("targets:\n- name: a\n- name: a\n", "7: targets: every target name once, got ['a', 'a']"),
        ("tracking: [mlflow, mlflow]\n", "6: tracking: every tracker once, got ['mlflow', 'mlflow']"),
        ("tracking: [wandb]\n", "6: tracking[0]: expected one of tensorboard, mlflow, got 'wandb'"),
        (
            "targets:\n- {name: a, runtime: b}\n",
            "7: targets[0].runtime: expected one of onnxruntime, openvino, got 'b'",
        ),
        (
            "search:\n  seed: " + "9" * 5000,
            "7: search.seed: expected an integer of at least 0 and below 2147483648, got '" + "9" * 196 + "...",
        ),
    ],
)
def test_one_mistake_one_line(tmp_path: Path, extra: str, expected: str) -> None:
    assert mistakes(tmp_path, BASE + extra) == [f"x.yaml:{expected}"]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("preset: [a]", "expected one of 8px, 32px, 64px, 96px, 128px, 224px or null, got ['a']"),
        ("preset: {a: 1}", "expected one of 8px, 32px, 64px, 96px, 128px, 224px or null, got a mapping"),
        ("preset: 9px", "expected one of 8px, 32px, 64px, 96px, 128px, 224px or null, got '9px'"),
    ],
)
def test_wrong_preset(tmp_path: Path, space: str, expected: str) -> None:
    text = f"name: t\ndata: {{source: digits}}\nspace:\n  {space}\n"
    assert f"x.yaml:4: space.preset: {expected}" in mistakes(tmp_path, text)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("  width_grid: 16\n  stem_widths: [16, 24]\n",
         "x.yaml:7: space.stem_widths: expected multiples of width_grid 16, got [16, 24]"),
        ("  stages:\n    - depths: [1]\n      widths: [8]\n    - depths: [2, 1]\n      widths: [8]\n",
         "x.yaml:9: space.stages[1].depths: expected ascending order, got [2, 1]"),
        ("  stages:\n    - {depths: [1, 1], widths: [8]}\n",
         "x.yaml:7: space.stages[0].depths: every choice once, got [1, 1]"),
        ("  kernels: [3.0]\n", "x.yaml:6: space.kernels[0]: expected one of 3, 5, 7, got 3.0"),
        ("  squeeze_excite: [1]\n", "x.yaml:6: space.squeeze_excite[0]: expected true or false, got 1"),
        ("  input_size: 300\n", "x.yaml:6: space.input_size: expected an integer of at least 8 and at most 224 "
         "or a list of at least 1, each an integer of at least 8 and at most 224, "
         "got 300"),
    ],
)  # fmt: skip
def test_wrong_space_names_the_key_within(tmp_path: Path, extra: str, expected: str) -> None:
    assert mistakes(tmp_path, BASE + extra) == [expected]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("space: 3", "3: space: expected a mapping, got 3"),
        ("space: {family: resnet}", "3: space.family: expected one of mobile, shuffle, mixed, existing, got 'resnet'"),
        ("space: {family: 3, preset: 8px}", "3: space.family: expected one of mobile, shuffle, mixed, existing, got 3"),
        ("space: {family: mobile, preset: 8px, blocks: {}}",
         f"3: space.blocks: unknown key, expected one of {MOBILE_KEYS}"),
        ("space:\n  preset: 8px\n  input_size: []\n",
         f"5: space.input_size: expected {PIXELS} or a list of at least 1, each {PIXELS}, got []"),
        ("space:\n  preset: 8px\n  input_size:\n    - 8\n    - 4\n",
         f"7: space.input_size[1]: expected {PIXELS}, got 4"),
        ("space:\n  preset: 8px\n  input_size: [16, 8]\n",
         "5: space.input_size: expected ascending order, got [16, 8]"),
        ("space: {preset: 8px, head_widths: [4]}",
         "3: space.head_widths: expected multiples of width_grid 8, got [4]"),
        ("space:\n  preset: 8px\n  kernels: [3]\n  stages:\n  - {depths: [1], widths: [8]}\n"
         "  - depths: [1]\n    widths: [8]\n    families: [residual]\n",
         "10: space.stages[1].families: expected some of inverted_residual, got residual"),
        ("space:\n  preset: 8px\n  stages:\n  - depths: [1]\n    widths: [8]\n    families: [resnet]\n",
         f"8: space.stages[0].families[0]: expected one of {KINDS} or {OWN}, got 'resnet'"),
        ("space:\n  family: mixed\n  preset: 8px\n  kernels: [3]\n",
         f"6: space.kernels: unknown key, expected one of {MIXED_KEYS}"),
    ],
)  # fmt: skip
def test_wrong_space_is_one_line(tmp_path: Path, space: str, expected: str) -> None:
    assert mistakes(tmp_path, f"name: t\ndata: {{source: digits}}\n{space}") == [f"x.yaml:{expected}"]


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ("residual:\n      depth: 2", "9: space.blocks.residual.depth: unknown key, expected one of kernels, "
         "expansions, squeeze_excite, activations"),
        ("residual:\n      kernels: [4]", "9: space.blocks.residual.kernels[0]: expected one of 3, 5, 7, got 4"),
        ("residual:\n      kernels: [5, 3]", "9: space.blocks.residual.kernels: expected ascending order, got [5, 3]"),
        ("residual:\n      squeeze_excite: [true]", "9: space.blocks.residual.squeeze_excite: expected [false] "
         "(only for inverted_residual), got [true]"),
        ("resdual: {kernels: [3], expansions: [1]}", "8: space.blocks.resdual: unknown key, expected one of "
         f"{KINDS}, {OWN}; did you mean 'residual'?"),
        ("residual: 3", "8: space.blocks.residual: expected a mapping, got 3"),
    ],
)  # fmt: skip
def test_wrong_blocks_of_a_mixed_space(tmp_path: Path, blocks: str, expected: str) -> None:
    given = {"kernels": "[3]", "expansions": "[1]"}
    own = "".join(f"\n      {key}: {value}" for key, value in given.items() if key not in blocks)
    text = f"name: t\ndata: {{source: digits}}\nspace:\n  family: mixed\n  preset: 8px\n  blocks:\n\n    {blocks}"
    assert mistakes(tmp_path, text + (own if "\n" in blocks else "")) == [f"x.yaml:{expected}"]


def test_a_mixed_space_without_blocks(tmp_path: Path) -> None:
    keys = f"{KINDS}, {OWN}"
    expected = f"x.yaml:6: space.blocks: expected a mapping of at least 1 with keys among {keys}, got an empty mapping"
    assert mistakes(tmp_path, BASE + "  blocks: {}\n  family: mixed\n") == [expected]


def test_wrong_data(tmp_path: Path) -> None:
    text = "name: t\nspace: {preset: 8px}\ndata:\n"
    folder = mistakes(tmp_path, text + "  source: image_folder\n")
    assert folder == ["x.yaml:4: data.path: expected a folder for source image_folder, got nothing"]
    split = mistakes(tmp_path, text + "  source: digits\n  validation: 0.5\n  test: 0.5\n")
    assert split == ["x.yaml:4: data: validation + test: expected less than 1, got 0.5 + 0.5"]


def test_finalists_are_not_trained_shorter_than_trials(tmp_path: Path) -> None:
    epochs = "search: {epochs: 5}\ntraining: {epochs: %d}\n"
    expected = "x.yaml:6: search.epochs: expected at most training.epochs, which is 4, got 5"
    assert mistakes(tmp_path, BASE + epochs % 4) == [expected]
    (tmp_path / "y.yaml").write_text(BASE + epochs % 5)
    assert load_study(tmp_path / "y.yaml").search_epochs == 5


RUNGS = "search: {rungs: %s, brackets: %s, epochs: %s}\ntraining: {epochs: 20}\n"


@pytest.mark.parametrize(
    ("rungs", "epochs", "expected"),
    [
        ("auto", 20, (0.25, 0.5)),
        ("auto", 4, (0.25, 0.5)),
        ("auto", 2, (0.5,)),
        ("auto", 1, ()),
        ("[]", 20, ()),
        ("[0.1, 0.3]", 20, (0.1, 0.3)),
    ],
)
def test_rungs_are_shares_of_a_trials_epochs(
    tmp_path: Path, rungs: str, epochs: int, expected: tuple[float, ...]
) -> None:
    (tmp_path / "x.yaml").write_text(BASE + RUNGS % (rungs, 1, epochs))
    assert load_study(tmp_path / "x.yaml").rungs == expected


@pytest.mark.parametrize(
    ("rungs", "brackets", "epochs", "message"),
    [
        ("[0.5, 0.25]", 1, 20, "search.rungs: expected rising shares, got [0.5, 0.25]"),
        ("[1.0]", 1, 20, "search.rungs[0]: expected a number above 0 and below 1, got 1.0"),
        (
            "[0.25, 0.5]",
            1,
            2,
            "search.rungs: expected shares that fall on different epochs before the last of 2, got [0.25, 0.5]",
        ),
        (
            "[0.99]",
            1,
            4,
            "search.rungs: expected shares that fall on different epochs before the last of 4, got [0.99]",
        ),
        ("[0.5]", 3, 20, "search.brackets: expected at most 2, one more than there are rungs, got 3"),
        ("auto", 4, 20, "search.brackets: expected at most 3, one more than there are rungs, got 4"),
        ("[]", 2, 20, "search.brackets: expected at most 1, one more than there are rungs, got 2"),
    ],
)
def test_rungs_that_cannot_be_are_refused(tmp_path: Path, rungs: str, brackets: int, epochs: int, message: str) -> None:
    assert mistakes(tmp_path, BASE + RUNGS % (rungs, brackets, epochs)) == [f"x.yaml:6: {message}"]


def test_a_word_for_rungs_is_auto(tmp_path: Path) -> None:
    found = mistakes(tmp_path, BASE + "search: {rungs: some}\n")
    wanted = "auto or a list of at least 0, each a number above 0 and below 1"
    assert found == [f"x.yaml:6: search.rungs: expected {wanted}, got 'some'"]


def test_a_late_message_gets_its_place(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("name: t\ndata:\n  source: digits\n")
    assert placed("data.source: is bad:\n  so", file) == f"{file}:3: data.source: is bad:\n  so"
    assert placed("data.test: 0", file) == f"{file}:3: data.test: 0"  # of its section, where the key is not written
    assert placed("data.test: 0", file, ["data.test=0"]) == "command line: data.test: 0"
    gone = "targets[0].runtime: is not here\ntargets[1].provider: nor this"
    assert placed(gone, file, ["targets=[{name: a}, {name: b}]"]) == "\n".join(
        f"command line: {line}" for line in gone.splitlines()
    )
    for other in (
        "nowhere.key: is no key",
        f"{file}: data.source: known",
        "--out: no folder",
        "data.path has no colon",
    ):
        assert placed(other, file) == other


def test_all_mistakes_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "search:\n  seed: -1\n  epochs: 0\nreport:\n  titel: a\nname: ''\n"
    assert mistakes(tmp_path, text, "search.seed=-2", "training.epochs=0") == [
        "x.yaml:1: data: expected a mapping, got nothing",
        "x.yaml:1: space: expected a mapping, got nothing",
        "x.yaml:3: search.epochs: expected an integer of at least 1 or null, got 0",
        "x.yaml:5: report.titel: unknown key, expected one of title, hypervolume_reference; did you mean 'title'?",
        f"x.yaml:6: name: expected {NAME_RULE}, got ''",
        "command line: search.seed: expected an integer of at least 0 and below 2147483648, got -2",
        "command line: training.epochs: expected an integer of at least 1, got 0",
    ]


def test_key_that_stands_twice_names_both_lines_beside_other_mistakes(tmp_path: Path) -> None:
    text = BASE + "search:\n  trials: 0\n  seed: 1\n  trials: 4\n"
    assert mistakes(tmp_path, text) == [
        "x.yaml:7: search.trials: expected an integer of at least 1, got 0",
        "x.yaml:9: search.trials: key stands twice, first on line 7",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"x.yaml: expected a mapping with {SECTIONS}, got an empty file"),
        ("# only a remark\n", f"x.yaml: expected a mapping with {SECTIONS}, got an empty file"),
        ("- a\n- b\n", f"x.yaml: expected a mapping with {SECTIONS}, got ['a', 'b']"),
        ("name: a\ndata:\n\tsource: digits\n", "x.yaml:3: a tab where YAML wants spaces"),
        (
            "name: a\ndata: [1\n",
            "x.yaml:3: expected ',' or ']', but got '<stream end>' (while parsing a flow sequence)",
        ),
        ("name: 'a\n", "x.yaml:2: found unexpected end of stream (while scanning a quoted scalar)"),
        ("name: &a b\n", "x.yaml:1: anchors and aliases are not supported"),
        ("name: a\ndata: *a\n", "x.yaml:2: anchors and aliases are not supported"),
        ("name: !!python/name:os.system a\n", "x.yaml:1: tags are not supported"),
        ("name: a\x00b\n", "x.yaml:1: character 0 is not allowed in YAML"),
        (
            "a: 1\n---\nb: 1\n",
            "x.yaml:2: but found another document (expected a single document in the stream)",
        ),
        ("[" * 5000, "x.yaml:1: nested too deeply"),
    ],
)
def test_file_that_is_no_study(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_odd_keys(tmp_path: Path) -> None:
    assert mistakes(tmp_path, BASE + "<<: {a: 1}\n") == ["x.yaml:6: merge keys (<<) are not supported"]
    assert mistakes(tmp_path, BASE + "? [a]\n: 1\n") == ["x.yaml:6: expected a name as key, got a list or mapping"]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"name: \xff\n")
    expected = {
        tmp_path / "none.yaml": "cannot be read: No such file or directory",
        tmp_path: "cannot be read: Is a directory",
        binary: "expected UTF-8 text, got byte 0xff",
    }
    for path, text in expected.items():
        with pytest.raises(InputError) as caught:
            load_study(path)
        assert str(caught.value) == f"{path}: {text}"


def test_an_override_of_one_share_keeps_the_others(tmp_path: Path) -> None:
    shares = load(tmp_path, BASE, "training.shares.dense=0.6", "training.shares.pruned=0.1").training.shares
    assert shares == {"dense": 0.6, "pruned": 0.1, "quantized": 0.3}


def test_overrides_replace_and_create(tmp_path: Path) -> None:
    overrides = (
        "search.trials=5",
        "search.trials = 6",
        "data.validation=1e-1",
        "report.title=no",
        "name=b",
        "constraints.macs.max=1000",
        "compression.weight_format=[fp32, int8]",
        "compression.weight_format.0=int4",
        "training={epochs: 3}",
        "training.optimizer=adamw",
    )
    study = load(tmp_path, BASE + "search:\n", *overrides)
    assert study.name == "b"
    assert study.search == Search(trials=6)
    assert study.data.validation == 0.1
    assert study.report.title == "no"
    assert study.limits == {"macs": 1000}
    assert study.compression.weight_format == ("int4", "int8")
    assert study.training == Training(epochs=3, optimizer="adamw")


@pytest.mark.parametrize("key", ["targets.0.threads", "targets[0].threads"])
@pytest.mark.parametrize(("extra", "name"), [("", "cpu"), ("targets: [{name: board}]\n", "board")])
def test_override_inside_a_list(tmp_path: Path, key: str, extra: str, name: str) -> None:
    assert load(tmp_path, BASE + extra, f"{key}=2").targets == (Target(name=name, threads=2),)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "search.trails=3",
            f"search.trails: unknown key, expected one of {SEARCH_KEYS}; did you mean 'trials'?",
        ),
        ("search.trials=", "search.trials: expected an integer of at least 1, got null"),
        ("search.trials", "expected KEY=VALUE with a dotted key, got 'search.trials'"),
        ("=3", "expected KEY=VALUE with a dotted key, got '=3'"),
        ("search..trials=3", "expected KEY=VALUE with a dotted key, got 'search..trials=3'"),
        (
            "search.trials=[",
            "search.trials: expected the node content, but found '<stream end>' (while parsing a flow node)",
        ),
        ("search={seed: 1, seed: 2}", "search.seed: key stands twice, first on line 1"),
        ("targets.1.name=b", "targets.1: expected an index below 1, got '1'"),
        ("targets.x=b", "targets.x: expected an index below 1, got 'x'"),
        ("name.x=1", "name.x: expected a mapping or list to set it in, got 'tiny'"),
        ("targets.0.threads=0", "targets[0].threads: expected an integer of at least 1, got 0"),
        ("search.workers=true", "search.workers: expected an integer of at least 1 or auto, got true"),
    ],
)
def test_wrong_override(tmp_path: Path, override: str, expected: str) -> None:
    assert mistakes(tmp_path, BASE, override) == [f"command line: {expected}"]


def test_missing_key_in_a_section_the_command_line_opened(tmp_path: Path) -> None:
    text = "name: a\nspace: {preset: 8px}\n"
    sources = "csv, digits, huggingface, image_folder, npz, torchvision"
    expected = f"command line: data.source: expected one of {sources}, got nothing"
    assert mistakes(tmp_path, text, "data.test=0.2") == [expected]


def test_section_replaced_on_the_command_line_is_located_there(tmp_path: Path) -> None:
    expected = "command line: search.trials: expected an integer of at least 1, got 0"
    assert mistakes(tmp_path, BASE + "search:\n  trials: 3\n", "search={trials: 0}") == [expected]


def test_override_mends_a_mistake_in_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, BASE + "search: {trials: 0}\n", "search.trials=1").search.trials == 1


def test_difference(tmp_path: Path) -> None:
    old = load(tmp_path, BASE)
    overrides = (
        "search.seed=1",
        "search.trials=9",
        "search.sampler=tpe",
        "objectives=[accuracy, macs]",
        "report.title=x",
        "constraints.macs.max=5",
        "targets=[{name: cpu}, {name: b, threads: 2}]",
    )
    new = load(tmp_path, BASE, *overrides)
    assert difference(old, old) == []
    assert difference(old, new) == [
        "objectives: [accuracy, parameters, latency_ms, size_bytes] -> [accuracy, macs]",
        "search.sampler: pareto -> tpe",
        "search.trials: 24 -> 9",
        "search.seed: 0 -> 1",
        "report.title: null -> x",
        "constraints.macs.max: nothing -> 5.0",
        "targets[1].name: nothing -> b",
        "targets[1].runtime: nothing -> onnxruntime",
        "targets[1].provider: nothing -> CPUExecutionProvider",
        "targets[1].threads: nothing -> 2",
        "targets[1].batch: nothing -> 1",
    ]
    assert "targets[1].name: b -> nothing" in difference(new, old)


def test_what_may_change_in_a_run_that_goes_on() -> None:
    """Everything else shapes the trials that there are, training and constraints above all."""
    assert {dotted(key) for key in CHANGEABLE} == {
        "search.trials", "search.hours", "search.workers", "search.engine", "search.trial_minutes",
        "search.trial_gigabytes", "search.finalists", "search.epoch_budget", "search.repeat_share",
        "search.stop_when_gain_below", "finals", "baseline", "data.cache", "data.split_seed", "data.group_scope",
        "artifacts", "report", "search.ray", "search.storage", "tracking", "targets.*.device", "targets.*.agent",
        "space.trusted",
    }  # fmt: skip


FROZEN_TRAINING = (
    "epochs=3", "batch_size=9", "optimizer=adam", "learning_rate=0.3", "momentum=0.1", "weight_decay=0.1", "l1=0.1",
    "bn_sparsity=0.1", "rate_weight=0.1", "schedule=step", "cycle=stage", "batch_norm=folded", "quantization=static",
    "calibration=mse", "bias_correction=false", "equalization=true", "warm_up=0.1", "milestones=[0.1]", "gamma=0.5",
    "label_smoothing=0.1", "dropout=0.1", "ema=0.1", "mixup=0.1", "randaugment={}", "cutout=0.1",
    "class_weights=balanced",
    "distillation={}", "patience=3", "shares={dense: 0.6, pruned: 0.1, quantized: 0.3}", "precision=fp32",
    "device=cpu",
)  # fmt: skip
FROZEN = (
    *(f"training.{change}" for change in FROZEN_TRAINING),
    "name=y", "data.validation=0.3", "space.stem_widths=[8]", "compression.granularity=layer",
    "objectives=[accuracy, macs]", "constraints.macs.max=5", "search.sampler=tpe", "search.seed=1", "search.epochs=2",
    "search.population=9", "search.anchors=false", "targets=[{name: b}]",
)  # fmt: skip


def test_every_key_of_training_is_tried_below() -> None:
    assert [change.partition("=")[0] for change in FROZEN_TRAINING] == list(Training.model_fields)


@pytest.mark.parametrize("change", FROZEN)
def test_what_shapes_trials_may_not_change(tmp_path: Path, change: str) -> None:
    different = frozen_difference(load(tmp_path, BASE), load(tmp_path, BASE, change))
    assert different
    assert all(line.startswith(change.partition("=")[0].partition(".")[0]) for line in different)


def test_frozen_difference_lets_pass_what_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "toy", None)
    old = load(tmp_path, BASE)
    may = (
        "search.trials=9", "search.hours=1", "search.workers=2", "search.finalists=0", "report.title=x",
        "search.trial_minutes=5", "search.trial_gigabytes=4", "artifacts.keep=front", "search.engine=toy",
    )  # fmt: skip
    assert frozen_difference(old, load(tmp_path, BASE, *may)) == []
    assert len(difference(old, load(tmp_path, BASE, *may))) == len(may)
    assert frozen_difference(old, load(tmp_path, BASE, *may, "search.epochs=2")) == ["search.epochs: null -> 2"]


POINT = "accuracy: 0.1, parameters: 1, size_bytes: 1"


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("accuracy: 0.1, macs: 1", "expected a value for each of accuracy, parameters, latency_ms, size_bytes, got"),
        (f"{POINT}, latency_ms: 0", "expected costs above 0, got"),
        (f"{POINT.replace('0.1', '80')}, latency_ms: 1", "expected qualities of 0 to below 1, got"),
        (f"{POINT}, latency_ms: .inf", "expected a number, got inf"),
        (f"{POINT}, speed: 3", "unknown key, expected one of accuracy"),
    ],
)
def test_reference_point_of_hypervolume(tmp_path: Path, point: str, expected: str) -> None:
    (mistake,) = mistakes(tmp_path, BASE + f"report: {{hypervolume_reference: {{{point}}}}}\n")
    assert "report.hypervolume_reference" in mistake
    assert expected in mistake
    whole = load(tmp_path, BASE + f"report: {{hypervolume_reference: {{{POINT}, latency_ms: 2.5}}}}\n")
    assert whole.report.hypervolume_reference["latency_ms"] == 2.5


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_may_be_as_bad_as_0_at_the_reference_point(tmp_path: Path, quality: str) -> None:
    text = f"objectives: [{quality}, macs]\nreport: {{hypervolume_reference: {{{quality}: 0.0, macs: 1.0}}}}\n"
    assert load(tmp_path, BASE + text).report.hypervolume_reference == {quality: 0, "macs": 1}


@pytest.mark.parametrize("channels", ["true", "1.0", "2"])
def test_a_choice_of_integers_takes_integers(tmp_path: Path, channels: str) -> None:
    (mistake,) = mistakes(tmp_path, BASE.replace("source: digits", f"source: digits\n  channels: {channels}"))
    assert f"data.channels: expected one of 1, 3 or null, got {channels}" in mistake


names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,79}\Z")
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
below_one = st.floats(min_value=0, max_value=1, exclude_max=True)
counts = st.integers(min_value=1, max_value=10**20)


def some_of(*choices: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(choices), min_size=1, unique=True).map(tuple)


studies = st.builds(
    Study,
    name=names,
    data=st.builds(
        Data,
        source=st.just("image_folder"),
        path=st.text(min_size=1),
        flip=st.none() | st.booleans(),
        validation=st.floats(0, 0.4),
        test=st.floats(0, 0.4),
        channels=st.sampled_from([None, 1, 3]),
    ),
    space=st.sampled_from(sorted(PRESETS)).map(lambda preset: MobileSpace.model_validate({"preset": preset})),
    compression=st.builds(
        Compression,
        pruning_ratio=some_of(0.0, 0.25, 1e-9, 0.875),
        weight_format=some_of("fp32", "int8", "int5", "int4", "int2"),
        edges_below_int8=st.booleans(),
    ),
    objectives=some_of(*OBJECTIVES),
    constraints=st.dictionaries(st.sampled_from(COSTS), st.fixed_dictionaries({"max": positive})).map(
        Constraints.model_validate
    ),
    search=st.builds(Search, trials=counts, hours=st.none() | positive, epochs=st.none() | st.integers(1, 20)),
    training=st.builds(
        Training,
        weight_decay=positive,
        momentum=below_one,
        learning_rate=st.none() | positive,
        ema=below_one | st.builds(Choices[Share], choices=st.just((0.0, 0.5))),
        mixup=positive | st.builds(Range[NotNegative], low=st.floats(0.1, 1), high=st.floats(2, 3), log=st.booleans()),
    ),
    targets=st.lists(
        st.builds(Target, name=names, threads=counts), min_size=1, max_size=3, unique_by=lambda target: target.name
    ).map(tuple),
    report=st.builds(ReportOptions, title=st.none() | st.text() | st.sampled_from(["on", "1e3", "0o7", "~", "a: b"])),
)


@given(study=studies)
def test_dumped_study_loads_as_the_same_study(tmp_path_factory: pytest.TempPathFactory, study: Study) -> None:
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_bytes(dump_study(study).encode())
    assert load_study(path) == study


@pytest.mark.parametrize("title", ["\x85", "a\u2028b", "a\n\nb ", "\ufeff", "\x07", "no", "0x1F", ".inf", "<<", "é"])
def test_odd_titles_survive_the_dump(tmp_path: Path, title: str) -> None:
    study = load(tmp_path, BASE).model_copy(update={"report": ReportOptions(title=title)})
    path = tmp_path / "dumped.yaml"
    path.write_bytes(dump_study(study).encode())
    assert load_study(path) == study


def test_dump_writes_every_default_in_a_readable_way(tmp_path: Path) -> None:
    lines = dump_study(load(tmp_path, MOBILE)).splitlines()
    assert {
        "name: tiny",
        "  trials: 24",
        "  hours: null",
        "  pruning_ratio: [0.0]",
        "  stem_widths: [8, 16]",
    } <= set(lines)
