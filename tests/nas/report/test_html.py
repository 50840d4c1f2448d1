"""The page: safe whatever users wrote, whole for unfinished runs, light, self-contained, and alive in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from nas.report.coverage import coverage
from nas.report.details import read_artifact
from nas.report.html import link, safe_json, script, write_html
from nas.report.importance import GroupImportance, ObjectiveImportance
from nas.report.run import default_axes, read_run, shown_figures
from nas.report.tables import front_rows
from nas.study import ReportOptions

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """What a browser would make of the page: elements, the text of each script, all visible words."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.scripts, self.words, self._inside = [], [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(" ".join(data.split()))

    @property
    def text(self):
        return " ".join(filter(None, self.words))

    @property
    def data(self):
        """The embedded JSON, read strictly."""
        return json.loads(self.scripts[0], parse_constant=pytest.fail)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def rows(self):
        return [attributes for attributes in self.all("tr") if "data-row" in attributes]


def page_of(run):
    return Page(write_html(run.path))


def test_the_page_shows_every_front_member_once_with_a_link_to_its_file(make_run):
    run = make_run()
    page = page_of(run)
    assert len(page.rows) == len(run.front) > 3
    links = {attributes["href"] for attributes in page.all("a") if attributes["href"].endswith("model.onnx")}
    assert links == {f"{row['artifact']}/model.onnx" for row in run.front}
    assert all((run.path / address).exists() for address in links)
    for row in run.front:
        assert row["id"] in page.text


def test_nothing_is_left_beside_the_page(make_run):
    run = make_run(trials=5)
    before = {path.name for path in run.path.iterdir()}
    assert write_html(run.path) == run.path / "report.html"
    assert {path.name for path in run.path.iterdir()} == before | {"report.html"}


def test_what_users_wrote_is_text(make_run, new_study):
    study = new_study(report=ReportOptions(title=HOSTILE))
    run = make_run(name="<img src=x onerror=alert(2)>", study=study)

    def spoil(row):
        row.update(reason=HOSTILE if row["state"] != "COMPLETE" else "", artifact=row["artifact"])

    run.rewrite("trials.csv", spoil)
    run.rewrite("front.csv", lambda row: row.update(flags=HOSTILE, id=HOSTILE, artifact=f"{HOSTILE}/search-0"))
    page = page_of(run)
    assert page.all("img") == []
    assert len(page.all("script")) == 3
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.text
    assert len(page.data["front"]["hover"]) == len(run.front)
    # plotly reads tags in hover labels, so what stands there is escaped once more.
    assert all("<img" not in label for label in page.data["front"]["hover"] + page.data["infeasible"]["hover"])
    assert any("&lt;img" in label for label in page.data["infeasible"]["hover"])


def test_json_has_no_character_html_gives_a_meaning_to():
    data = {"a": [HOSTILE, "<!--", "&amp;", "\u2028"], "b": None}
    text = str(safe_json(data))
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == data
    with pytest.raises(ValueError, match="JSON"):
        safe_json([float("nan")])


def test_a_script_cannot_end_early():
    assert "</script" not in script('"</script>" + "<!--"')
    assert "<!--" not in script('"</script>" + "<!--"')


def test_it_needs_no_network(make_run):
    page = page_of(make_run())
    plotly = max(page.scripts, key=len)
    assert "plotly.js" in plotly[:200]
    own = page.source.replace(plotly, "")
    assert "http://" not in own
    assert "https://" not in own
    assert "url(" not in own
    loaded = [attributes for attributes in page.all("script") + page.all("img") if "src" in attributes]
    assert loaded + page.all("link") + page.all("iframe") == []
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_a_thousand_trials_stay_light(make_run):
    run = make_run(trials=1000, finalists=0)
    path = write_html(run.path)
    assert path.stat().st_size < 8_000_000
    page = Page(path)
    assert len(page.data["complete"]["hover"]) + len(run.front) == len(run.state("COMPLETE")) > 500
    assert len(page.data["progress"]["values"]) == len(run.state("COMPLETE"))


def test_infeasible_candidates_have_costs_and_no_accuracy_in_the_plot(make_run):
    run = make_run()
    values = page_of(run).data["infeasible"]["values"]
    expected = [row["latency_ms"] for row in run.state("INFEASIBLE")]
    assert values["latency_ms"] == pytest.approx(expected, rel=1e-6)
    assert len(expected) > 0
    assert set(values["accuracy"]) == {None}


def test_a_final_front_stands_beside_the_search_trials(make_run):
    run = make_run()
    page = page_of(run)
    assert page.data["final"] is True
    assert "Finalists" in page.text
    assert len(page.data["complete"]["hover"]) == len(run.state("COMPLETE"))
    on_front = {row["trial"] for row in run.front}
    assert len(page.data["finalists"]["hover"]) == len([r for r in run.finalists if str(r["trial"]) not in on_front])
    shown = page.data["front"]["values"]["accuracy"]
    assert shown == pytest.approx(sorted((100 * float(row["accuracy"]) for row in run.front), reverse=True))


def test_before_finalists_it_says_that_the_test_split_was_not_read(make_run):
    run = make_run(finalists=0)
    page = page_of(run)
    assert page.data["final"] is False
    assert "The test split has not been read; finalists are still to come." in page.text
    assert "test not read yet" in page.text
    known = len(run.front)
    assert len(page.data["complete"]["hover"]) == len(run.state("COMPLETE")) - known


def test_a_run_without_a_front_file_gets_its_front_from_the_trials(make_run):
    run = make_run(finalists=0)
    expected = {row["id"] for row in run.front}
    (run.path / "front.csv").unlink()
    run_again = read_run(run.path)
    assert {row["id"] for row in run_again.front} == expected


@pytest.mark.parametrize("trials_csv", ["kept", "removed"])
def test_a_run_that_has_just_begun(make_run, trials_csv):
    run = make_run(trials=0, finalists=0)
    if trials_csv == "removed":
        (run.path / "trials.csv").unlink()
        (run.path / "front.csv").unlink()
    page = page_of(run)
    assert "No trial is complete yet" in page.text
    assert "no trial started yet" in page.text
    assert page.rows == []
    assert page.data["axes"] == []


def test_a_run_of_infeasible_candidates_only(make_run):
    run = make_run(finalists=0)
    run.rewrite("trials.csv", lambda row: row.update(state="INFEASIBLE", accuracy="", accuracy_se=""))
    (run.path / "front.csv").unlink()
    page = page_of(run)
    assert "No front yet" in page.text
    assert page.data["y"] != "accuracy"
    assert len(page.data["infeasible"]["hover"]) == len(run.trials)
    assert page.data["progress"]["values"] == []


@pytest.mark.parametrize(
    ("objectives", "axes"),
    [
        (("accuracy",), ("latency_ms", "accuracy")),
        (("peak_memory_bytes",), ("peak_memory_bytes", "accuracy")),
        (("macs", "size_bytes"), ("size_bytes", "macs")),
        (("accuracy", "macs"), ("macs", "accuracy")),
    ],
)
def test_few_objectives(make_run, new_study, objectives, axes):
    run = make_run(study=new_study(objectives=objectives), finalists=0)
    (run.path / "front.csv").unlink()
    page = page_of(run)
    data = page.data
    assert len(page.rows) >= 1
    assert (data["x"], data["y"]) == axes
    values = data["progress"]["values"]
    assert values == sorted(values)
    assert values[-1] > 0


def test_other_qualities_that_are_objectives_have_columns(make_run, new_study):
    run = make_run(study=new_study(objectives=("macro_f1", "latency_ms")), finalists=0)
    run.rewrite("trials.csv", lambda row: row.update(macro_f1=row["accuracy"] and f"{float(row['accuracy']) / 2}"))
    (run.path / "front.csv").unlink()
    page = page_of(run)
    assert "test macro F1 (%)" in page.text
    assert all("macro F1 " in label for label in page.data["front"]["hover"])


def test_files_that_compute_something_else_are_no_points(make_run):
    run = make_run(finalists=0)
    table = run.path / "trials.csv"
    trials = pd.read_csv(table, dtype=str, keep_default_na=False)
    trials.assign(flags=np.where(trials["state"] == "COMPLETE", "parity", "")).to_csv(table, index=False)
    (run.path / "front.csv").unlink()
    page = page_of(run)
    assert "No complete trial can stand on a front" in page.text
    assert page.data["complete"]["hover"] == page.data["progress"]["values"] == []
    assert "parity: the file does not answer as the network does" in page.text


def test_missing_artifacts_are_said_to_be_missing(make_run):
    run = make_run()
    shutil.rmtree(run.path / "artifacts")
    page = page_of(run)
    assert page.text.count("The artifact is missing") == len(run.front)
    assert sum(attributes.get("class") == "missing" for attributes in page.all("span")) == len(run.front)
    assert not any(address.get("href", "").endswith("model.onnx") for address in page.all("a"))
    assert "No evaluation on the front records a machine yet" in page.text


def test_a_broken_record_is_named_and_the_rest_shown(make_run):
    run = make_run()
    broken = run.path / run.front[0]["artifact"] / "evaluation.json"
    broken.write_text('{"candidate_id": NaN')
    page = page_of(run)
    assert page.text.count("cannot be read") == 1
    assert [bool(layers) for layers in page.data["layers"]] == [False] + [True] * (len(run.front) - 1)


def test_layers_are_those_of_the_record(make_run):
    run = make_run()
    evaluation = read_artifact(run.path, run.front[0]["artifact"]).evaluation
    (rows,) = page_of(run).data["layers"][:1]
    assert [row[1] for row in rows] == [layer.name for layer in evaluation.layers]
    assert sum(row[6] for row in rows) == evaluation.measurement.parameters
    assert [row[4:6] for row in rows] == [[layer.out_channels, layer.unpruned_channels] for layer in evaluation.layers]
    assert {row[8] for row in rows} <= {"fp32", "int8", "int4"}


def confuse(run, index):
    """Add to a front member's scores what a later version records of them; returns the validation's matrix."""
    path = run.path / run.front[index]["artifact"] / "evaluation.json"
    record = json.loads(path.read_text())
    matrix = [[18 if i == j else int(j == (i + 3) % 10) for j in range(10)] for i in range(10)]
    record["validation"] |= {"confusion": matrix, "balanced_accuracy": 0.875, "macro_f1": 0.85}
    record["test"] |= {"confusion": matrix}
    path.write_text(json.dumps(record))
    return matrix


def test_what_a_network_confuses_is_shown_where_it_is_recorded(make_run):
    run = make_run()
    assert "Classes, validation" not in page_of(run).text
    confuse(run, 1)
    page = page_of(run)
    assert page.text.count("Classes, validation balanced accuracy 87.5 %, macro F1 85.0 %") == 1
    assert page.text.count("Classes, test") == 1
    # Every class: 18 of 19 images right, 18 of 19 answers right, F1 the same.
    assert page.text.count("94.7 94.7 94.7 19") == 20
    assert read_artifact(run.path, run.front[1]["artifact"]).evaluation is not None


@pytest.mark.parametrize("content", ["[]", "{}", '"x"', '{"validation": 3}', '{"validation": {"confusion": 5}}'])
def test_a_record_of_another_shape_is_a_missing_one(make_run, content):
    run = make_run()
    (run.path / run.front[0]["artifact"] / "evaluation.json").write_text(content)
    assert "cannot be read" in read_artifact(run.path, run.front[0]["artifact"]).missing
    assert page_of(run).text.count("cannot be read") == 1


def test_importance_is_shown_with_how_sure_it_is(make_run):
    run = make_run()
    assert "What the objectives depend on" not in page_of(run).text
    groups = [
        GroupImportance("stage2.kernel", 0.5, 0.1),
        GroupImportance("stem.width", 0.25, 0.0),
        GroupImportance("x.y", -0.1, 0),
    ]
    found = [
        ObjectiveImportance("accuracy", 200, 0.6, 0.05, tuple(groups)),
        ObjectiveImportance("latency_ms", 60, -0.1, 0.05, tuple(groups)),
        ObjectiveImportance("size_bytes", 7, None, None),
        ObjectiveImportance("peak_memory_bytes", 500, None, None),
    ]
    page = Page(write_html(run.path, importance=found))
    shares = [attributes["style"] for attributes in page.all("span") if attributes.get("class") == "bar"]
    assert shares == ["--share:100.0%", "--share:50.0%"]
    assert "R² 0.60 ± 0.05 on unseen trials, of 200." in page.text
    assert "stage2 · kernel 0.500 ± 0.100" in page.text
    assert (
        "over 60 trials the model predicts unseen ones hardly better than their mean does (R² −0.10 ± 0.05)"
        in page.text
    )
    assert "Too few trials to tell: 7 complete." in page.text
    assert "Nothing varies over its 500 complete trials." in page.text


def test_coverage_and_gap_are_those_of_the_trials(make_run):
    run = make_run()
    page = page_of(run)
    assert f"{len(run.trials)} trials drew {len({row['id'] for row in run.trials})} different candidates" in page.text
    gap, complete = page.data["gap"], run.state("COMPLETE")
    assert gap["points"] == pytest.approx([100 * (0.98 - row["accuracy"]) for row in complete], abs=1e-3)
    assert gap["parameters"] == [row["parameters"] for row in complete]
    assert gap["mean_bits"] == pytest.approx([row["mean_bits"] for row in complete], abs=1e-3)
    members = {int(row["trial"]) for row in run.front}
    assert gap["front"] == [row["number"] in members for row in complete]


def test_coverage_counts_a_mended_failure_once(make_run, monkeypatch):
    run = make_run()
    retry = run.state("COMPLETE")[-1]["number"]
    failed = run.state("FAILED")[0]["number"]
    run.rewrite("trials.csv", lambda row: row.update(retry_of=str(failed)) if int(row["number"]) == retry else None)
    counted = []
    monkeypatch.setattr("nas.report.html.coverage", lambda *given: counted.append(given[0]) or coverage(*given))
    page_of(run)
    assert set(counted[0]["number"].astype(int)) == {row["number"] for row in run.trials} - {failed}


def test_a_run_of_before_these_columns_still_has_its_page(make_run):
    run = make_run()
    names = ("blocks", "mean_width", "kept_share", "mean_bits", "train_accuracy")
    run.rewrite("trials.csv", lambda row: [row.pop(name) for name in names])
    data = page_of(run).data
    assert "mean_bits" not in [axis["key"] for axis in data["parallel"]["axes"]]
    assert len(data["parallel"]["lines"]) == len(run.state("COMPLETE"))
    assert data["gap"]["points"] == []


def test_every_targets_latency_is_an_axis_even_when_front_csv_has_no_column(make_run):
    run = read_run(make_run().path)
    keys = [axis.key for axis in shown_figures(run)]
    assert keys[:3] == ["accuracy", "latency_ms", "latency_ms@cpu2"]
    assert all(row["latency_ms@cpu2"] < row["latency_ms"] for row in run.front)
    assert default_axes(run.study, shown_figures(run)) == ("latency_ms", "accuracy")
    other = run.study.model_copy(update={"objectives": ("accuracy", "size_bytes", "latency_ms@cpu2")})
    assert default_axes(other, shown_figures(run)) == ("latency_ms@cpu2", "accuracy")


@pytest.mark.parametrize("artifact", ["", "../outside", "artifacts/gone"])
def test_no_link_to_what_is_not_there_or_outside(tmp_path, artifact):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.onnx").touch()
    folder = tmp_path / "run"
    (folder / "artifacts" / "a b#").mkdir(parents=True)
    (folder / "artifacts" / "a b#" / "model.onnx").touch()
    (folder / "model.onnx").touch()
    assert link(folder, {"artifact": artifact}, "model.onnx") is None
    assert link(folder, {"artifact": "artifacts/a b#"}, "model.onnx") == "artifacts/a%20b%23/model.onnx"


def leading(rows, cost):
    """(cost, accuracy in per cent) of the rows no other beats in these two, by comparing every pair; cheapest first."""
    points = sorted((float(row[cost]), 100 * float(row["accuracy"])) for row in rows)
    return [p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """
<script>
const seen = {}, plot = document.getElementById("plot"), table = document.getElementById("front-table");
const column = (n) => [...table.tBodies[0].rows].map((row) => row.cells[n].textContent.trim());
const pick = (id, value) => {
  const select = document.getElementById(id);
  select.value = value;
  select.dispatchEvent(new Event("change"));
};
seen.drawn = plot.data.map((trace) => trace.x.filter((value) => value !== null).length);
seen.svg = plot.querySelectorAll(".scatterlayer .point").length;
seen.line = plot.data[4].x.map((x, i) => [x, plot.data[4].y[i]]);
seen.progress = document.getElementById("progress-plot").data[0].y.length;
const size = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.includes("file size"));
table.tHead.rows[0].cells[size].querySelector("button").click();
seen.ascending = column(size);
table.tHead.rows[0].cells[size].querySelector("button").click();
seen.descending = column(size);
table.tBodies[0].rows[0].click();
seen.pinned = Number(table.tBodies[0].rows[0].dataset.row);
seen.ring = plot.data[6].x[0];
const first = document.getElementById("member-0");
seen.blocks = first.querySelectorAll("tr.block").length;
first.querySelector("tr.block").click();
seen.open = [...first.querySelectorAll("tr.layer")].filter((row) => !row.hidden).length;
seen.note = document.getElementById("plot-note").textContent;
const lines = (selector) => document.querySelectorAll(`#parallel-plot path.line${selector}`).length;
seen.lines = [lines(""), lines(".front"), lines(".out")];
seen.titles = [...document.querySelectorAll("#parallel-plot text.title")].map((title) => title.textContent);
const hit = document.querySelector("#parallel-plot .hit"), box = hit.getBoundingClientRect();
hit.setPointerCapture = () => {};
const pointer = (type, share) => hit.dispatchEvent(
  new PointerEvent(type, { clientY: box.bottom - share * box.height, clientX: box.left, pointerId: 1 }));
pointer("pointerdown", 0.5); pointer("pointermove", 1); pointer("pointerup", 1);
seen.brushed = [lines(""), lines(".out"), document.getElementById("parallel-note").textContent];
pointer("pointerdown", 0.3); pointer("pointerup", 0.3);
seen.cleared = lines(".out");
seen.gap = ["gap-parameters", "gap-bits"].map((id) => document.getElementById(id).data.map((trace) => trace.x.length));
seen.matrix = [...document.querySelectorAll("#member-0 .matrix tbody tr")].map((row) => row.cells.length);
pick("y-axis", "size_bytes");
seen.costs = plot.data.map((trace) => trace.x.filter((value) => value !== null).length);
seen.types = [plot.layout.xaxis.type, plot.layout.yaxis.type];
const report = document.createElement("pre");
report.id = "seen";
report.textContent = JSON.stringify(seen);
document.body.append(report);
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on PATH to open the page with")
def test_the_page_lives_in_a_browser(make_run, tmp_path):
    run = make_run()
    confuse(run, 0)
    path = write_html(run.path)
    probed = path.with_name("probed.html")
    probed.write_text(path.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"), encoding="utf-8")
    seen = json.loads(re.findall(r'<pre id="seen">(.*?)</pre>', dump_dom(probed, tmp_path / "profile"))[0])
    complete, infeasible, front = len(run.state("COMPLETE")), len(run.state("INFEASIBLE")), len(run.front)
    others = len(run.finalists) - front
    # infeasible, search trials, other finalists, references, the line, the front, the ring
    assert [*seen["drawn"][:3], seen["drawn"][5]] == [0, complete, others, front]
    assert seen["svg"] >= complete + front
    assert seen["progress"] == complete
    assert seen["line"] == pytest.approx(np.array(leading(run.front, "latency_ms")), rel=1e-6)
    sizes = sorted(int(row["size_bytes"]) / 1000 for row in run.front)
    assert [float(cell) for cell in seen["ascending"]] == pytest.approx(sizes, rel=0.01)
    assert seen["descending"] == seen["ascending"][::-1]
    assert seen["ring"] == pytest.approx(float(run.front[seen["pinned"]]["latency_ms"]), rel=1e-6)
    layers = read_artifact(run.path, run.front[0]["artifact"]).evaluation.layers
    assert seen["blocks"] == len({layer.block for layer in layers})
    assert seen["open"] == sum(layer.block == layers[0].block for layer in layers)
    assert seen["matrix"] == [11] * 20  # validation and test
    members = {int(row["trial"]) for row in run.front}
    assert seen["lines"] == [complete, front, 0]
    # No two words of a title run together, whatever lines they stand on.
    assert seen["titles"][:2] == ["validationaccuracy (%)", "parameters"]
    best = {row["number"]: row["accuracy"] for row in run.state("COMPLETE")}
    middle = (min(best.values()) + max(best.values())) / 2
    upper = {number for number, accuracy in best.items() if accuracy >= middle}
    assert seen["brushed"][:2] == [complete, complete - len(upper)]
    passing = f"{len(upper)} of {complete} trials pass, {len(upper & members)} of {front} front members."
    assert seen["brushed"][2] == passing
    assert seen["cleared"] == 0
    assert seen["gap"] == [[complete - front, front]] * 2
    assert f"Infeasible candidates ({infeasible})" in seen["note"]
    assert seen["costs"][0] == infeasible > 0
    assert seen["types"] == ["log", "log"]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on PATH to open the page with")
@pytest.mark.parametrize("trials", [0, 1])
def test_an_almost_empty_page_runs_to_its_end(make_run, tmp_path, trials):
    path = write_html(make_run(trials=trials, finalists=0).path)
    ends = '<script>document.body.dataset.width = document.getElementById("plot").clientWidth</script></body>'
    text = path.read_text(encoding="utf-8").replace("<head>", CATCH).replace("</body>", ends)
    path.write_text(text, encoding="utf-8")
    dom = dump_dom(path, tmp_path / "profile")
    assert "data-error" not in dom.split("<body")[0]
    assert ('data-width="0"' in dom) == (trials == 0)
    assert ('class="block"' in dom) == (trials == 1)


CATCH = "<head><script>onerror = (message) => { document.documentElement.dataset.error = message; }</script>"


def dump_dom(path, profile):
    """The page's elements after its scripts have run."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={profile}", "--window-size=1200,900", "--virtual-time-budget=3000", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_front_is_that_of_the_trials_though_front_csv_is_older(make_run):
    run = make_run(trials=40, finalists=0)
    header, first, *_ = (run.path / "front.csv").read_text().splitlines()
    (run.path / "front.csv").write_text(f"{header}\n{first}\n")
    assert [row["trial"] for row in read_run(run.path).front] == list(front_rows(run.path)["trial"])
    assert len(read_run(run.path).front) > 1
