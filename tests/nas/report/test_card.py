"""The model card: figures with their source, safe text, and a snippet that runs when copied as it is."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from drafts import Draft
from known_networks import study_about
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from toy_runtime import Toy

from compressors.plan import CompressionPlan
from nas.candidates.baseline import baseline_candidate
from nas.data.decoding import Form
from nas.registry import RUNTIMES
from nas.report.card import model_card as make_card
from nas.report.card import text
from nas.report.details import facts
from nas.runtimes.onnx.program import program
from nas.runtimes.runtime import Usage
from nas.study import Data, ReportOptions, Target
from search_spaces.existing.blueprint import INPUT
from search_spaces.spaces import MobileSpace

DIGITS = [str(digit) for digit in range(10)]


def model_card(study, candidate, evaluation, class_names, *, needs="onnxruntime"):
    architecture = candidate.architecture
    form = Form(architecture.input_channels, architecture.input_size, study.data.resize)
    return make_card(study, candidate, evaluation, class_names, usage=Usage(needs, program("model.onnx", form)))


def snippet(card):
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    return code


def write_model(path, weight, channels, size, class_names):
    """logits = weight @ pixels, a network whose answer is known by hand."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, size, size])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(class_names)])
    stored = numpy_helper.from_array(weight.astype(np.float32), "weight")
    graph = helper.make_graph(nodes, "known", [image], [logits], [stored])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, {"class_names": json.dumps(class_names)})
    onnx.save(model, path)


def run_snippet(folder, card, image):
    """The snippet's output lines, run from another folder than the one it lies in."""
    (folder / "predict.py").write_text(snippet(card))
    image.save(folder / "some image.png")
    command = [sys.executable, str(folder / "predict.py"), str(folder / "some image.png")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split(maxsplit=1) for line in done.stdout.splitlines()]


def test_the_snippet_answers_for_a_grey_network(tmp_path, study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    card = model_card(study, candidate, new_evaluation(candidate), DIGITS)
    weight = np.zeros((64, 10))
    weight[3 * 8 + 5, 4] = 3.0  # class 4 looks at row 3, column 5
    folder = tmp_path / "shipped"
    folder.mkdir()
    write_model(folder / "model.onnx", weight, 1, 8, DIGITS)
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[3, 5] = 255
    lines = run_snippet(folder, card, Image.fromarray(pixels))
    expected = np.exp(3) / (np.exp(3) + 9)
    assert lines[0] == [f"{expected:.2%}", "4"]
    assert len(lines) == 5


def test_the_snippet_keeps_colours_apart_and_resizes(tmp_path, new_study, new_candidate, new_evaluation):
    space = MobileSpace.model_validate({"preset": "32px"})
    study = new_study(space=space, data=Data(source="image_folder", path="somewhere/fruit"))
    candidate = new_candidate(study, 1)
    names = ["blue berry", "red berry"]
    card = model_card(study, candidate, new_evaluation(candidate), names)
    weight = np.zeros((3, 32 * 32, 2))
    weight[2, :, 0] = weight[0, :, 1] = 1 / 1024
    folder = tmp_path / "shipped"
    folder.mkdir()
    write_model(folder / "model.onnx", weight.reshape(-1, 2), 3, 32, names)
    lines = run_snippet(folder, card, Image.new("RGB", (70, 50), (255, 0, 0)))
    assert lines == [[f"{1 / (1 + np.exp(-1)):.2%}", "red berry"], [f"{1 / (1 + np.exp(1)):.2%}", "blue berry"]]


def test_the_snippet_runs_where_neither_folder_nor_terminal_is_utf8(tmp_path, study, new_candidate, new_evaluation):
    card = model_card(study, new_candidate(study, 3), new_evaluation(new_candidate(study, 3)), DIGITS)
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_model(tmp_path / "model.onnx", np.eye(64)[:, :2], 1, 8, ["größer", "数"])
    (tmp_path / "model.onnx").replace(folder / "model.onnx")
    (folder / "predict.py").write_text(snippet(card))
    Image.new("L", (8, 8), 200).save(folder / "x.png")
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, str(folder / "predict.py"), str(folder / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True, env=plain, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["50.00%", "50.00%", "?", "gr??er"]


def test_the_snippet_reads_sound_pixels_beside_damaged_metadata(tmp_path, study, new_candidate, new_evaluation):
    """Pillow cannot write back the EXIF data, and refuses the text."""
    candidate = new_candidate(study, 3)
    card = model_card(study, candidate, new_evaluation(candidate), DIGITS)
    write_model(tmp_path / "model.onnx", np.eye(64)[:, :10], 1, 8, DIGITS)
    (tmp_path / "predict.py").write_text(snippet(card))
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    damaged = (
        exif.tobytes().replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x0a").replace(b"\0\0\0\x48", b"\xff\xff\xff\xb8")
    )
    Image.new("L", (8, 8), 200).save(tmp_path / "x.png", exif=damaged)
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[:33] + b"\0\0\0\x03tEXta\0b????" + content[33:])
    command = [sys.executable, str(tmp_path / "predict.py"), str(tmp_path / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_figures_stand_with_how_they_were_obtained(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate, correct=175)
    card = model_card(study, candidate, evaluation, DIGITS)
    assert candidate.id in card
    assert re.search(r"\| validation accuracy \| 97\.2 ± 1\.2 % \|.*180 images.*binomial", card)
    assert re.search(r"\| test accuracy \| 98\.9 ± 0\.8 % \|.*only after the search", card)
    assert f"{evaluation.measurement.size_bytes} bytes of model.onnx" in card
    assert "protocol interleaved-minimum/1" in card
    assert "Example CPU 3000, onnxruntime 1.31.0" in card
    assert "float32 (N, 1, 8, 8)" in card
    assert "float32 (N, 10)" in card
    for block in dict.fromkeys(layer.block for layer in evaluation.layers):
        assert f"| {block} |" in card
    total = sum(candidate.plan.format_of(layer.name) == "int8" for layer in candidate.layers(10))
    assert f"{total} int8" in card
    assert ("`session.x64quantprecision`" in card) is (total > 0)


def test_what_was_not_measured_is_said(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate, phase="search", parity=None, layers=(), flags=("unstable",))
    card = model_card(study, candidate, evaluation, DIGITS)
    assert "| test accuracy | not measured |" in card
    assert "| parity with torch | not checked | not checked |" in card
    assert "The test split was not read" in card
    assert "No layers are recorded." in card
    assert "- Flagged: unstable." in card


def test_without_a_measurement_there_is_no_card(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    with pytest.raises(ValueError, match=candidate.id):
        model_card(study, candidate, new_evaluation(candidate, measurement=None), DIGITS)


def test_names_of_users_are_text_and_no_markup(new_study, new_candidate, new_evaluation):
    hostile = "</script><img src=x onerror=alert(1)> | `x` [a](b)\n# head"
    study = new_study(report=ReportOptions(title=hostile))
    candidate = new_candidate(study, 3)
    card = model_card(study, candidate, new_evaluation(candidate), [hostile, "other"])
    prose = card.replace(snippet(card), "")
    assert "<img" not in prose
    assert "<" not in prose
    assert "\n# head" not in card
    assert card.count(text(hostile)) == 2
    assert text("a|b") == r"a\|b"


def test_every_table_row_has_the_cells_of_its_head(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 5)
    card = model_card(study, candidate, new_evaluation(candidate), ["a|b", "c"])
    for block in re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE):
        cells = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block


def test_the_card_says_which_runtime_the_file_needs(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate)
    card = model_card(study, candidate, evaluation, DIGITS, needs="onnxruntime 1.23 or later")
    assert "Needs onnxruntime 1.23 or later, numpy and pillow only." in card


def test_the_card_goes_by_what_the_runtime_says(monkeypatch, new_study, new_candidate, new_evaluation):
    monkeypatch.setitem(RUNTIMES, "toy", Toy())
    study = new_study(targets=(Target(name="cpu", runtime="toy"),))
    candidate = new_candidate(study, 3)
    card = make_card(study, candidate, new_evaluation(candidate), DIGITS, usage=Usage("a toy", "print(1)"))
    assert "bytes of network.toy;" in card
    assert "Needs a toy, numpy and pillow only. Save as `predict.py` beside `network.toy`" in card
    assert snippet(card) == "print(1)"


def test_the_baseline_is_not_called_found(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    heads = [
        model_card(study, candidate, new_evaluation(candidate, phase=phase), DIGITS).split("\n")[2]
        for phase in ("reference", "final")
    ]
    assert (
        "the plain baseline beside a search of compact-nas (study digits-demo), which chose nothing of it." in heads[0]
    )
    assert "found by" not in heads[0]
    assert "found by compact-nas (study digits-demo), which chose architecture, pruning" in heads[1]


def test_an_existing_network_is_told_by_its_own_parts(new_evaluation):
    """One of which may be called as ours are."""
    draft = Draft(channels=1)
    blueprint = draft.done(draft.unit("features", draft.add("relu", draft.conv("stem", INPUT, 4, bias=True)), 8))
    study = study_about(blueprint)
    candidate = baseline_candidate(study)
    card = model_card(study, candidate, new_evaluation(candidate, phase="reference"), DIGITS)
    assert "the network as it was given beside a search of compact-nas (study t)" in card
    assert "\n3 parts, 3 layers.\n" in card
    assert "which chose pruning and weight formats of the network known.networks:network together." in model_card(
        study, candidate, new_evaluation(candidate), DIGITS
    )


def test_a_simulated_accuracy_is_not_said_to_be_the_file_s(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate)
    assert "answers of the runtime on " in model_card(study, candidate, evaluation, DIGITS)
    simulated = evaluation.model_copy(update={"accuracy_source": "simulated"})
    card = model_card(study, candidate, simulated, DIGITS)
    assert "answers of a simulation in torch, not of this file, on " in card
    assert "answers of the runtime" not in card


def test_what_was_removed_is_said(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    assert "Removed" not in model_card(study, candidate, new_evaluation(candidate), DIGITS)
    names = [site.name for site in candidate.architecture.blocks()]
    plan = candidate.plan.model_copy(update={"steps": {"activations_removed": {names[0]: True}}})
    card = model_card(study, candidate.model_copy(update={"plan": plan}), new_evaluation(candidate), DIGITS)
    assert f"Removed after dense training: the activations of {names[0]}." in card


@pytest.mark.parametrize(("step", "words"), [("calibrated", "ranges calibrated"), ("dynamic", "linear layers find")])
def test_what_was_quantized_after_training_says_so(study, new_candidate, new_evaluation, step, words):
    candidate = new_candidate(study, 3)
    assert "Quantized after training" not in model_card(study, candidate, new_evaluation(candidate), DIGITS)
    plan = CompressionPlan.model_validate({"formats": {"classifier": "int8"}, "steps": {step: {"network": True}}})
    card = model_card(study, candidate.model_copy(update={"plan": plan}), new_evaluation(candidate), DIGITS)
    assert re.search(rf"Quantized after training.* {words}", card)


def test_the_coded_size_stands_where_it_was_measured(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate, correct=175)
    size = evaluation.measurement.size_bytes
    before, after = (
        evaluation.model_copy(
            update={"measurement": evaluation.measurement.model_copy(update={"coded_bytes": coded_bytes})}
        )
        for coded_bytes in (None, size // 2)
    )
    assert "coded size" not in model_card(study, candidate, before, DIGITS)
    assert "| coded size | " in model_card(study, candidate, after, DIGITS)
    assert f"{size // 2} bytes of the whole file entropy-coded" in model_card(study, candidate, after, DIGITS)
    assert "Entropy-coded" not in dict(facts(before))
    assert "50 % of the file" in dict(facts(after))["Entropy-coded"]
