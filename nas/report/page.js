// The report's page: its plots, a sortable table, and the layers of each network. Data comes from #data.
// The scripts are joined into one function, this one last.

const data = JSON.parse(document.getElementById("data").textContent);
const axisOf = Object.fromEntries(data.axes.map((axis) => [axis.key, axis]));
const plot = document.getElementById("plot");
const dark = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)").matches;
const state = { x: data.x, y: data.y, log: true, pinned: null };
const RING = 6; // index of the trace that marks the row under the pointer

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const config = {
  responsive: true, displayModeBar: false, showTips: false,
};

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function count(value) {
  return value.toLocaleString("en").replaceAll(",", "\u202f");
}

// ---- plots ----

function layout(extra) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("muted") },
    margin: { l: 62, r: 18, t: 34, b: 52 }, hovermode: "closest", dragmode: coarse || innerWidth < 640 ? false : "zoom",
    hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("line"), align: "left",
      font: { color: colour("ink"), size: 12.5 } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemclick: "toggle", font: { size: 12.5 }, uirevision: "same" },
    uirevision: "same", // what a reader zoomed into stays when the window changes
    ...extra,
  };
}

function scale(axis, at) {
  const log = state.log && axis.cost;
  const format = log && axis.unit === "" ? "~s" : log ? "~g" : undefined;
  return {
    title: { text: axis.title.replace(/&/g, "&amp;").replace(/</g, "&lt;"), standoff: 12 },
    type: log ? "log" : "linear", tickformat: format, nticks: 9, tickangle: 0, automargin: true, zeroline: false,
    gridcolor: colour("faint"), linecolor: colour("line"), showline: true, ticks: "outside", tickcolor: colour("line"),
    autorange: true, ...(log && at.clientWidth < 600 ? sparseTicks(shownValues(axis.key), at) : {}),
  };
}

function shownValues(key) {
  return [data.front, data.references, data.finalists, data.complete, data.infeasible].flatMap((points) => points.values[key]);
}

// Round numbers across all that is drawn: on a phone plotly's own labels of a log axis run into each other.
function sparseTicks(all, at) {
  const values = all.filter((value) => value !== null && value > 0);
  const [low, high] = [Math.min(...values) * 0.9, Math.max(...values) * 1.1];
  let found = [];
  for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]]) {
    const denser = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
      denser.push(...steps.map((step) => Number((step * 10 ** e).toPrecision(3))));
    }
    const inside = denser.filter((value) => value >= low && value <= high);
    if (inside.length > at.clientWidth / 60) break;
    found = inside;
  }
  return { tickmode: "array", tickvals: found };
}

function trace(points, name, marker, extra) {
  return {
    x: points.values[state.x], y: points.values[state.y], text: points.hover, name, type: "scatter", mode: "markers",
    marker, hovertemplate: "%{text}<extra></extra>", showlegend: points.hover.length > 0, ...extra,
  };
}

function errors(axis) {
  return state[axis] !== "accuracy" ? undefined
    : { type: "data", array: data.front.se, thickness: 1, width: 0, color: colour("bar") };
}

// The front among what the two axes show: the other members are on it for an objective not shown here.
function staircase() {
  const sign = (key) => (axisOf[key].cost ? 1 : -1);
  const [xs, ys] = [data.front.values[state.x], data.front.values[state.y]];
  const [sx, sy] = [sign(state.x), sign(state.y)];
  const able = xs.map((_, i) => i).filter((i) => xs[i] !== null && ys[i] !== null);
  const dominated = (i) => able.some((j) =>
    sx * xs[j] <= sx * xs[i] && sy * ys[j] <= sy * ys[i] && (xs[j] !== xs[i] || ys[j] !== ys[i]));
  const kept = able.filter((i) => !dominated(i)).sort((i, j) => sx * (xs[i] - xs[j]) || sy * (ys[j] - ys[i]));
  return {
    x: kept.map((i) => xs[i]), y: kept.map((i) => ys[i]), type: "scatter", mode: "lines", hoverinfo: "skip",
    line: { shape: "hv", color: colour("accent"), width: 1.5 }, opacity: 0.55, showlegend: false,
  };
}

function traces() {
  const quality = !axisOf[state.x].cost || !axisOf[state.y].cost;
  const none = { values: { [state.x]: [], [state.y]: [] }, hover: [] };
  const size = data.complete.hover.length > 400 ? 5 : 7;
  return [
    trace(quality ? none : data.infeasible, "infeasible", { symbol: "x-thin", size: 7, line: { width: 1.3, color: colour("grey") } }),
    trace(data.complete, data.final ? "search trials" : "dominated", { size, color: colour("grey"), opacity: size > 5 ? 0.85 : 0.6 }),
    trace(data.finalists, "other finalists", { size: 9, symbol: "diamond", color: colour("second"), opacity: 0.9 }),
    trace(data.references, "plain baseline", { size: 12, symbol: "star", color: colour("baseline") }),
    staircase(),
    trace(data.front, "front", { size: 11, color: colour("accent"), line: { width: 1.5, color: colour("surface") } },
      { error_y: errors("y"), error_x: errors("x") }),
    { x: [null], y: [null], type: "scatter", mode: "markers", hoverinfo: "skip", showlegend: false,
      marker: { size: 11, symbol: "circle-open", color: colour("ink"), line: { width: 4 } } }, // no larger: axes would move
  ];
}

function drawFront() {
  const note = document.getElementById("plot-note");
  const accuracy = state.x === "accuracy" || state.y === "accuracy";
  const quality = !axisOf[state.x].cost || !axisOf[state.y].cost;
  const infeasible = Number(note.dataset.infeasible);
  const words = ["The line joins the members that lead in the two figures shown; the others lead in another objective."];
  if (accuracy) words.push("Bars: ± one standard error.");
  if (infeasible && quality) {
    words.push(`Infeasible candidates (${infeasible}) have no accuracy: they appear when both axes are costs.`);
  };
  if (!coarse) words.push("Drag to zoom, double-click to reset; click a member to mark its row.");
  note.textContent = words.join(" ");
  const xaxis = scale(axisOf[state.x], plot), yaxis = scale(axisOf[state.y], plot);
  const uirevision = `${state.x} ${state.y} ${state.log}`;
  Plotly.react(plot, traces(), layout({ xaxis, yaxis, uirevision }), config);
  light(state.pinned);
}

function drawProgress() {
  const at = document.getElementById("progress-plot");
  if (!at) return;
  const { trials, values } = data.progress;
  const line = {
    x: values.map((_, i) => i + 1), y: values, customdata: trials, type: "scatter", mode: values.length > 1 ? "lines" : "markers",
    line: { shape: "hv", color: colour("accent"), width: 2 }, marker: { color: colour("accent"), size: 9 },
    fill: "tozeroy", fillcolor: colour("accent-soft"),
    hovertemplate: "after %{x} complete trials (trial %{customdata})<br>hypervolume %{y:.5~g}<extra></extra>",
  };
  const plain = { ...scale({ title: "complete trials", cost: false }, at), tickformat: "d", rangemode: "tozero" };
  const tall = { ...scale({ title: "hypervolume", cost: false }, at), rangemode: "tozero" };
  Plotly.react(at, [line], layout({ xaxis: plain, yaxis: tall, margin: { l: 62, r: 18, t: 12, b: 48 } }), config);
}

function fillSelect(id, key) {
  const select = document.getElementById(id);
  for (const axis of data.axes) select.add(new Option(axis.title, axis.key, false, axis.key === state[key]));
  select.addEventListener("change", () => { state[key] = select.value; drawFront(); });
}

// ---- the table and its link with the plot ----

const table = document.getElementById("front-table");
const rowOf = (index) => table && table.querySelector(`tr[data-row="${index}"]`);

function light(index) {
  if (!table) return;
  table.querySelectorAll("tr.lit").forEach((row) => row.classList.remove("lit"));
  if (index !== null) rowOf(index).classList.add("lit");
  const at = (key) => [index === null ? null : data.front.values[key][index]];
  if (plot.data) Plotly.restyle(plot, { x: [at(state.x)], y: [at(state.y)] }, [RING]);
}

function pin(index) {
  state.pinned = state.pinned === index ? null : index;
  table.querySelectorAll("tr.pinned").forEach((row) => row.classList.remove("pinned"));
  if (state.pinned !== null) rowOf(index).classList.add("pinned");
  light(state.pinned);
}

function linkTable() {
  for (const row of table.tBodies[0].rows) {
    const index = Number(row.dataset.row);
    row.addEventListener("mouseenter", () => light(index));
    row.addEventListener("mouseleave", () => light(state.pinned));
    row.addEventListener("click", (event) => event.target.closest("a") || pin(index));
  }
  table.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => sortBy(button.closest("th"))));
}

function linkPlot() {
  const member = (event) => (event.points[0].curveNumber === RING - 1 ? event.points[0].pointNumber : null);
  plot.on("plotly_hover", (event) => member(event) !== null && light(member(event)));
  plot.on("plotly_unhover", () => light(state.pinned));
  plot.on("plotly_click", (event) => {
    if (member(event) === null) return;
    pin(member(event));
    rowOf(member(event)).scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
}

function sortBy(head) {
  const column = head.cellIndex, ascending = head.getAttribute("aria-sort") !== "ascending";
  const value = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  // What was not measured comes last either way.
  const order = (p, q) => {
    const [a, b] = [value(p), value(q)];
    if (a === null || b === null) return (a === null) - (b === null);
    return ascending ? compare(a, b) : compare(b, a);
  };
  table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
}

// ---- layers ----

const HEADS = ["block, layer", "kind", "kernel", "channels", "parameters", "MACs", "format", "ran", "zeros (%)"];

function layerCells(row, kind, kernel, channels, sums, totals, inside) {
  row.append(element("td", kind, "text"), element("td", kernel, "text"), channels);
  sums.forEach((sum, i) => {
    const cell = element("td", count(sum), "share");
    cell.style.setProperty("--share", `${(100 * sum) / Math.max(1, totals[i])}%`);
    row.append(cell);
  });
  // Only what was to run in integers and did not is worth a colour: fp32 runs in float as asked.
  const missed = inside.some((layer) => layer[8] !== "fp32" && layer[9] === "float");
  row.append(element("td", distinct(inside, 8).join(", "), "text"));
  row.append(element("td", distinct(inside, 9).join(", "), missed ? "text missed" : "text"));
  row.append(element("td", zeros(inside)));
}

// Of the weights, biases apart; a dash where the file was not counted.
function zeros(layers) {
  const counted = layers.filter((layer) => layer[11] !== null), weights = (layer) => layer[6] - layer[4];
  const total = counted.reduce((all, layer) => all + weights(layer), 0);
  return total ? (100 * counted.reduce((all, layer) => all + weights(layer) * layer[11], 0) / total).toFixed(1) : "–";
}

function channelCell(kept, full) {
  return element("td", kept === full ? count(kept) : `${count(kept)} / ${count(full)}`, kept === full ? "" : "cut");
}

const sum = (layers, index) => layers.reduce((total, layer) => total + layer[index], 0);
const distinct = (layers, index) => [...new Set(layers.map((layer) => layer[index]))];

function blockRow(name, layers, totals) {
  const row = element("tr", undefined, "block"), head = element("td", undefined, "text");
  const button = element("button", name);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  head.append(button);
  row.append(head);
  const largest = Math.max(...distinct(layers, 3), ...distinct(layers, 10));
  const pruned = layers.find((layer) => layer[4] !== layer[5]) || layers[layers.length - 1];
  const kind = layers.length === 1 ? layers[0][2] : `${layers.length} layers`;
  layerCells(row, kind, `${largest} × ${largest}`, channelCell(pruned[4], pruned[5]),
    [sum(layers, 6), sum(layers, 7)], totals, layers);
  return row;
}

function layerRow(layer, totals) {
  const row = element("tr", undefined, "layer");
  const name = layer[1].startsWith(`${layer[0]}.`) ? layer[1].slice(layer[0].length + 1) : layer[1];
  row.append(element("td", name, "text"));
  layerCells(row, layer[2], `${layer[3]} × ${layer[10]}`, channelCell(layer[4], layer[5]), [layer[6], layer[7]], totals,
    [layer]);
  row.hidden = true;
  return row;
}

function fillMember(details) {
  const at = details.querySelector("table.layers"), layers = data.layers[Number(details.dataset.member)];
  if (!at || at.rows.length) return;
  const head = at.createTHead().insertRow();
  HEADS.forEach((title, i) => head.append(element("th", title, [0, 1, 2, 6, 7].includes(i) ? "text" : "")));
  const totals = [sum(layers, 6), sum(layers, 7)];
  for (const name of distinct(layers, 0)) {
    const inside = layers.filter((layer) => layer[0] === name), body = at.createTBody();
    const block = blockRow(name, inside, totals), rows = inside.map((layer) => layerRow(layer, totals));
    body.append(block, ...rows);
    block.addEventListener("click", () => {
      const open = block.classList.toggle("open");
      block.querySelector("button").setAttribute("aria-expanded", String(open));
      rows.forEach((row) => { row.hidden = !open; });
    });
  }
}

function openTarget() {
  const target = location.hash.startsWith("#member-") && document.getElementById(location.hash.slice(1));
  if (target) target.open = true;
}

// ---- start ----

function draw() {
  if (data.axes.length > 1) drawFront();
  drawProgress();
  drawParallel();
  drawGap();
  drawSensitivity();
}

if (data.axes.length > 1) {
  fillSelect("x-axis", "x");
  fillSelect("y-axis", "y");
  document.getElementById("log-axes").addEventListener("change", (event) => { state.log = event.target.checked; drawFront(); });
} else {
  plot.closest(".panel").hidden = true;
}
draw();
if (table) linkTable();
if (plot.data) linkPlot();
dark.addEventListener("change", draw);
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(draw, 200); });
document.querySelectorAll("details.member").forEach((details) => {
  details.addEventListener("toggle", () => fillMember(details));
  if (details.open) fillMember(details);
});
addEventListener("hashchange", openTarget);
openTarget();
