"""A study as the Pareto sampler takes it: costs, constraints, features and keys of what is drawn."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from by_hand import NUMBERS, different, make_study, measured

from nas.candidates.hyperparameters import GENE_PREFIX
from nas.registry import RUNTIMES
from nas.run_folder.rows import identity_of
from nas.runtimes.onnx.forecast import forecast
from nas.runtimes.runtime import FileHeader
from nas.samplers.spaces.recording import GivenTrial, UnitTrial, UnknownGene
from nas.search.draws import Draws
from nas.search.latencies import Latencies
from nas.search.proposals import Proposals
from nas.study import Constraints, Study, Target

CLASSES = tuple("0123456789")


def with_objectives(study: Study, *objectives: str) -> Study:
    return study.model_copy(update={"objectives": objectives})


def proposals_of(study: Study, **latencies: Latencies) -> Proposals:
    untaught = {name: Latencies(len(CLASSES)) for name in study.latencies}
    return Proposals(study, CLASSES, untaught | latencies)


def drawn(proposals: Proposals, seed: int) -> UnitTrial:
    """A random trial of the sampler's own kind, drawn."""
    trial = UnitTrial({}, salt=float(seed))
    proposals.space(trial)
    return trial


def test_costs_are_those_of_the_candidate() -> None:
    study = with_objectives(make_study(), "accuracy", "parameters", "macs", "size_bytes", "peak_memory_bytes")
    proposals = proposals_of(study)
    for seed in range(10):
        params = drawn(proposals, seed).params
        candidate = proposals.described(params).candidate
        file = forecast(candidate, FileHeader(1, 8, CLASSES))
        assert file is not None
        assert proposals.costs(params) == [
            None, candidate.parameters(10), candidate.macs(10), file.size_bytes, file.peak_memory_bytes
        ]  # fmt: skip
    assert proposals.scales == ["linear", "log", "log", "log", "log"]


def test_latency_is_a_models_word() -> None:
    study = with_objectives(make_study(constraints={"latency_ms": 0.02, "parameters": 1e3}), "accuracy", "latency_ms")
    latencies = Latencies(10)
    proposals = proposals_of(study, latency_ms=latencies)
    params = drawn(proposals, 1).params
    before, version = proposals.costs(params), proposals.costs.version
    samples = [(number, one, measured(one).latency["cpu"].latency_ms) for number, one in enumerate(different(8))]
    latencies.update(samples)
    assert proposals.costs.version == proposals.constraints.version != version
    (quality, entry), slacks = proposals.costs(params), proposals.constraints(params)
    assert quality is None
    assert isinstance(entry, tuple)
    assert entry != before[1]
    mean, sd = entry
    assert slacks["latency_ms"] == (mean / 0.02 - 1, sd / 0.02)
    assert slacks["parameters"] == proposals.described(params).candidate.parameters(10) / 1e3 - 1


def test_every_target_has_a_model_of_its_own() -> None:
    """Twice as slow on the board, whose model alone learns of it; and the file of each runtime."""
    targets = [Target(name="cpu"), Target(name="board", runtime="openvino"), Target(name="idle")]
    objectives = ("latency_ms", "latency_ms@board", "size_bytes@board")
    study = with_objectives(make_study().model_copy(update={"targets": targets}), *objectives)
    latencies = {"latency_ms": Latencies(10), "latency_ms@board": Latencies(10)}
    proposals = proposals_of(study, **latencies)
    params, before = drawn(proposals, 1).params, proposals.version
    samples = [(number, one, measured(one).latency["cpu"].latency_ms) for number, one in enumerate(different(8))]
    latencies["latency_ms"].update(samples)
    latencies["latency_ms@board"].update((number, one, 2 * ms) for number, one, ms in samples)
    (mean, _), (slower, _), size = proposals.costs(params)  # type: ignore[misc]
    assert slower == pytest.approx(2 * mean, rel=1e-3)
    assert proposals.version != before
    file = RUNTIMES["openvino"].forecast(proposals.described(params).candidate, FileHeader(1, 8, CLASSES))
    assert size == file.size_bytes
    limited = study.model_copy(update={"constraints": Constraints.model_validate({"latency_ms@board": {"max": 2.0}})})
    again = proposals_of(limited, **latencies)
    assert again.constraints(params)["latency_ms@board"] == (slower / 2 - 1, again.costs(params)[1][1] / 2)  # type: ignore[index]


def test_a_prediction_does_not_depend_on_what_else_is_predicted() -> None:
    study = with_objectives(make_study(), "accuracy", "latency_ms")
    samples = [(number, one, measured(one).latency["cpu"].latency_ms) for number, one in enumerate(different(8))]
    found = []
    for together in (1, 7, 40):
        latencies = Latencies(10)
        latencies.update(samples)
        proposals = proposals_of(study, latency_ms=latencies)
        many = [drawn(proposals, seed).params for seed in range(40)]
        for start in range(0, 40, together):
            proposals.costs.prepare(many[start : start + together])
        found.append([proposals.costs(params)[1] for params in many])
    assert found[0] == found[1] == found[2]


def test_what_only_trials_tell_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(type(RUNTIMES["onnxruntime"])):  # type: ignore[misc]
        def forecast(self, *_: Any) -> None:
            return None

    monkeypatch.setattr(RUNTIMES, "_rows", {**RUNTIMES._rows, "onnxruntime": Silent()}, raising=False)
    proposals = proposals_of(with_objectives(make_study(constraints={"size_bytes": 1e4}), "accuracy", "size_bytes"))
    params = drawn(proposals, 0).params
    assert proposals.costs(params) == [None, None]
    assert proposals.constraints(params) == {}


def test_a_quality_that_is_constrained_is_learned() -> None:
    study = with_objectives(make_study(constraints={"accuracy": 0.8, "parameters": 1e3}), "accuracy", "parameters")
    proposals = proposals_of(study)
    assert set(proposals.constraints(drawn(proposals, 0).params)) == {"parameters"}


def test_keys_are_equal_where_evaluations_are() -> None:
    study = make_study(training=NUMBERS)
    proposals, draws = proposals_of(study), Draws(study)
    found = []
    for seed in range(60):
        trial = UnitTrial({}, salt=float(seed % 50))
        key = proposals.space(trial)
        candidate, numbers = draws(GivenTrial(trial.params))
        found.append((key, identity_of(candidate.id, numbers)))
    for key, identity in found:
        for other, other_identity in found:
            assert (key == other) == (identity == other_identity)
            assert key != other or hash(key) == hash(other)


def test_features_are_of_the_network_and_of_the_numbers_it_is_trained_with() -> None:
    proposals = proposals_of(make_study(training=NUMBERS))
    params = drawn(proposals, 3).params
    described = proposals.described(params)
    *network, rate, mixup = proposals.features(params)
    assert network == proposals_of(make_study()).features({k: v for k, v in params.items() if GENE_PREFIX not in k})
    assert rate == pytest.approx(math.log(described.numbers["learning_rate"] / 0.01) / math.log(100))
    assert mixup == described.numbers["mixup"] / 0.2


def test_a_recorded_trial_is_decoded_again() -> None:
    proposals = proposals_of(make_study())
    params = drawn(proposals, 5).params
    copied = dict(random.Random(0).sample(list(params.items()), len(params)))
    assert proposals_of(make_study()).described(copied).candidate == proposals.described(params).candidate
    with pytest.raises(UnknownGene, match=r"head\.width"):
        proposals.described({k: v for k, v in params.items() if k != "head.width"})


def test_few_candidates_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nas.search.proposals.KEPT", 5)
    proposals = proposals_of(make_study())
    many = [drawn(proposals, seed).params for seed in range(20)]
    assert [proposals.costs(params)[1] for params in many] == [
        proposals.described(params).candidate.parameters(10) for params in many
    ]
    assert len(proposals._known) <= 5
