"use strict";
// Draws the figures from the data in #figures. Uses no storage, no network and no links, so it also works in a
// frame that allows scripts and nothing else.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const pools = JSON.parse(document.getElementById("pools").textContent);
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
  const nodes = () => [...document.querySelectorAll(".plot:not([hidden])")];

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

  function axisStyle(colors) {
    return {
      color: colors.quiet, gridcolor: colors.grid, linecolor: colors.grid, zeroline: false, ticks: "outside",
      tickcolor: colors.grid, automargin: true, title: { font: { color: colors.ink, size: 13 }, standoff: 10 },
    };
  }

  function pageLayout(colors) {
    return {
      autosize: !printing, width: printing ? PRINT_WIDTH : undefined,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.documentElement).getPropertyValue("--sans"), size: 12.5, color: colors.ink },
      margin: { l: 56, r: 14, t: 18, b: 50 },
      hoverlabel: { bgcolor: colors.paper, bordercolor: colors.quiet, font: { color: colors.ink, size: 12.5 }, align: "left" },
      hovermode: "closest", dragmode: touch ? false : "zoom",
    };
  }

  function layout(node, choice) {
    const colors = theme();
    const axis = axisStyle(colors);
    const x = choice.x_axis
      ? { type: "log", title: { ...axis.title, text: choice.x_axis } }
      : { tickformat: ",d", title: { ...axis.title, text: "Labels bought" } };
    return {
      ...pageLayout(colors),
      xaxis: { ...axis, showgrid: false, showline: true, nticks: node.clientWidth < 500 ? 5 : 10, ...x },
      yaxis: { ...axis, range: choice.range, zeroline: choice.zero_line, zerolinecolor: colors.quiet, title: { ...axis.title, text: choice.axis } },
      legend: { orientation: "h", x: 0, xanchor: "left", y: -0.19, yanchor: "top", itemwidth: 34, font: { size: 12.5 } },
    };
  }

  function drawClasses(node, figure) {
    const colors = theme();
    const narrow = node.clientWidth < 500;
    const axis = { ...axisStyle(colors), showgrid: false, ticks: "", fixedrange: touch };
    const short = (name) => (narrow && name.length > 16 ? `${name.slice(0, 15)}…` : name);
    const names = { tickmode: "array", tickvals: figure.series, ticktext: figure.series.map(short) };
    const middle = colors.paper;
    const scale = figure.diverges
      ? [[0, "#b35806"], [0.5, middle], [1, "#2166ac"]]
      : [[0, middle], [1, "#2166ac"]];
    const beside = figure.diverges ? "<br>%{z:+.2f} points against random" : "";
    const cells = {
      type: "heatmap", x: figure.classes, y: figure.series, z: figure.colours, customdata: figure.shares,
      colorscale: scale, zmin: figure.diverges ? -figure.most : 0, zmax: figure.most, xgap: figure.classes.length > 40 ? 0 : 1, ygap: 1,
      colorbar: { orientation: narrow ? "h" : "v", thickness: 12, outlinewidth: 0, tickfont: { color: colors.quiet }, title: { text: figure.legend, font: { size: 12, color: colors.ink } } },
      hovertemplate: `<b>%{y}</b>, %{x}<br>%{customdata:.2f} % of the labels bought${beside}<extra></extra>`,
    };
    const lines = { ...pageLayout(colors), xaxis: { ...axis, type: "category" }, yaxis: { ...axis, ...names, type: "category", autorange: "reversed" } };
    node.style.height = `${(narrow ? 200 : 140) + 24 * figure.series.length}px`;
    Plotly.react(node, [cells], lines, { displayModeBar: false, responsive: true });
  }

  const slider = (index) => document.getElementById(`batch-${index}`);
  const batches = (index) => figures[index].choices[shown[index]].batches;

  // Points are grey, blue and vermilion: told apart by any kind of colour vision, and by their sizes.
  function drawMap(node, figure, index) {
    const colors = theme();
    const { places, points, anchors } = pools[figure.pool];
    const now = Number(slider(index).value);
    const dots = (name, marker, rows) => ({
      type: "scatter", mode: "markers", name, marker, x: rows.map((row) => row.place[0]), y: rows.map((row) => row.place[1]),
      text: rows.map((row) => `row ${row.id}<br>${row.name}`), hovertemplate: "%{text}<extra></extra>",
    });
    const rowsOf = (batch) => batch.ids.map((id, i) => ({ id, name: escaped(batch.classes[i]), place: places[id] }));
    const pool = { ...dots("pool", { color: colors.quiet, size: 3.5, opacity: 0.4 }, []), x: points[0], y: points[1], hoverinfo: "skip", hovertemplate: undefined };
    const before = batches(index).slice(0, now).flatMap(rowsOf);
    const traces = [
      pool,
      dots("bought before", { color: "#4a97d2", size: 5.5 }, before),
      dots("this batch", { color: "#D55E00", size: 9, line: { color: colors.paper, width: 1 } }, rowsOf(batches(index)[now])),
    ];
    const around = (values) => [Math.min(...values) - 30, Math.max(...values) + 30];
    Plotly.react(node, traces, {
      ...pageLayout(colors),
      margin: { l: 0, r: 0, t: 6, b: 30 },
      xaxis: { visible: false, range: around(points[0]), fixedrange: touch },
      yaxis: { visible: false, range: around(points[1]), scaleanchor: "x", fixedrange: touch },
      legend: { orientation: "h", x: 0, y: -0.02, yanchor: "top", font: { size: 12.5 } },
      annotations: anchors.map(([text, x, y]) => ({ text, x, y, showarrow: false, bgcolor: colors.paper, opacity: 0.85, borderpad: 2, font: { size: 12, color: colors.ink } })),
    }, { displayModeBar: false, responsive: true });
  }

  // Plotly reads a little HTML in hover texts.
  function escaped(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function showBatch(index) {
    const range = slider(index);
    range.max = batches(index).length - 1;
    const batch = batches(index)[Number(range.value)];
    const images = pools[figures[index].pool].images;
    const items = batch.ids.flatMap((id, i) => (images[id] ? [item(id, batch.classes[i], images[id])] : []));
    const part = (what, count) => (count && count < batch.bought ? [`${count} ${what}`] : []);
    const parts = [...(figures[index].has_map ? part("on the map", batch.ids.length) : []), ...part("as images", items.length)];
    const rest = parts.length ? ` (${parts.join(", ")})` : "";
    const told = `${range.value} of ${range.max}: ${batch.bought.toLocaleString("en")} ${batch.bought === 1 ? "row" : "rows"}${rest}`;
    document.getElementById(`told-${index}`).textContent = told;
    range.setAttribute("aria-valuetext", told);
    document.getElementById(`sheet-${index}`).replaceChildren(...items);
  }

  function item(id, name, image) {
    const [entry, picture, caption] = ["li", "img", "span"].map((tag) => document.createElement(tag));
    picture.src = `data:image/webp;base64,${image}`;
    picture.alt = `row ${id}`;
    picture.title = `row ${id}`;
    caption.textContent = name;
    entry.append(picture, caption);
    return entry;
  }

  function draw(node) {
    const index = Number(node.dataset.figure);
    const figure = figures[index];
    if (figure.kind !== "classes" && figure.choices.length === 0) return;
    node.dataset.drawn = "yes";
    if (figure.kind === "classes") { drawClasses(node, figure); return; }
    if (figure.kind === "map") { drawMap(node, figure, index); return; }
    const choice = figure.choices[shown[index]];
    Plotly.react(node, traces(figure, choice), layout(node, choice), { displayModeBar: false, responsive: true });
  }

  const redrawn = (index) => {
    const node = document.getElementById(`figure-${index}`);
    if (!node.hidden) draw(node);
  };
  const redraw = () => nodes().filter((node) => node.dataset.drawn).forEach(draw);
  const nearby = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      nearby.unobserve(entry.target);
      draw(entry.target);
    });
  }, { rootMargin: "1200px" });
  nodes().forEach((node) => nearby.observe(node));

  document.querySelectorAll("select[data-figure]").forEach((select) => select.addEventListener("change", () => {
    const index = Number(select.dataset.figure);
    shown[index] = Number(select.value);
    if (slider(index)) showBatch(index);
    redrawn(index);
  }));
  document.querySelectorAll("input[data-batch-of]").forEach((range) => {
    const index = Number(range.dataset.batchOf);
    showBatch(index);
    range.addEventListener("input", () => { showBatch(index); redrawn(index); });
  });
  prefersDark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => { printing = true; nodes().forEach(draw); });
  addEventListener("afterprint", () => { printing = false; redraw(); });
})();
