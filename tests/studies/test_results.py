"""Tables of studies/results/README.md hold the figures of the files that they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from nas.report.figures import significant

RESULTS = Path(__file__).parents[2] / "studies" / "results"
PAGE = (RESULTS / "README.md").read_text(encoding="utf-8")


def table(heading: str, column: str) -> list[list[str]]:
    """The cells of the table below a heading that has this column, its head first."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (found,) = [part for part in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE) if f"| {column} |" in part]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    return [head, *rows]


def recipes(file: str, split: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    rows = json.loads((RESULTS / file).read_text(encoding="utf-8"))[split]
    return {(row["recipe"], row["format"], row["epochs"]): row for row in rows}


def per_cent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f}"


def told(difference: dict[str, float]) -> str:
    mean, low, high = (f"{100 * difference[key]:+.2f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


SHOWN = {  # the rows that compare recipes, by their first words
    "`batch_norm: folded`": "folded",
    "folded, 0.15": "folded short",
    "`batch_norm: live`": "live",
    "live, 0.15": "live short",
    "folded, as a short": "folded tail",
    "live, as a tail": "live tail",
}


def test_recipes_in_8_and_4_bits() -> None:
    found = recipes("recipes.json", "test")
    head, dense, stock, *rows = table("Training recipes", "int4: test (%)")
    assert head[1:] == ["int8: test (%)", "to `folded`", "int4: test (%)", "to `folded`"]
    after = found["stock", "int8", 20]
    assert dense[1] == per_cent(found["fp32", "fp32", 20]["accuracy"])
    assert stock[1:3] == [per_cent(after["accuracy"]), told(after["to_folded"])]
    for (begin, recipe), row in zip(SHOWN.items(), rows, strict=True):
        assert row[0].startswith(begin)
        of_8, of_4 = (found[recipe, weights, 20] for weights in ("int8", "int4"))
        assert row[1::2] == [per_cent(one["accuracy"]) for one in (of_8, of_4)]
        assert row[2::2] == ["" if recipe == "folded" else told(one["to_folded"]) for one in (of_8, of_4)]


def test_recipes_in_2_bits() -> None:
    found = recipes("recipes-digits.json", "validation")
    head, *rows = table("Training recipes", "int2, 5 epochs")
    assert len(rows) == 4
    for name, *cells in rows:
        for column, cell in zip(head[1:], cells, strict=True):
            weights, epochs = re.fullmatch(r"(int\d), (\d+) epochs", column).groups()  # type: ignore[union-attr]
            trained = found.get((name.partition(":")[0], weights, int(epochs)))
            assert cell == ("" if trained is None else per_cent(trained["accuracy"])), (name, column)


def test_recipes_of_finalists() -> None:
    head, *rows = table("Training recipes", "what is added")
    assert len(rows) == 5
    for name, epochs, *cells in rows:
        for split, cell in zip(head[2:], cells, strict=True):
            trained = recipes("recipes-digits.json", split)[name.partition(":")[0], "int8", int(epochs)]
            assert cell == told(trained["to_live"]), (name, split)


def test_kinds_of_block() -> None:
    networks = json.loads((RESULTS / "kinds.json").read_text(encoding="utf-8"))
    ladders: dict[str, list[dict[str, Any]]] = {}
    for network in networks:
        if (network["images"], network["input_size"]) == ("CIFAR-10", 32):
            ladders.setdefault(network["ladder"], []).append(network)
    _, *rows = table("Kinds of block", "CIFAR-10, 32 px")
    assert rows == [
        [
            name,
            " / ".join(significant(one["int8_bytes"] / 1000).replace("\u202f", "") for one in steps),
            " / ".join(significant(one["int8_ms"]) for one in steps),
            " / ".join(f"{100 * one['test']:.1f}" for one in steps),
        ]
        for name, steps in ladders.items()
    ]
    assert f"Of 148 trainings on the list {len(networks)} were made" in PAGE


def stored(file: str) -> Any:
    return json.loads((RESULTS / file).read_text(encoding="utf-8"))


def tables(heading: str) -> list[list[list[str]]]:
    """The rows of every table below a heading, heads left out."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()[2:]]
        for found in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    ]


def test_compressors_side_by_side() -> None:
    variants = {one["variant"]: one for one in stored("compressors.json")["variants"]}
    shown = {row[0]: row for found in tables("Compressors") for row in found if len(row) == 5}
    assert shown.keys() == variants.keys()
    for name, one in variants.items():
        apart = "" if one["beside"] == name or one["difference"] is None else told(one["difference"])
        kilobytes = f"{one['size_bytes'] / 1000:.1f}"
        assert shown[name] == [name, per_cent(one["test"]), kilobytes, one["beside"], apart]


def test_formats_on_cifar10() -> None:
    (found,) = [rows for rows in tables("Compressors") if len(rows[0]) == 3]
    assert found == [
        [one["variant"], per_cent(one["test"]), f"{one['size_bytes'] / 1000:.1f}"]
        for one in stored("compressors-cifar10.json")["variants"]
    ]


def test_criteria_beside_the_exact_change() -> None:
    (found,) = [rows for rows in tables("Compressors") if len(rows[0]) == 4]
    assert found == [
        [name, f"{one['tau']:.2f}", " to ".join(f"{end:.2f}" for end in one["interval"]), f"{one['network']:.2f}"]
        for name, one in stored("criteria.json")["criteria"].items()
    ]


def test_deep_compression() -> None:
    (found,) = [rows for rows in tables("Compressors") if len(rows[0]) == 7]
    ways = [
        one for network in ("mlp", "lenet5") for one in stored(f"digits-deep-compression-{network}.json")["summary"]
    ]
    for row, one in zip(found, ways, strict=True):
        points = "{mean:+.2f} ({low:+.2f} to {high:+.2f})".format(**one["points"])
        assert row[:4] == [one["network"], one["way"], str(one["seeds"]), per_cent(one["accuracy"])]
        assert row[4:] == [
            "" if one["way"] == "dense" else points, f"{one['coded_bytes']:,.0f}", f"{one['times_smaller']:.1f}"
        ]  # fmt: skip


def test_faults() -> None:
    _, *rows = table("Faults", "orphans")
    for row, one in zip(rows, stored("faults.json").values(), strict=True):
        again = "–" if one["epochs_again"] is None else str(one["epochs_again"])
        recovery = one["recovery_s"]
        seconds = f"{median(recovery):.1f} ({max(recovery):.1f})" if recovery else "–"
        counts = [str(one[key]) for key in ("times", "lost", "repeated", "orphans")]
        assert row == [one["fault"], *counts, seconds, str(one["continued"]), again]
        assert not one["problems"]
        assert not one["skipped"]


def test_an_existing_network() -> None:
    (found,) = tables("An existing network")
    for row, one in zip(found, stored("existing.json")["rows"], strict=True):
        costs = f"{one['macs'] / 1e6:.1f}", f"{one['parameters']:,}", f"{one['size_bytes'] / 1e3:,.0f}"
        assert row == [one["name"], per_cent(one["accuracy"]), *costs, f"{one['latency_ms']:.3f}"]


def test_scale() -> None:
    _, *rows = table("Scale", "sampler")
    for row, one in zip(rows, stored("scale.json")["sleeping"], strict=True):
        figures = (
            f"{one['start_s']:.1f}",
            f"{100 * one['busy']:.1f}",
            f"{one['driver_ms']:.1f}",
            f"{one['driver_mb']:.0f}",
        )
        name = one["row"].removesuffix("-pareto")
        assert row == [name, one["sampler"], str(one["workers"]), str(one["trials"]), *figures]


@pytest.mark.parametrize("file", sorted(path.name for path in RESULTS.iterdir() if path.name != "README.md"))
def test_every_file_is_named(file: str) -> None:
    """By its name, or by its ending beside one that differs in it alone."""
    assert f"`{file}`" in PAGE or f"`-{Path(file).stem.rpartition('-')[2]}`" in PAGE
