"use strict";
// Draws the learning curves from the data in #figures. Uses no storage, no network and no links, so it also works in a
// frame that allows scripts and nothing else.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const shown = figures.map((figure) => figure.shown);
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const THEMES = {
    light: { ink: "#1d1f23", quiet: "#5c626b", grid: "#e6e8eb", paper: "#ffffff" },
    dark: { ink: "#e5e7ea", quiet: "#a0a7b0", grid: "#2b3037", paper: "#1d2024" },
  };
  const PRINT_WIDTH = 680;
  let printing = false;

  const theme = () => (prefersDark.matches && !printing ? THEMES.dark : THEMES.light);
  const nodes = () => [...document.querySelectorAll(".plot")];

  function band(series, curve, opacity) {
    const known = curve.x.map((_, i) => i).filter((i) => curve.low[i] !== null);
    const back = [...known].reverse();
    return {
      x: [...known, ...back].map((i) => curve.x[i]),
      y: [...known.map((i) => curve.low[i]), ...back.map((i) => curve.high[i])],
      fill: "toself", fillcolor: series.color, opacity, line: { width: 0 }, mode: "lines",
      hoverinfo: "skip", showlegend: false, legendgroup: series.name, name: series.name,
    };
  }

  function line(series, curve) {
    const single = curve.x.length === 1;
    return {
      x: curve.x, y: curve.mean, text: curve.text, name: series.name, legendgroup: series.name,
      mode: "lines+markers",
      line: { color: series.color, width: 2.2, dash: series.dash },
      marker: { color: series.color, symbol: series.symbol, size: 7 },
      error_y: {
        visible: single && curve.low[0] !== null, type: "data", symmetric: false, thickness: 1.4,
        array: curve.mean.map((y, i) => curve.high[i] - y), arrayminus: curve.mean.map((y, i) => y - curve.low[i]),
      },
      hovertemplate: "<b>%{fullData.name}</b><br>%{text}<extra></extra>",
    };
  }

  function traces(figure, choice) {
    const pairs = figure.series.map((series, i) => [series, choice.curves[i]]).filter(([, curve]) => curve.x.length);
    const opacity = pairs.length > 6 ? 0.08 : 0.14;
    const bands = pairs.filter(([, curve]) => curve.x.length > 1).map(([series, curve]) => band(series, curve, opacity));
    return [...bands, ...pairs.map(([series, curve]) => line(series, curve))];
  }

  function layout(node, choice) {
    const colors = theme();
    const axis = {
      color: colors.quiet, gridcolor: colors.grid, linecolor: colors.grid, zeroline: false, ticks: "outside",
      tickcolor: colors.grid, automargin: true, title: { font: { color: colors.ink, size: 13 }, standoff: 10 },
    };
    return {
      autosize: !printing, width: printing ? PRINT_WIDTH : undefined,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.documentElement).getPropertyValue("--sans"), size: 12.5, color: colors.ink },
      margin: { l: 56, r: 14, t: 18, b: 50 },
      xaxis: { ...axis, showgrid: false, showline: true, nticks: node.clientWidth < 500 ? 5 : 10,
        title: { ...axis.title, text: "Labels bought" }, tickformat: ",d" },
      yaxis: { ...axis, range: choice.range, zeroline: choice.zero_line, zerolinecolor: colors.quiet, title: { ...axis.title, text: choice.axis } },
      legend: { orientation: "h", x: 0, xanchor: "left", y: -0.19, yanchor: "top", itemwidth: 34, font: { size: 12.5 } },
      hoverlabel: { bgcolor: colors.paper, bordercolor: colors.quiet, font: { color: colors.ink, size: 12.5 }, align: "left" },
      hovermode: "closest", dragmode: touch ? false : "zoom",
    };
  }

  function draw(node) {
    const index = Number(node.dataset.figure);
    const figure = figures[index];
    if (figure.choices.length === 0) return;
    const choice = figure.choices[shown[index]];
    node.dataset.drawn = "yes";
    Plotly.react(node, traces(figure, choice), layout(node, choice), { displayModeBar: false, responsive: true });
  }

  const redraw = () => nodes().filter((node) => node.dataset.drawn).forEach(draw);
  const nearby = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      nearby.unobserve(entry.target);
      draw(entry.target);
    });
  }, { rootMargin: "1200px" });
  nodes().forEach((node) => nearby.observe(node));

  document.querySelectorAll("select[data-figure]").forEach((select) => select.addEventListener("change", () => {
    shown[Number(select.dataset.figure)] = Number(select.value);
    draw(document.getElementById(`figure-${select.dataset.figure}`));
  }));
  prefersDark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => { printing = true; nodes().forEach(draw); });
  addEventListener("afterprint", () => { printing = false; redraw(); });
})();
