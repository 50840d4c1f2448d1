"""One contract for all samplers, and what the package offers to any Optuna study."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from conditional_genes import CHOICES, Genes, draw, slacks, values
from optuna.samplers import RandomSampler

import nas.samplers
from nas.samplers import SAMPLERS, make_sampler, seed_of
from nas.search.journal import Direction, Journal

DIRECTIONS: list[Direction] = ["maximize", "minimize"]
POPULATION, ASKS = 6, 32


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Recording:
    """A journal that is driven like a search with `workers` tasks in flight, and asked for what it proposed."""

    def __init__(self, file: Path, sampler: str, *, seed: int = 0, workers: int = 1) -> None:
        self._file, self._sampler, self._seed, self._workers = file, sampler, seed, workers
        self.restart()

    def restart(self) -> None:
        self.journal = Journal(self._file, "study", DIRECTIONS)

    def run(self, asks: int, restart_at: Sequence[int] = ()) -> list[Genes]:
        proposed: list[Genes] = []
        for number in range(asks):
            if number in restart_at:
                self.restart()
            sampler = make_sampler(self._sampler, seed=seed_of(self._seed, number), population=POPULATION)
            found, genes = self.journal.ask(sampler, draw, lambda genes: {"genes": genes})
            assert found == number
            proposed.append(genes)
            if number + 1 >= self._workers:
                self._tell(number + 1 - self._workers)
        return proposed

    def _tell(self, number: int) -> None:
        genes = self.journal.trials()[number].user_attrs["genes"]
        told = None if number % 11 == 7 else values(genes)  # some fail
        self.journal.tell(number, told, slacks(genes), {"row": number})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_valid(tmp_path: Path, sampler: str) -> None:
    recording = Recording(tmp_path / "study.log", sampler)
    for genes, trial in zip(recording.run(ASKS), recording.journal.trials(), strict=True):
        assert trial.params == genes
        assert all(value in CHOICES[name] for name, value in genes.items())
        assert set(genes) == {n for n in CHOICES if not n.startswith("block") or int(n[5]) <= genes["depth"]}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_restart_changes_no_proposal(tmp_path: Path, sampler: str, workers: int) -> None:
    straight = Recording(tmp_path / "a.log", sampler, workers=workers).run(ASKS)
    assert Recording(tmp_path / "b.log", sampler, workers=workers).run(ASKS, [ASKS // 2]) == straight
    assert Recording(tmp_path / "c.log", sampler, workers=workers).run(ASKS, range(1, ASKS, 3)) == straight


PROPOSE = """
import runpy, sys
from pathlib import Path
tests = runpy.run_path(sys.argv[1])
for sampler in tests["SAMPLERS"]:
    print(tests["Recording"](Path(sys.argv[2]) / sampler, sampler).run(24))
"""


def test_proposals_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Python hashes strings differently in every process: no order of a set may show."""
    said = []
    for salt in ("1", "2"):
        (tmp_path / salt).mkdir()
        command = [sys.executable, "-P", "-c", PROPOSE, __file__, str(tmp_path / salt)]
        environment = {**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        said.append(ran.stdout)
    assert said[0].count("\n") == len(SAMPLERS)
    assert said[0] == said[1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_differ(tmp_path: Path, sampler: str) -> None:
    first = Recording(tmp_path / "a.log", sampler, seed=0).run(ASKS)
    second = Recording(tmp_path / "b.log", sampler, seed=1).run(ASKS)
    assert sum(a != b for a, b in zip(first, second, strict=True)) > ASKS // 2
    assert len({str(genes) for genes in first}) > ASKS // 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_values_told_matter(tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but random search learn: told otherwise, they propose otherwise."""
    first = Recording(tmp_path / "a.log", sampler).run(ASKS)
    monkeypatch.setitem(globals(), "values", lambda genes: (-1.0 * genes["width"], 1.0 * genes["depth"]))
    second = Recording(tmp_path / "b.log", sampler).run(ASKS)
    assert (first == second) == (sampler == "random")


def test_unknown_sampler() -> None:
    with pytest.raises(ValueError, match="expected one of random, tpe, nsga2, nsga3, got 'nsga9'"):
        make_sampler("nsga9", seed=0)


def test_seeds_of_asks() -> None:
    assert len({seed_of(study, trial) for study in range(10) for trial in range(100)}) == 1000
    assert seed_of(0, 0) == seed_of(0, 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_plain_optuna_study_is_served(sampler: str) -> None:
    study = optuna.create_study(directions=DIRECTIONS, sampler=make_sampler(sampler, seed=0, population=4))
    study.optimize(lambda trial: values(draw(trial)), n_trials=12)
    assert len(study.trials) == 12


def test_another_sampler_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def toy(seed: int, population: int) -> RandomSampler:
        made.append((seed, population))
        return RandomSampler(seed=seed)

    monkeypatch.setitem(SAMPLERS, "toy", toy)
    make_sampler("toy", seed=3, population=5)
    assert made == [(3, 5)]


def test_all_that_is_offered_is_there() -> None:
    assert all(hasattr(nas.samplers, name) for name in nas.samplers.__all__)


LOADED = "import sys, nas.samplers; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def test_no_more_than_optuna_is_loaded() -> None:
    """Neither torch, pandas nor pydantic: a script that wants a sampler alone starts as fast as Optuna does."""
    ran = subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True)
    alone = subprocess.run(
        [sys.executable, "-P", "-c", LOADED.replace("nas.samplers", "optuna")], capture_output=True, text=True
    )
    assert set(ran.stdout.split()) - set(alone.stdout.split()) <= {"nas", "search_spaces"}
