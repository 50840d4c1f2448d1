// Parallel coordinates as plain SVG: plotly's need WebGL and code made at run time, which this page forbids itself.
const PARALLEL = { top: 62, bottom: 30, side: 58, height: 400, shortest: 4, room: 92 };
const brushes = new Map(); // axis index -> [low, high], as shares of its height

function svg(tag, attributes, text) {
  const made = document.createElementNS(document.querySelector("#parallel-plot svg").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Where a value stands on its axis, 0 at the bottom, 1 at the top; null where nothing was measured.
function place(axis, value) {
  if (value === null) return null;
  const [low, high, at] = [axis.low, axis.high, value].map((v) => (axis.log ? Math.log(v) : v));
  const share = (at - low) / (high - low);
  return axis.upward ? share : 1 - share;
}

function pathOf(places, xs, y) {
  let path = "", pen = "M";
  places.forEach((share, i) => {
    if (share === null) { pen = "M"; return; } // a gap, not a line to where nothing was measured
    path += `${pen}${xs[i].toFixed(1)} ${y(share).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

// A title in at most three lines above its axis.
function titleOf(axis, x, room) {
  const lines = [];
  for (const word of axis.title.split(" ")) {
    if (lines.length && (lines[lines.length - 1] + word).length * 6.6 < room) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
  }
  const text = svg("text", { class: axis.objective ? "title" : "title other", x, y: 44 - 14 * lines.length });
  lines.forEach((line, i) => text.append(svg("tspan", { x, dy: i ? 14 : 0 }, line)));
  return text;
}

function drawParallel() {
  const at = document.getElementById("parallel-plot");
  if (!at) return;
  const { axes, lines } = data.parallel, { top, bottom, side, height } = PARALLEL;
  const width = Math.max(at.clientWidth, axes.length * PARALLEL.room);
  const step = (width - 2 * side) / (axes.length - 1), xs = axes.map((_, i) => side + i * step);
  const y = (share) => height - bottom - share * (height - top - bottom);
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, class: lines.length > 300 ? "many" : "few" });
  at.style.minWidth = `${axes.length * PARALLEL.room}px`;
  for (const line of lines) {
    line.places = axes.map((axis, i) => place(axis, line.at[i]));
    line.path = svg("path", { class: line.front ? "line front" : "line", d: pathOf(line.places, xs, y) });
    line.path.append(svg("title", {}, `trial ${line.trial}${line.front ? ", on the front" : ""}`));
    image.append(line.path);
  }
  axes.forEach((axis, i) => {
    const [lower, upper] = axis.upward ? axis.ends : [...axis.ends].reverse();
    image.append(
      svg("line", { class: "axis", x1: xs[i], x2: xs[i], y1: y(0), y2: y(1) }), titleOf(axis, xs[i], step - 12),
      svg("text", { class: "end", x: xs[i], y: y(1) - 7 }, upper), svg("text", { class: "end", x: xs[i], y: y(0) + 17 }, lower),
    );
    brushable(image, i, xs[i], y);
  });
  at.replaceChildren(image);
  showBrushed();
}

// Drag along an axis to keep a range of it; a click without a drag lets all pass.
function brushable(image, index, x, y) {
  const box = svg("rect", { class: "brush", x: x - 7, width: 14, y: 0, height: 0, visibility: "hidden" });
  const hit = svg("rect", { class: "hit", x: x - 14, width: 28, y: y(1), height: y(0) - y(1) });
  const share = (event) => {
    const seen = hit.getBoundingClientRect();
    return Math.min(1, Math.max(0, (seen.bottom - event.clientY) / seen.height));
  };
  const show = () => {
    const range = brushes.get(index);
    box.setAttribute("visibility", range ? "visible" : "hidden");
    if (range) { box.setAttribute("y", y(range[1])); box.setAttribute("height", y(range[0]) - y(range[1])); }
  };
  let from = null;
  hit.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = share(event);
    hit.setPointerCapture(event.pointerId);
  });
  for (const end of ["pointercancel", "lostpointercapture"]) hit.addEventListener(end, () => { from = null; });
  hit.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = share(event), range = [Math.min(from, to), Math.max(from, to)];
    if ((range[1] - range[0]) * (y(0) - y(1)) < PARALLEL.shortest) brushes.delete(index);
    else brushes.set(index, range);
    show();
    showBrushed();
  });
  hit.addEventListener("pointerup", (event) => {
    if (from === null) return;
    if (Math.abs(share(event) - from) * (y(0) - y(1)) < PARALLEL.shortest) brushes.delete(index);
    from = null;
    show();
    showBrushed();
  });
  image.append(hit, box);
  show();
}

function showBrushed() {
  const { lines } = data.parallel;
  const passes = (line) => [...brushes].every(([i, [low, high]]) =>
    line.places[i] !== null && line.places[i] >= low && line.places[i] <= high);
  const kept = lines.filter((line) => { line.path.classList.toggle("out", !passes(line)); return passes(line); });
  const members = (some) => some.filter((line) => line.front).length;
  document.getElementById("parallel-note").textContent = brushes.size
    ? `${kept.length} of ${lines.length} trials pass, ${members(kept)} of ${members(lines)} front members.`
    : `${lines.length} trials, ${members(lines)} of them front members.`;
}
