"use strict";
// Draws the charts with plotly.js and shows the rows behind a bar. All texts of rows are set as text, never as HTML.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const words = read("words");
  const pool = read("rows");
  const charts = new Map();
  const dialog = document.getElementById("viewer");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isNarrow = () => window.innerWidth < 600;

  function element(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // ---- the rows behind a bar ----
  const SPEAKERS = { "#Person2#": "two", "#Person3#": "three" };

  function turn(line) {
    const match = /^(#Person\d+#)\s*: ?([^]*)$/.exec(line);
    const node = element("div", "turn");
    node.append(element("span", "speaker " + ((match && SPEAKERS[match[1]]) || ""), match ? match[1] : ""));
    node.append(element("span", "said", match ? match[2] : line));
    return node;
  }

  function rowCard([index, note]) {
    const row = pool[index];
    const card = element("article", "row");
    const where = element("div", "where");
    for (const text of [row.place, row.fname, row.topic]) if (text) where.append(element("span", "", text));
    card.append(where);
    if (note) card.append(element("div", "note", note));
    if (row.summary) {
      card.append(element("div", "name", words.summary), element("div", "summary", row.summary));
    }
    card.append(element("div", "name", words.dialogue));
    for (const line of row.dialogue.split("\n")) card.append(turn(line));
    return card;
  }

  function showRows(title, detail, rows) {
    document.getElementById("viewer-title").textContent = title;
    document.getElementById("viewer-detail").textContent = rows.length
      ? detail + " · " + words.examples.replace("{count}", rows.length) : detail + " · " + words.no_rows;
    const list = document.getElementById("viewer-rows");
    list.replaceChildren(...rows.map(rowCard));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function showBar(id, index) {
    const chart = charts.get(id) || read("chart-" + id);
    const bar = chart.bars[index];
    showRows(chart.title + " — " + bar.label, chart.series.map((name, i) => (chart.series.length > 1 ? name + " " : "") + bar.texts[i]).join(", "), bar.rows);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-chart][data-bar]");
    if (button) showBar(button.dataset.chart, Number(button.dataset.bar));
    else if (event.target === dialog || event.target.closest("#viewer-close")) dialog.close();
  });

  // ---- charts ----
  function traces(chart) {
    const across = chart.kind === "bars";
    return chart.series.map((name, i) => {
      const labels = across ? chart.bars.map((bar, j) => j) : chart.bars.map((bar) => bar.at);
      const values = chart.bars.map((bar) => bar.values[i]);
      return {
        type: "bar", name, orientation: across ? "h" : "v", x: across ? values : labels, y: across ? labels : values,
        customdata: chart.bars.map((bar) => [bar.label, bar.texts[i]]),
        hovertemplate: "%{customdata[0]}<br>%{customdata[1]}<extra>" + (chart.series.length > 1 ? plain(name) : "") + "</extra>",
        marker: { color: color("--s" + (chart.colors[i] % 4)) },
      };
    });
  }

  // plotly reads some HTML tags in labels; texts of the data are no markup.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (text) => { const most = isNarrow() ? 16 : 30; return text.length > most ? text.slice(0, most - 1) + "…" : text; };

  function layout(chart) {
    const across = chart.kind === "bars";
    const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true, fixedrange: true };
    const values = { ...axis, title: { text: chart.value_title, font: { size: 12 } }, ticksuffix: "%", rangemode: "tozero" };
    const labels = { ...axis, title: { text: chart.label_title || "", font: { size: 12 } }, showgrid: false };
    if (across) Object.assign(labels, { autorange: "reversed", tickvals: chart.bars.map((bar, j) => j), ticktext: chart.bars.map((bar) => plain(short(bar.label))) });
    const result = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: color("--text") },
      margin: { l: 52, r: 12, t: 26, b: 44 }, bargap: across ? 0.28 : 0.08, barmode: "group", showlegend: chart.series.length > 1,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, hoverlabel: { font: { family: getComputedStyle(document.body).fontFamily } },
      height: across ? Math.max(170, 90 + chart.bars.length * (chart.series.length > 1 ? 12 * chart.series.length + 10 : 26)) : (isNarrow() ? 260 : 330),
      xaxis: across ? values : labels, yaxis: across ? labels : values, shapes: [], annotations: [],
    };
    const most = Math.max(...chart.bars.flatMap((bar) => bar.values), 0);
    if (most === 0) values.range = [0, 1];
    for (const mark of chart.marks) {
      const far = mark.at > mark.end + 0.3 * (mark.end - mark.start);
      if (far) { // a line there would squeeze the columns
        result.annotations.push({ xref: "paper", x: 1, yref: "paper", y: 1, text: plain(mark.label) + " →", showarrow: false, xanchor: "right", yanchor: "top", font: { color: color("--cut-line"), size: 12 } });
        continue;
      }
      result.shapes.push({ type: "line", x0: mark.at, x1: mark.at, yref: "paper", y0: 0, y1: 1, line: { color: color("--cut-line"), width: 2, dash: "dash" } });
      if (mark.at < mark.end) result.shapes.push({ type: "rect", x0: mark.at, x1: mark.end, yref: "paper", y0: 0, y1: 1, line: { width: 0 }, fillcolor: color("--cut"), layer: "below" });
      const right = mark.at > (mark.start + mark.end) / 2;
      result.annotations.push({ x: mark.at, yref: "paper", y: 1, text: plain(mark.label), showarrow: false, xanchor: right ? "right" : "left", yanchor: "top", xshift: right ? -5 : 5, font: { color: color("--cut-line"), size: 12 } });
    }
    return result;
  }

  function draw(node) {
    const chart = charts.get(node.dataset.plot) || read("chart-" + node.dataset.plot);
    const isNew = !charts.has(node.dataset.plot);
    charts.set(node.dataset.plot, chart);
    const drawn = layout(chart);
    node.style.minHeight = drawn.height + "px";
    Plotly.react(node, traces(chart), drawn, { displayModeBar: false, responsive: true });
    if (isNew) {
      node.on("plotly_click", (event) => showBar(node.dataset.plot, event.points[0].pointIndex));
    }
  }

  const nodes = [...document.querySelectorAll("[data-plot]")];
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { observer.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "400px" });
  nodes.forEach((node) => observer.observe(node));
  const redraw = () => nodes.filter((node) => charts.has(node.dataset.plot)).forEach(draw);
  dark.addEventListener("change", redraw);
  window.addEventListener("themechange", redraw);
  window.addEventListener("beforeprint", () => nodes.forEach(draw));
  let narrow = isNarrow();
  window.addEventListener("resize", () => { if (narrow !== isNarrow()) { narrow = isNarrow(); redraw(); } });
})();
