"""Importance: what drives an objective is found, noise is called noise, and genes that were not asked do no harm."""

import numpy as np
import pandas as pd
import pytest

from nas.report.importance import group_features, group_of, importances, shares_of, shuffled_together
from nas.run_folder.rows import PARAMS


def trials(number, *, seed=0, noise=0.1, stages=4, blocks=4):
    """Rows of random genes. accuracy depends on stage1's kernels and on stage2's depth, parameters on the width."""
    random = np.random.default_rng(seed)
    rows = {"number": range(number), "state": ["COMPLETE"] * number}
    genes = {}
    depths = {}
    for s in range(1, stages + 1):
        depths[s] = random.integers(1, blocks + 1, number)
        genes[f"stage{s}.depth"] = depths[s]
        genes[f"stage{s}.width"] = random.choice([16, 32, 64], number)
        for b in range(1, blocks + 1):
            for kind, choices in (
                ("kernel", [3, 5, 7]),
                ("activation", ["relu", "hardswish"]),
                ("fmt", ["int4", "fp32"]),
            ):
                drawn = random.choice(choices, number).astype(str)
                genes[f"stage{s}.block{b}.{kind}"] = np.where(depths[s] >= b, drawn, "")
    answers = np.stack([genes[f"stage1.block{b}.kernel"] for b in range(1, blocks + 1)])
    kernels = (answers == "7").sum(axis=0) / (answers != "").sum(axis=0)
    accuracy = 0.5 + 0.3 * kernels + 0.05 * depths[2] + noise * random.standard_normal(number)
    rows |= {"accuracy": accuracy, "parameters": 100.0 * genes["stage1.width"] ** 2}
    return pd.DataFrame(rows | {PARAMS + gene: np.asarray(values).astype(str) for gene, values in genes.items()})


def test_genes_of_one_kind_in_one_stage_are_one_group():
    assert group_of("stage2.block1.kernel") == group_of("stage2.block3.kernel") == "stage2.kernel"
    assert group_of("stage2.block1.expand.weight_format") == "stage2.weight_format"
    assert group_of("stem.width") == "stem.width"
    assert group_of("temperature") == "temperature"


def test_shares_count_what_was_asked_alone():
    answers = np.array([["3", "5", ""], ["3", "", ""], ["", "", ""], ["7", "7", "3"]], dtype=object)
    expected = [[1 / 2, 1 / 2, 0], [1, 0, 0], [0, 0, 0], [1 / 3, 0, 2 / 3]]
    assert shares_of(answers) == pytest.approx(np.array(expected))


def test_many_words_are_no_numbers():
    frame = pd.DataFrame({f"{PARAMS}stage1.low_rank": [f"svd rank {rank}" for rank in range(20)]})
    assert group_features(frame)["stage1.low_rank"].shape == (20, 20)


@pytest.mark.parametrize("best", [0.001, 0.03])
def test_a_number_searched_over_a_range_counts(best: float):
    """Accuracy falls with the rate's distance from a best one, at the end of the range or within it."""
    random = np.random.default_rng(0)
    rates = np.exp(random.uniform(np.log(1e-3), np.log(1.0), 200))
    frame = trials(200, noise=0.02)
    frame["accuracy"] = 0.9 - 0.02 * np.log(rates / best) ** 2 + 0.02 * random.standard_normal(200)
    frame[f"{PARAMS}training.learning_rate"] = [repr(float(rate)) for rate in rates]
    (found,) = importances(frame, ["accuracy"])
    assert found.clear
    assert found.groups[0].group == "training.learning_rate"
    assert found.groups[0].loss > 10 * abs(found.groups[1].loss)


def test_a_number_asked_of_some_is_the_mean_for_the_others():
    numbers = [str(n) for n in range(1, 20)]
    answers = np.array([[n, ""] for n in numbers] + [["", ""]], dtype=object)
    first = group_features(pd.DataFrame({f"{PARAMS}training.ema": answers[:, 0]}))["training.ema"]
    assert first[-1] == pytest.approx([0, 0])
    assert (np.argmin(first[:, 0]), np.argmax(first[:, 0])) == (0, 18)


def test_groups_that_never_vary_are_left_out():
    frame = trials(30).assign(**{f"{PARAMS}head.width": "64"})
    features = group_features(frame)
    assert "head.width" not in features
    assert len(features) == 4 * 5
    assert features["stage3.fmt"].shape == (30, 2)


def test_what_drives_an_objective_comes_first():
    accuracy, parameters = importances(trials(300), ["accuracy", "parameters"])
    assert accuracy.clear
    assert {group.group for group in accuracy.groups[:2]} == {"stage1.kernel", "stage2.depth"}
    assert accuracy.groups[1].loss > 5 * abs(accuracy.groups[2].loss)
    assert parameters.groups[0].group == "stage1.width"
    # log(100 w^2) takes three values that indicators of the width fit exactly; shuffling doubles the variance
    assert parameters.r2 == pytest.approx(1, abs=0.02)
    assert parameters.groups[0].loss == pytest.approx(2, abs=0.3)
    assert abs(parameters.groups[1].loss) < 0.02


def test_costs_count_by_ratio_and_qualities_do_not():
    """What multiplies a cost explains all of it, what is added to a quality too; the other way round neither would."""
    width, depth = (np.tile(values, 100) for values in ([1, 1, 3, 3, 9, 9], [1, 2, 1, 2, 1, 2]))
    genes = {f"{PARAMS}stem.width": width.astype(str), f"{PARAMS}stage1.depth": depth.astype(str)}
    product, total = 10.0 * width**3 * depth**6, 0.02 * width + 0.3 * depth
    frame = pd.DataFrame({"state": "COMPLETE", "parameters": product, "accuracy": total, **genes})
    for found in importances(frame, ["parameters", "accuracy"]):
        assert found.r2 == pytest.approx(1, abs=1e-3)


def test_noise_is_called_noise():
    for seed in range(8):
        frame = trials(60, seed=seed)
        frame["accuracy"] = np.random.default_rng(100 + seed).random(len(frame))
        (found,) = importances(frame, ["accuracy"])
        assert not found.clear
        assert found.r2 < 0.2


def test_noise_twice_as_strong_as_the_signal_is_still_seen_with_enough_trials():
    assert importances(trials(800, noise=0.2), ["accuracy"])[0].clear
    assert not importances(trials(25, noise=0.6), ["accuracy"])[0].clear


@pytest.mark.parametrize("number", [0, 1, 19])
def test_too_few_trials(number):
    (found,) = importances(trials(number), ["accuracy"])
    assert (found.trials, found.r2, found.clear, found.groups) == (number, None, False, ())


def test_only_complete_trials_with_the_objective_count():
    frame = trials(60)
    frame.loc[:9, "state"] = "INFEASIBLE"
    frame.loc[10:14, "accuracy"] = np.nan
    frame.loc[:9, "accuracy"] = 1e6
    (found,) = importances(frame, ["accuracy"])
    assert found.trials == 45
    assert importances(frame[15:].reset_index(drop=True), ["accuracy"]) == [found]
    assert importances(frame, ["macs"])[0].trials == 0


def test_an_objective_that_never_varies():
    (found,) = importances(trials(50).assign(accuracy=0.5), ["accuracy"])
    assert (found.trials, found.r2, found.constant) == (50, None, True)
    (few,) = importances(trials(5).assign(accuracy=0.5), ["accuracy"])
    assert not few.constant


def test_the_same_seed_gives_the_same_and_another_nearly_so():
    frame = trials(200)
    (first,), (again,), (other,) = (importances(frame, ["accuracy"], seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert {group.group for group in first.groups[:2]} == {group.group for group in other.groups[:2]}


def test_a_thousand_trials_of_a_hundred_and_fifty_genes():
    frame = trials(1000, stages=6, blocks=8)
    assert sum(str(column).startswith(PARAMS) for column in frame) >= 150
    frame = frame.assign(size_bytes=frame["parameters"] * 2, latency_ms=frame["accuracy"] + 1)
    found = importances(frame, ["accuracy", "parameters", "size_bytes", "latency_ms"])
    assert all(one.trials == 1000 and one.clear for one in found)


def test_shuffling_moves_one_groups_columns_together():
    features = np.arange(40.0).reshape(10, 4)
    found = shuffled_together(features, 1, 3, np.random.default_rng(0))
    assert (found[:, [0, 3]] == features[:, [0, 3]]).all()
    assert (found[:, 2] - found[:, 1] == 1).all()
    assert sorted(found[:, 1]) == features[:, 1].tolist() != found[:, 1].tolist()
