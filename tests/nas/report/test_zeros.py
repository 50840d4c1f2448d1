"""Zeros in tables, cards and pages: counted ones are shown, and nobody is told that they make a CPU faster."""

import re

import pandas as pd
import pytest
from rich.console import Console

from compressors.plan import CompressionPlan
from nas.report.card import model_card
from nas.report.details import facts, layer_rows
from nas.report.terminal import front_tables
from nas.report.zeros import has_zeros, idle_words, idle_words_of, sparsity_words, zeros_text
from nas.run_folder.columns import FRONT_COLUMNS, column
from nas.run_folder.rows import TrialRow
from nas.runtimes.runtime import Usage
from nas.study import Compression

DIGITS = tuple("0123456789")


def printed(rows):
    console = Console(width=160, color_system=None)
    whole = [dict.fromkeys(FRONT_COLUMNS, None) | {"trial": 1, "id": "ab", "flags": "", **row} for row in rows]
    with console.capture() as capture:
        console.print(*front_tables(pd.DataFrame(whole), ["accuracy", "size_bytes"]))
    return capture.get()


def test_the_share_of_zeros_is_that_of_all_parameters():
    row = TrialRow(1, "COMPLETE", "ab", costs={"parameters": 200, "nonzero_parameters": 50})
    assert row.sparsity == 0.75
    assert column("sparsity").cell(row) == "0.75"
    for costs in ({"parameters": 200}, {"nonzero_parameters": 3}, {}):
        assert column("sparsity").cell(TrialRow(1, "COMPLETE", "ab", costs=costs)) == ""


@pytest.mark.parametrize(("share", "told"), [(0.4875, True), (0.004, False), (None, False)])
def test_a_terminal_tells_of_zeros_where_there_are_more_than_by_chance(share, told):
    rows = [{"sparsity": share}, {"sparsity": 0.001}]
    assert has_zeros(rows) == told
    assert ("zeros" in printed(rows), "48.8" in printed(rows)) == (told, told)
    assert zeros_text({"sparsity": None}) == "–"


def test_one_sentence_says_what_a_cpu_does_not_gain():
    assert idle_words(False, ["fp32", "int8"]) == ""
    assert re.match("Single zero weights make a file smaller, not faster", idle_words(True, ["int8"]))
    assert re.match("Formats below 8 bits make a file smaller", idle_words(False, ["int8", "int4"]))
    assert re.match("Single zero weights and formats below 8 bits make", idle_words(True, ["int2"]))


def test_a_study_that_may_choose_masks_is_told_so(new_study):
    study = new_study(compression=Compression.model_validate({"mask": [None, {"ratio": 0.5}]}))
    assert idle_words_of(study).startswith("Single zero weights")


def test_layers_say_how_many_of_their_weights_are_zero(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate)
    assert sparsity_words(evaluation.layers) == ""
    assert dict(facts(evaluation)).get("Zeros") is None
    layers = tuple(layer.model_copy(update={"sparsity": 0.5}) for layer in evaluation.layers)
    evaluation = evaluation.model_copy(update={"layers": layers})
    assert dict(facts(evaluation))["Zeros"] == "50.0 % of the weights are zero"
    assert {row[11] for row in layer_rows(layers)} == {0.5}
    masked = candidate.model_copy(update={"plan": CompressionPlan(steps={"masked": {"stem.conv": {"ratio": 0.5}}})})
    use = Usage("onnxruntime", "print()")
    card = model_card(study, masked, evaluation, DIGITS, usage=use)
    assert "50.0 % of the weights are zero." in card
    assert "- Single zero weights make a file smaller, not faster" in card
    plain = model_card(study, candidate.model_copy(update={"plan": CompressionPlan()}), evaluation, DIGITS, usage=use)
    assert "not faster" not in plain
