"""What many trials have in common is kept once, and is equal to what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from nas.search.common import Common, once
from nas.search.journal import Journal

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=80), inner, max_size=3),
    max_leaves=20,
)


@given(plain)
def test_plain_data_stay_equal(value: Any) -> None:
    assert once(value) == value


def trial(width: int) -> optuna.trial.FrozenTrial:
    name = "".join(["stage1", ".width"])  # a new object each time
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params={name: width},
        distributions={name: CategoricalDistribution((8, 16))},
        user_attrs={"row": {"".join(["params_", name]): width}},
    )


def test_two_trials_hold_one_distribution_and_one_name() -> None:
    first, second, common = trial(8), trial(16), Common()
    before = [(dict(t.params), dict(t.distributions), dict(t.user_attrs)) for t in (first, second)]
    common.keep_once(first)
    common.keep_once(second)
    assert [(t.params, t.distributions, t.user_attrs) for t in (first, second)] == before
    assert first.distributions["stage1.width"] is second.distributions["stage1.width"]
    ((one,), (other,)) = first.user_attrs["row"], second.user_attrs["row"]
    assert one is other


def draw(trial: optuna.Trial) -> int:
    return int(trial.suggest_categorical("width", (8, 16)))


def test_a_journal_holds_each_finished_trial_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "study.log", "t", ["maximize"])
    for number in range(3):
        journal.ask(optuna.samplers.RandomSampler(seed=number), draw, lambda width: {"notes": {"width": width}})
        journal.tell(number, [0.5], notes={"row": {"accuracy": 0.5, "names": ["a", "b"]}})
    again = Journal(tmp_path / "study.log", "t", ["maximize"])
    for one, other in zip(journal.trials(), again.trials(), strict=True):
        assert (one.params, one.distributions, one.user_attrs) == (other.params, other.distributions, other.user_attrs)
        assert (one.state, one.values, one.number) == (other.state, other.values, other.number)
    for held in (journal, again):
        trials = held.trials()
        assert len({id(trial.distributions["width"]) for trial in trials}) == 1
        assert all(trial.user_attrs is held._recorded(trial.number).user_attrs for trial in trials)
    beside = Journal(tmp_path / "study.log", "t/final", ["maximize"], beside=again)
    beside.enqueue({"of": 0})
    again.ask(optuna.samplers.RandomSampler(seed=9), draw, lambda width: {"notes": {"width": width}})
    counts = [len(Journal(tmp_path / "study.log", name, ["maximize"]).trials()) for name in ("t", "t/final")]
    assert counts == [4, 1]
