"""The measuring protocol, with made-up networks and on a real file."""

from __future__ import annotations

import fcntl
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nas.measuring.latency
import nas.measuring.turns
from nas.measuring.latency import BLOCKS, CALLS, MAX_PASSES, PROTOCOL, WARM_UP, agree, measure, run_protocol, settled_us
from nas.measuring.turns import exclusive, open_locks
from nas.runtimes.onnx.control import control_file
from nas.runtimes.onnxruntime import Array, Runner, fingerprint
from nas.study import Target

PATIENCE = 60.0  # seconds until a test gives a process up; none takes that long
IMAGE = np.zeros((1, 3, 8, 8), np.float32)
PER_PASS = BLOCKS * CALLS


class Timed:
    """A network whose calls take what `speeds` says, pass by pass, with one slower call in each block."""

    def __init__(self, *speeds: float) -> None:
        self.calls: list[int] = []
        self.images: list[Array] = []
        self._speeds = chain.from_iterable(repeat(speed, BLOCKS) for speed in speeds)

    def time_us(self, image: Array, runs: int) -> list[float]:
        self.calls.append(runs)
        self.images.append(image)
        if runs == WARM_UP:
            return [0.001] * runs  # a warm-up call that counted would be the fastest of all
        speed = next(self._speeds)
        return [speed * 3, *[speed] * (runs - 1)]


def protocol(*speeds: float) -> tuple[list[float], Timed, Timed, bool, float]:
    """The minimum of every pass, the fakes, whether it was stable, and the control's minimum."""
    network, control = Timed(*speeds), Timed(*(7.0,) * MAX_PASSES)
    passes, control_us, stable = run_protocol(network, IMAGE, control, pause=_never)
    assert all(len(samples) == PER_PASS for samples in passes)
    return [min(samples) for samples in passes], network, control, stable, control_us


def _never(_: float) -> None:
    raise AssertionError("nothing was disturbed")


@pytest.mark.parametrize(
    ("speeds", "passes", "stable"),
    [
        pytest.param((100.0, 101.9, 1.0, 1.0), 2, True, id="the first two agree"),
        pytest.param((101.9, 100.0, 1.0, 1.0), 2, True, id="in either order"),
        pytest.param((100.0, 103.0, 101.0, 1.0), 3, True, id="the third agrees with the first"),
        pytest.param((110.0, 100.0, 109.0, 101.0), 4, True, id="the fourth agrees with the second"),
        pytest.param((200.0, 200.1, 1.0, 1.0), 2, True, id="slow but steady"),
        pytest.param((100.0, 110.0, 120.0, 130.0, 140.0, 150.0), 6, False, id="never"),
        # Slower passes that agree with each other do not speak for the fastest.
        pytest.param((110.0, 100.0, *[110.0] * 4), 6, False, id="only the slow ones agree"),
    ],
)
def test_passes_until_two_agree(speeds: tuple[float, ...], passes: int, stable: bool) -> None:
    minima, network, control, was_stable, control_us = protocol(*speeds)
    assert minima == list(speeds[:passes])
    assert was_stable is stable
    assert control_us == 7.0
    assert network.calls == [WARM_UP] + [CALLS] * BLOCKS * passes
    assert control.calls == [CALLS] * BLOCKS * passes


@pytest.mark.parametrize(
    ("speeds", "controls", "usual_us", "passes", "pauses", "stable"),
    [
        pytest.param((133.0, 133.0, 100.0, 101.0), (9.0, 9.0, 7.0, 7.0), 7.0, 4, 2, True, id="a slow half second"),
        pytest.param((133.0, 100.0, 101.0), (9.0, 7.0, 7.0), float("inf"), 3, 0, True, id="found out afterwards"),
        pytest.param((100.0, 101.0), (7.6, 7.6), 7.0, 2, 0, True, id="a little slower is no disturbance"),
        pytest.param((133.0,) * 6, (9.0,) * 6, 7.0, 6, 6, False, id="disturbed for ever"),
    ],
)
def test_disturbed_passes_do_not_count(
    speeds: tuple[float, ...], controls: tuple[float, ...], usual_us: float, passes: int, pauses: int, stable: bool
) -> None:
    waited: list[float] = []
    network, control = Timed(*speeds), Timed(*controls)
    found, control_us, was_stable = run_protocol(network, IMAGE, control, usual_us=usual_us, pause=waited.append)
    assert (len(found), len(waited), was_stable) == (passes, pauses, stable)
    assert control_us == min(controls[:passes])


def test_the_control_settles_at_its_least() -> None:
    waited: list[float] = []
    slow_then_fast = Timed()
    slow_then_fast._speeds = chain(repeat(9.0, BLOCKS // 2), repeat(7.0, BLOCKS // 2))
    assert settled_us(slow_then_fast, pause=waited.append) == 7.0
    assert len(waited) == BLOCKS
    assert sum(waited) >= 0.25


def test_numbers_of_the_protocol() -> None:
    assert (BLOCKS, CALLS, WARM_UP, MAX_PASSES) == (12, 25, 20, 6)
    assert "12x25" in PROTOCOL


def test_the_image_is_the_callers_and_the_control_has_its_own() -> None:
    _, network, control, *_ = protocol(1.0, 1.0)
    assert all(image is IMAGE for image in network.images)
    assert {image.shape for image in control.images} == {(1, 16, 16, 16)}


@given(st.lists(st.floats(1, 1000), max_size=4))
def test_agreement_is_of_the_two_fastest_in_any_order(minima: list[float]) -> None:
    fastest = sorted(minima)[:2]
    assert agree(minima) == (len(minima) >= 2 and fastest[1] <= fastest[0] * 1.02)
    assert agree(minima[::-1]) == agree(minima)


def test_agreement_by_hand() -> None:
    assert not agree([])
    assert not agree([5.0])
    assert agree([100.0, 102.0])
    assert not agree([100.0, 102.1])


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock files of the test's own, so that nobody else's work waits."""
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(nas.measuring.turns, "PLACES", (str(tmp_path),))


# The whole way, on a real file.


def test_a_machine_that_became_slower_is_only_unstable_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control of 18 us once, of 21 from then on: more than a tenth slower."""
    target = Target(name="cpu", batch=1)
    monkeypatch.setattr(nas.measuring.latency, "_usual_us", {target: 18.0})
    monkeypatch.setattr(nas.measuring.latency, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(Runner, "time_us", lambda self, image, runs: [21.0] * runs)
    first, second = measure(control_file(), target), measure(control_file(), target)
    assert (first.stable, len(first.passes_us)) == (False, MAX_PASSES)
    assert (second.stable, len(second.passes_us)) == (True, 2)


def test_a_measured_file() -> None:
    target = Target(name="cpu", batch=1)
    latency = measure(control_file(), target)
    assert latency.latency_ms == pytest.approx(min(map(min, latency.passes_us)) / 1e3, abs=1e-5)
    assert 2 <= len(latency.passes_us) <= MAX_PASSES
    assert {len(samples) for samples in latency.passes_us} == {PER_PASS}
    assert latency.stable or len(latency.passes_us) == MAX_PASSES
    assert (latency.protocol, latency.fingerprint) == (PROTOCOL, fingerprint(target))
    with exclusive():  # nobody holds the machine any more
        pass


def test_a_file_is_timed_while_nobody_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every call, those of the control included, a trainer would have to wait."""
    monkeypatch.setattr(nas.measuring.latency, "_usual_us", {})
    monkeypatch.setattr(nas.measuring.latency, "PAUSE_SECONDS", 0.0)
    free: list[bool] = []

    def timed(self: Runner, image: Array, runs: int) -> list[float]:
        gate, busy = open_locks()
        try:
            busy.take(fcntl.LOCK_SH | fcntl.LOCK_NB)
            free.append(True)
        except BlockingIOError:
            free.append(False)
        finally:
            busy.close()
            gate.close()
        return [20.0] * runs

    monkeypatch.setattr(Runner, "time_us", timed)
    measure(control_file(), Target(name="cpu"))
    assert len(free) > 4 * BLOCKS
    assert not any(free)
