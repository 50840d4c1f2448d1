"""What follows from what was timed, by hand, and one real probe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

import nas.commands.probe
import nas.commands.timing
import nas.measuring.latency
from nas.commands.probe import Probe, Probed, corners, measure_speed, probe_tables, speed_of, warnings_of
from nas.estimate import Known
from nas.estimate.computing import rows_of
from nas.estimate.speed import USUAL
from nas.estimate.words import duration, span
from nas.study import Study


def make_study(**fields: object) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "data": {"source": "digits", "train_images": 200},
            "space": {"family": "mobile", "preset": "8px"},
            "compression": {"pruning_ratio": (0.5,), "weight_format": ("int8",)},
            "search": {"trials": 10, "finalists": 3, "workers": 2, "epochs": 10, "sampler": "random"},
            "training": {"epochs": 20, "batch_size": 32},
            **fields,
        }
    )


def probed(study: Study) -> list[Probed]:
    """A machine on which calls take twice and memory thrice the usual time."""
    found = []
    for name, candidate in corners(study, 10):
        macs, rows = candidate.macs(10), rows_of(candidate, batch_size=32, num_classes=10)
        steps = {stage: float(row @ (USUAL[stage] * [2, 3, 1, 1, 1])) for stage, row in rows.items()}
        known = Known(name, candidate, 0.01 + 1e-7 * macs)
        found.append(Probed(known, 32, steps, around=1.0 + 1e-6 * macs, measuring=0.25))
    return found


def probe_of(study: Study) -> Probe:
    networks = probed(study)
    return Probe(study, tuple(networks), speed_of(networks, 10, start=3.0), 200, 10)


def test_the_three_networks_are_timed_smallest_first_and_each_once() -> None:
    study = make_study()
    names, candidates = zip(*corners(study, 10), strict=True)
    assert names == ("smallest", "middle", "largest")
    macs = [one.macs(10) for one in candidates]
    assert macs == sorted(set(macs))


def test_where_the_largest_is_not_compressed_one_of_its_size_that_is_is_timed_too() -> None:
    study = make_study(compression={"pruning_ratio": (0.0, 0.5, 0.75), "weight_format": ("fp32", "int8", "int4")})
    found = dict(corners(study, 10))
    assert set(found) == {"smallest", "middle", "largest", "largest, compressed"}
    largest, compressed = found["largest"], found["largest, compressed"]
    assert largest.architecture == compressed.architecture
    assert list(rows_of(largest, batch_size=1, num_classes=10)) == ["dense"]
    assert list(rows_of(compressed, batch_size=1, num_classes=10)) == ["dense", "pruned", "quantized"]


def test_the_speed_meets_what_was_timed() -> None:
    study = make_study()
    networks = probed(study)
    speed = speed_of(networks, 10, start=3.0)
    for one in networks:
        rows = rows_of(one.known.candidate, batch_size=32, num_classes=10)
        for stage, seconds in one.steps.items():
            assert float(rows[stage] @ speed.rates[stage]) == pytest.approx(seconds, rel=0.05)
        assert speed.around.at(one.known.candidate.macs(10)) == pytest.approx(one.around)
        assert speed.measuring.at(one.known.candidate.macs(10)) == pytest.approx(0.25)
    assert speed.start == 3.0
    assert [one.name for one in speed.known] == ["smallest", "middle", "largest"]


def shown(found: Probe) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        for table in probe_tables(found):
            console.print(table)
    return captured.get()


def test_tables_show_latencies_rates_and_ranges() -> None:
    found = probe_of(make_study())
    text = shown(found)
    for one in found.networks:
        assert f"{one.known.latency_ms:.4f}" in text
        assert f"{32 / one.steps['dense']:,.0f}" in text
    seconds = found.estimate
    assert seconds.search.low < seconds.search.high
    for words in (span(seconds.search), span(seconds.finalists), span(seconds.total), duration(seconds.total.middle)):
        assert words in text
    for words in ("10 trials of 10 epochs, 2 worker(s)", "3 of 20 epochs"):
        assert words in text


def test_a_limit_that_excludes_nearly_everything_is_told() -> None:
    plain = probe_of(make_study())
    assert not list(warnings_of(plain))
    least = plain.networks[0].known.latency_ms
    strict = replace(plain, study=make_study(constraints={"latency_ms": {"max": least * 1.01}}))
    (warning,) = warnings_of(strict)
    assert warning.startswith("constraints: about 0% of the candidates keep to all limits (latency_ms ")
    assert f"{least:.4f} ms" in warning
    loose = replace(plain, study=make_study(constraints={"latency_ms": {"max": plain.networks[2].known.latency_ms}}))
    assert not list(warnings_of(loose))


def test_a_real_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the smallest network alone: a measurement takes a second beside other processes."""
    monkeypatch.setattr(nas.measuring.latency, "BLOCKS", 1)
    monkeypatch.setattr(nas.commands.timing, "STEPS", 3)
    study = make_study(training={"ema": 0.9, "epochs": 10})
    name, candidate = corners(study, 10)[0]
    monkeypatch.setattr(nas.commands.probe, "corners", lambda *_: [(name, candidate)])
    said: list[str] = []
    speed = measure_speed(study, say=said.append)
    assert said == ["reading the data", "timing the smallest network"]
    (one,) = speed.known
    assert (one.name, one.candidate) == (name, candidate)
    assert one.latency_ms > 0
    for stage, row in rows_of(candidate, batch_size=128, num_classes=10).items():
        assert 0 < float(row @ speed.rates[stage]) < 60
    assert speed.around.at(candidate.macs(10)) > 0
    assert speed.measuring.at(candidate.macs(10)) > 0
    assert speed.start >= 3
