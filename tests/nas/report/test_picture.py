"""The picture: its size, what is drawn and labelled, and every kind of unfinished run."""

import struct
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from nas.report.picture import draw, free_place, panels, round_ticks, write_picture
from nas.report.tables import front_rows, read_trials
from nas.study import ReportOptions


def figure_of(run):
    trials = read_trials(run.path)
    return draw(run.study, trials[trials["state"] == "COMPLETE"], front_rows(run.path))


def offsets(axes):
    """Points of each scatter, in the order drawn: search trials, then the front."""
    return [np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)]


def test_the_file_is_a_png_of_1600_by_700_pixels(make_run):
    run = make_run()
    data = write_picture(run.path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1600, 700)
    assert [path.name for path in run.path.glob("*.png*")] == ["front.png"]
    assert not list(run.path.glob(".front*"))


def test_front_and_search_trials_are_drawn_in_the_screens_units(make_run):
    run = make_run()
    latency, size = figure_of(run).axes
    assert (latency.get_xlabel(), size.get_xlabel()) == ("latency (ms)", "file size (KB)")
    grey, front = offsets(size)
    assert len(grey) == len(run.state("COMPLETE"))
    wanted = [(int(r["size_bytes"]) / 1000, 100 * float(r["accuracy"])) for r in run.front]
    np.testing.assert_allclose(sorted(front.tolist()), sorted(wanted))


def test_settings_of_the_current_folder_change_nothing(make_run, tmp_path):
    run = make_run()
    plain = write_picture(run.path).read_bytes()
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\naxes.facecolor: red\nbackend: TkAgg\n")
    code = "import sys, pathlib, nas.report.picture as p; p.write_picture(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-P", "-c", code, str(run.path.resolve())], cwd=tmp_path, check=True)
    assert (run.path / "front.png").read_bytes() == plain


def test_what_disagrees_with_its_network_is_not_drawn(make_run, monkeypatch):
    run = make_run(finalists=0)
    number = run.state("COMPLETE")[0]["number"]
    run.rewrite("trials.csv", lambda row: row.update(flags="parity") if int(row["number"]) == number else None)
    drawn = []
    monkeypatch.setattr("nas.report.picture.draw", lambda *given: drawn.append(given[1]) or draw(*given))
    write_picture(run.path)
    assert set(drawn[0]["number"].astype(int)) == {row["number"] for row in run.state("COMPLETE")} - {number}


def test_bars_are_one_standard_error_and_the_line_joins_those_that_lead(make_run):
    run = make_run()
    latency, _ = figure_of(run).axes
    (bars,) = (c for c in latency.collections if isinstance(c, LineCollection))
    lengths = [segment[1][1] - segment[0][1] for segment in bars.get_segments()]
    assert sorted(lengths) == pytest.approx(sorted(200 * float(row["accuracy_se"]) for row in run.front))
    points = sorted((float(row["latency_ms"]), 100 * float(row["accuracy"])) for row in run.front)
    leading = [p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)]
    (line,) = (line for line in latency.lines if line.get_linestyle() == "-")
    np.testing.assert_allclose(line.get_xydata(), leading)
    assert len(leading) > 1


def test_members_are_labelled_with_their_trial_numbers(make_run):
    run = make_run()
    numbers = {row["trial"] for row in run.front}
    for axes in figure_of(run).axes:
        shown = {text.get_text() for text in axes.texts}
        assert shown <= numbers
        assert len(shown) >= min(4, len(numbers))


@pytest.mark.parametrize(
    ("objectives", "pairs"),
    [
        (("accuracy", "parameters", "latency_ms", "size_bytes"),
         [("latency_ms", "accuracy"), ("size_bytes", "accuracy")]),
        (("accuracy", "macs", "parameters"), [("macs", "accuracy"), ("parameters", "accuracy")]),
        (("accuracy", "macs"), [("macs", "accuracy"), ("latency_ms", "accuracy")]),
        (("accuracy",), [("latency_ms", "accuracy"), ("size_bytes", "accuracy")]),
        (("size_bytes",), [("size_bytes", "accuracy"), ("latency_ms", "accuracy")]),
        (("macs", "size_bytes"), [("macs", "size_bytes"), ("macs", "accuracy")]),
        (("macs", "size_bytes", "latency_ms"), [("macs", "size_bytes"), ("macs", "latency_ms")]),
    ],
)  # fmt: skip
def test_panels_follow_the_objectives(make_run, new_study, objectives, pairs):
    study = new_study(objectives=objectives)
    assert panels(study) == pairs
    assert write_picture(make_run(study=study).path).stat().st_size > 10_000


@pytest.mark.parametrize("trials", [0, 1])
def test_a_run_that_has_hardly_begun_says_so(make_run, trials):
    run = make_run(trials=trials, finalists=0)
    assert write_picture(run.path).exists()
    words = [text.get_text() for axes in figure_of(run).axes for text in axes.texts]
    assert words == (["no trial is complete yet"] * 2 if trials == 0 else ["0", "0"])


def test_a_run_without_any_table_still_gets_its_picture(make_run):
    run = make_run(trials=5, finalists=0)
    (run.path / "trials.csv").unlink()
    (run.path / "front.csv").unlink()
    assert write_picture(run.path).stat().st_size > 1000


def test_a_dollar_in_the_title_is_a_dollar(make_run, new_study):
    study = new_study(report=ReportOptions(title=r"cheap: $x_{ < 5$ \frac"))
    assert write_picture(make_run(study=study).path).exists()


@pytest.mark.parametrize("span", [(0.03, 0.09), (20, 21.5), (5, 90_000), (1e-3, 1e4), (99, 101)])
def test_ticks_are_few_round_and_inside(span):
    ticks = round_ticks(*span)
    assert 2 <= len(ticks) <= 7
    assert all(span[0] <= tick <= span[1] for tick in ticks)
    assert ticks == sorted(ticks)
    assert all(float(f"{tick:.2g}") == pytest.approx(tick) for tick in ticks)


def test_a_label_moves_away_from_what_is_there():
    spot = (100.0, 100.0)
    free = free_place(spot, [spot])
    assert free is not None
    beside = (spot[0] + free[0], spot[1] + free[1] + 3)
    assert free_place(spot, [spot, beside]) not in (None, free)
    crowd = [(100.0 + x, 100.0 + y) for x in range(-30, 31, 5) for y in range(-30, 31, 5) if x or y]
    assert free_place(spot, [spot, *crowd]) is None


def test_the_report_imports_neither_pyplot_nor_a_heavy_package():
    code = (
        "import sys, nas.report.card, nas.report.html, nas.report.picture, nas.report.tables;"
        "print([m for m in ('torch', 'optuna', 'onnxruntime', 'ray', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
