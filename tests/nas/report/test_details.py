"""An evaluation in words: what was asked and ran, how it was timed, on which machines."""

from nas.report.details import facts, integer_kernels, latency_words, machine_facts


def test_facts_name_layers_that_did_not_run_as_asked(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    evaluation = new_evaluation(candidate, asked_integer=("a", "b", "c"), ran_integer=("a", "c"))
    assert integer_kernels(evaluation) == "2 of 3 layers asked for ran as integer kernels; in float: b"
    words = dict(facts(evaluation))
    assert words["Evaluated"] == "final, seed 0, 20 of 20 epochs, weights trained"
    assert words["Parity with torch"].startswith("holds on 128 images: same answer on 100.00 %")
    assert "train 7.2" in words["Seconds"]
    assert "Training numbers" not in words
    searched = new_evaluation(candidate, training={"learning_rate": 0.0123, "ema": 0.99})
    assert dict(facts(searched))["Training numbers"] == "learning rate 0.0123, ema 0.990"
    latency = evaluation.measurement.latency["cpu"]
    assert "2 passes (stable)" in latency_words(latency)
    assert "2 passes (not stable)" in latency_words(latency.model_copy(update={"stable": False}))


def test_machines_that_differ_are_both_named(study, new_candidate, new_evaluation):
    candidate = new_candidate(study, 3)
    one = new_evaluation(candidate, machine={"system": "A", "torch": "1", "onnxruntime": "2"})
    two = new_evaluation(candidate, machine={"system": "B", "torch": "1", "onnxruntime": "2"})
    found = dict(machine_facts([one, two]))
    assert found["system"] == "A · B"
    assert (found["torch"], found["onnxruntime"]) == ("1", "2")
    assert found["target cpu"].startswith("Example CPU 3000 (avx2, avx512_vnni), onnxruntime 1.31.0")
