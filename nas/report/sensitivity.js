// How accurate a network stays when one layer alone is rounded, or one channel group alone pruned.
function drawSensitivity() {
  const colours = ["second", "accent", "baseline", "grey", "ink", "muted"];
  data.sensitivity.forEach((panel, number) => {
    const at = document.getElementById(`sensitivity-${number}`);
    const traces = panel.lines.map((line, i) => ({
      ...line, type: "scatter", mode: "lines+markers", showlegend: true,
      line: { color: colour(colours[i % colours.length]), width: 1.5 }, marker: { size: 6 },
      hovertemplate: `%{x}<br>${line.name}: %{y:.2f} %<extra></extra>`,
    }));
    const names = panel.lines.length ? panel.lines[0].x : [];
    traces.unshift({ x: [names[0], names[names.length - 1]], y: [panel.accuracy, panel.accuracy], type: "scatter", mode: "lines",
      name: "unchanged", line: { color: colour("muted"), width: 1, dash: "dot" }, hoverinfo: "skip" });
    const xaxis = { type: "category", categoryarray: names, categoryorder: "array", automargin: true, tickangle: -50,
      gridcolor: colour("faint"), linecolor: colour("line"), tickfont: { size: 11 } };
    const yaxis = { ...scale({ title: "accuracy (%)", cost: false }, at) };
    Plotly.react(at, traces, layout({ xaxis, yaxis, margin: { l: 58, r: 12, t: 30, b: 110 } }), config);
  });
}
