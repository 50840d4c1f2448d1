// The generalization gap over parameters and over mean bits per weight.
function gapTrace(keep, name, key, marker) {
  const { points, trials } = data.gap, chosen = points.map((_, i) => i).filter((i) => keep(i) && data.gap[key][i] !== null);
  return {
    x: chosen.map((i) => data.gap[key][i]), y: chosen.map((i) => points[i]), customdata: chosen.map((i) => trials[i]), name,
    type: "scatter", mode: "markers", marker,
    hovertemplate: "trial %{customdata}<br>%{x}<br>gap %{y:.1f} points<extra></extra>", showlegend: chosen.length > 0,
  };
}

function drawGap() {
  const panels = [["gap-parameters", "parameters", "parameters", true], ["gap-bits", "mean_bits", "mean bits per weight", false]];
  for (const [id, key, title, cost] of panels) {
    const at = document.getElementById(id);
    if (!at) continue;
    const size = data.gap.points.length > 400 ? 4 : 6;
    const traces = [
      gapTrace((i) => !data.gap.front[i], "trials", key, { size, color: colour("grey"), opacity: 0.6 }),
      gapTrace((i) => data.gap.front[i], "front", key, { size: 9, color: colour("accent"), line: { width: 1, color: colour("surface") } }),
    ];
    const xaxis = { ...scale({ key: null, title, cost: false, unit: "" }, at), nticks: 5 };
    if (cost) Object.assign(xaxis, { type: "log", tickformat: "~s", ...(at.clientWidth < 600 ? sparseTicks(data.gap[key], at) : {}) });
    const yaxis = { ...scale({ title: "gap (points)", cost: false }, at), zeroline: true, zerolinecolor: colour("muted") };
    Plotly.react(at, traces, layout({ xaxis, yaxis, margin: { l: 54, r: 12, t: 26, b: 46 } }), config);
  }
}
