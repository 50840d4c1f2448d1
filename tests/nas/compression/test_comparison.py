"""Before and after: figures, layers, and what table.json says of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nas.compression.comparison import Comparison, changes, lines, ratio
from nas.compression.doubts import doubts_of
from nas.compression.logits import Distance
from nas.compression.page import bar, page
from nas.records import Evaluation, LayerReport, Measurement, State, score

ODD = "<script>alert(1)</script>"


def layer(name: str, out: int = 4, **fields: object) -> LayerReport:
    given = {
        "block": "b", "kind": "conv", "in_channels": 3, "kernel": 3, "parameters": 100, "macs": 1000, "format": "fp32",
        "ran": "float",
    }  # fmt: skip
    return LayerReport.model_validate({"name": name, "out_channels": out, **given, **fields})


def evaluation(layers: tuple[LayerReport, ...], correct: int, size: int, **fields: object) -> Evaluation:
    measurement = Measurement(
        origin="shipped file", parameters=200, macs=2000, size_bytes=size, peak_memory_bytes=64, latency={},
        nonzero_parameters=150, coded_bytes=size // 2,
    )  # fmt: skip
    return Evaluation(
        candidate_id="c", structure_id="s", phase="final", seed=0, state=State.COMPLETE, target="cpu",
        measurement=measurement, validation=score(correct, 100), test=score(correct - 10, 100), layers=layers,
        started_at="2026", **fields,
    )  # fmt: skip


def comparison(**fields: object) -> Comparison:
    before = evaluation((layer("features.0"), layer("features.3"), layer(ODD)), 90, 1000)
    quantized = {"format": "int8", "ran": "integer"}
    factors = (
        layer("features.3.0", 2, parameters=20, macs=200, sparsity=0.5, **quantized),
        layer("features.3.1", 3, parameters=30, macs=300, sparsity=0.0, **quantized),
    )
    after = evaluation((layer("features.0", 2), *factors), 80, 250, **fields)
    return Comparison(ODD, "int8", before, after, Distance(0.5, 2.0, 0.9, 64), {"size_bytes": 200.0})


def test_every_layer_is_found_again() -> None:
    """`features.0` is whole though it ends in a number; `features.3` became two factors; the third is gone."""
    first, second, third = comparison().layers
    assert (first.name, first.channels, first.ranks) == ("features.0", (4, 2), ())
    assert (second.parameters, second.macs, second.channels, second.ranks) == ((100, 50), (1000, 500), (4, 3), (2,))
    assert second.sparsity == pytest.approx(0.5 * 20 / 50)
    assert (second.formats, second.ran) == ("int8", "integer")
    assert (third.after, third.formats, third.channels) == ((), "gone", (4, 0))
    assert changes((), ()) == ()


def test_ratios_are_what_is_left_and_times_its_inverse() -> None:
    told = json.loads(json.dumps(comparison().to_json(), allow_nan=False))
    assert told["ratio"]["size_bytes"] == 0.25
    assert told["times_smaller"]["size_bytes"] == 4.0
    assert told["before"]["sparsity"] == told["after"]["sparsity"] == 0.25
    assert (told["before"]["accuracy"], told["after"]["test_accuracy"]) == (0.9, 0.7)
    assert told["ratio"]["latency_ms"] is None
    assert told["logits"] == {"kl": 0.5, "mse": 2.0, "agreement": 0.9, "images": 64}
    assert told["layers"][1]["ranks"] == [2]
    assert told["limits"] == {"size_bytes": 200.0}
    assert ratio(0.0, 1.0) is None


def test_the_table_has_a_line_per_figure() -> None:
    found = {line.label: line for line in lines(comparison())}
    assert found["validation accuracy (%)"].ratio == "-10.0 points"
    size = found["file size (KB)"]
    assert (size.before, size.after, size.ratio, size.times) == ("1.00", "0.250", "0.250", "4.00x")
    assert found["latency (ms)"].times == "–"
    assert found["KL of probabilities (nats)"].after == "0.5"
    assert found["zeros among parameters (%)"].after == "25.0"


def test_doubts_are_told() -> None:
    """A limit that is broken is seen by the figures of the table, whether or not it bound the evaluation."""
    doubtful = comparison(flags=("unstable",), asked_integer=("a", "b"), ran_integer=("a",))
    found = list(doubts_of(doubtful))
    assert found[0] == "A limit is broken: file size is 0.250\u00a0KB of at most 0.200\u00a0KB."
    accurate = replace(doubtful, limits={"size_bytes": 250.0, "accuracy": 0.85})
    assert next(doubts_of(accurate)) == (
        "A limit is broken: validation accuracy is 80.0\u00a0% of at least 85.0\u00a0%."
    )
    assert found[1:] == ["Flagged after: unstable.", "1 of 2 layers with integer weights run in floats: b."]


def test_the_page_escapes_what_it_is_told_and_loads_nothing() -> None:
    text = page(comparison(), data="digits & more")
    assert ODD not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "digits &amp; more" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    for line in lines(comparison()):
        assert line.label in text


def test_bars_are_roots_of_shares() -> None:
    assert bar(100, 25, most=400) == {"before": "50.0", "after": "25.0", "words": "100 → 25"}
    assert bar(0, 0, most=0) == {"before": "0.0", "after": "0.0", "words": "0 → 0"}
