"use strict";
// The board: a table that sorts, filters and groups, the plots, and the news every few seconds. Texts enter as text, never as HTML.
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const place = document.getElementById("board");
  const FAST = 3000, SLOW = 10000; // milliseconds between two questions
  const BEST = "rouge_sum";
  const FIRST_METRICS = 6, FIRST_AXES = 5;
  const PAGE = 100, MOST_DRAWN = 500; // rows of the table at a time; runs in a plot
  const MAIN_METRICS = ["rouge_sum", "content.rouge_sum"];
  const kept = { sort: "", down: true, filter: "", group: "", hidden: [], shown: [], x: "", y: "", axes: null };
  try { Object.assign(kept, JSON.parse(localStorage.getItem("yoyak-board") || "{}")); } catch (error) { /* no storage */ }
  const keep = () => { try { localStorage.setItem("yoyak-board", JSON.stringify(kept)); } catch (error) { /* no storage */ } };
  let board = { rows: [], metrics: [], params: [], constant: {}, running: [], reading: true, error: "" };
  const chosen = []; // runs to compare, in the order of choice
  let page = 0; // of the table
  let textParams = new Set(); // params of which a value is a text
  const texts = new Map(); // what the filter searches, by row

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value === true) element.setAttribute(key, "");
      else if (value !== false) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const href = (row) => "/runs/" + encodeURIComponent(row.run);
  const valueOf = (row, column) => {
    if (column.kind === "metrics") return row.metrics[column.name];
    if (column.kind === "params") return row.params[column.name];
    return column.name === "state" ? stateOf(row) : row[column.name];
  };
  const stateOf = (row) => row.state || (row.kind === "experiment" ? "" : row.kind);
  const written = (value) => {
    if (value === undefined || value === null || value === "") return "–";
    return typeof value === "number" ? (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)))) : String(value);
  };

  // Columns: fixed ones, metrics, and params that vary. A metric that is the same everywhere is hidden at first, but not the main ones.
  const allColumns = () => {
    const varies = (name) => new Set(board.rows.map((row) => row.metrics[name]).filter((value) => value !== undefined)).size > 1;
    const metrics = board.metrics.map((name, index) => ({ kind: "metrics", name, first: index < FIRST_METRICS && (MAIN_METRICS.includes(name) || varies(name) || board.rows.length < 3) }));
    const params = board.params.map((name) => ({ kind: "params", name, first: true }));
    return [{ kind: "", name: "state", first: true }, { kind: "", name: "time", first: false }, ...metrics, ...params];
  };
  const columns = () => allColumns().filter((each) => (each.first ? !kept.hidden.includes(each.name) : kept.shown.includes(each.name)));

  const compare = (one, other) => {
    const empty = [one, other].map((value) => value === undefined || value === null || value === "");
    if (empty[0] || empty[1]) return empty[0] - empty[1]; // empty ones last, in both directions
    const order = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });
    return kept.down ? -order : order;
  };
  const visibleRows = () => {
    const parts = kept.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const searched = (row) => {
      if (!texts.has(row)) texts.set(row, [row.name, row.baseline, row.search, stateOf(row), words[stateOf(row)] || "", ...Object.entries(row.params).map(([key, value]) => `${key}=${value}`)].join(" ").toLowerCase());
      return texts.get(row);
    };
    const rows = parts.length ? board.rows.filter((row) => parts.every((part) => searched(row).includes(part))) : board.rows;
    const column = allColumns().find((each) => each.name === kept.sort) || (kept.sort === "name" ? { kind: "", name: "name" } : null);
    return column ? [...rows].sort((one, other) => compare(valueOf(one, column), valueOf(other, column))) : rows;
  };

  const isText = (column) => column.name === "state" || (column.kind === "params" && textParams.has(column.name));
  const cell = (row, column, best) => {
    const value = valueOf(row, column);
    if (column.name === "state" && !column.kind) {
      const state = stateOf(row);
      return make("td", { class: "text" }, state ? make("span", { class: `state ${state}`, title: row.error }, words[state] || state) : "");
    }
    if (column.name === "time" && !column.kind) return make("td", {}, written(value).slice(0, 16).replace("T", " "));
    const isBest = column.name === BEST && value !== undefined && value === best;
    const kind = isText(column) ? "text" : "";
    const shown = column.kind === "metrics" && typeof value === "number" ? value.toFixed(2) : written(value);
    return make("td", { class: isBest ? "best" : kind, title: isBest ? words.best : kind ? shown : false }, shown);
  };
  const line = (row, shown, best) => {
    const box = make("input", { type: "checkbox", "aria-label": fill(words.choose, { name: row.name }), onchange: (event) => {
      if (event.target.checked) chosen.push(row.run);
      else chosen.splice(chosen.indexOf(row.run), 1);
      drawCompare();
    } });
    box.checked = chosen.includes(row.run);
    box.disabled = Boolean(row.state) && row.state !== "damaged";
    const canOpen = !["queued", "running", "failed"].includes(row.state);
    const label = row.kind === "workspace" ? words.workspace : row.name;
    const name = canOpen ? make("a", { href: href(row), title: row.error || label }, label) : make("span", { title: row.error }, label);
    const isChild = row.kind === "experiment" && !kept.sort;
    return make("tr", {}, make("th", { scope: "row", class: isChild ? "child" : "" }, make("span", { class: "pick" }, box, name)), ...shown.map((each) => cell(row, each, best)));
  };
  const head = (column) => {
    const title = column.kind ? column.name : words[column.name];
    const isSorted = kept.sort === column.name;
    const button = make("button", { class: "sort", type: "button", onclick: () => {
      if (kept.sort !== column.name) Object.assign(kept, { sort: column.name, down: column.kind === "metrics" });
      else if (kept.down === (column.kind === "metrics")) kept.down = !kept.down;
      else kept.sort = ""; // the third press brings the order of git back
      page = 0;
      keep();
      drawTable();
      place.querySelector(`button[data-name="${CSS.escape(column.name)}"]`)?.focus();
    }, "data-name": column.name }, ...title.split(/(?<=[._])/).flatMap((part) => [part, make("wbr")]));
    return make("th", { scope: "col", class: isText(column) ? "text" : "", "aria-sort": isSorted ? (kept.down ? "descending" : "ascending") : false }, button);
  };

  const parts = {};
  const drawTable = () => {
    const shown = columns(), rows = visibleRows();
    const best = board.rows.reduce((most, row) => Math.max(most, row.metrics[BEST] ?? -Infinity), -Infinity);
    const body = make("tbody");
    const groups = new Map(); // in which the rows stand
    for (const row of rows) {
      const key = kept.group === "search" ? row.search || words.other : kept.group === "baseline" ? row.baseline || (row.kind === "workspace" ? words.workspace : row.name) : "";
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    const ordered = [...groups].flatMap(([key, members]) => members.map((row) => [key, row]));
    page = Math.max(0, Math.min(page, Math.ceil(ordered.length / PAGE) - 1));
    let last = null;
    for (const [key, row] of ordered.slice(page * PAGE, (page + 1) * PAGE)) {
      if (kept.group && key !== last) body.append(make("tr", { class: "group" }, make("th", { scope: "rowgroup", colspan: shown.length + 1 }, `${key} (${groups.get(key).length})`)));
      last = key;
      body.append(line(row, shown, best));
    }
    if (!rows.length) body.append(make("tr", {}, make("th", { colspan: shown.length + 1 }, board.rows.length ? words.no_rows : board.reading ? words.reading : words.empty)));
    const table = make("table", {}, make("thead", {}, make("tr", {}, head({ kind: "", name: "name" }), ...shown.map(head))), body);
    const at = [parts.table.scrollLeft, parts.table.scrollTop];
    parts.table.replaceChildren(table);
    [parts.table.scrollLeft, parts.table.scrollTop] = at;
    parts.count.textContent = fill(words.rows, { shown: rows.length, all: board.rows.length });
    drawPager(rows.length);
  };
  const drawPager = (count) => {
    parts.pager.hidden = count <= PAGE;
    parts.earlier.disabled = page === 0;
    parts.later.disabled = (page + 1) * PAGE >= count;
    parts.page.textContent = fill(words.page, { from: page * PAGE + 1, to: Math.min(count, (page + 1) * PAGE), all: count });
  };
  const turn = (step) => () => { page += step; drawTable(); parts.table.scrollTop = 0; };
  const drawCompare = () => {
    for (const run of [...chosen]) if (!board.rows.some((row) => row.run === run)) chosen.splice(chosen.indexOf(run), 1);
    parts.compare.disabled = chosen.length < 2 || chosen.length > 6;
    parts.compare.title = chosen.length < 2 ? words.compare_more : chosen.join(" · ");
    parts.compare.textContent = chosen.length > 1 ? `${words.compare} (${chosen.length})` : words.compare;
  };
  const drawColumns = () => {
    const box = (column) => {
      const input = make("input", { type: "checkbox", onchange: () => {
        const list = column.first ? kept.hidden : kept.shown;
        const index = list.indexOf(column.name);
        if (index < 0) list.push(column.name);
        else list.splice(index, 1);
        keep();
        drawTable();
      } });
      input.checked = columns().some((each) => each.name === column.name);
      return make("label", {}, input, " ", column.kind ? column.name : words[column.name]);
    };
    const all = allColumns();
    const constant = Object.entries(board.constant);
    parts.columns.replaceChildren(
      make("summary", {}, words.columns),
      make("h3", {}, words.metrics), make("div", { class: "list" }, ...all.filter((each) => each.kind !== "params").map(box)),
      make("h3", {}, words.params), make("div", { class: "list" }, ...all.filter((each) => each.kind === "params").map(box)),
      make("h3", {}, fill(words.constant, { count: constant.length })),
      make("div", { class: "constant" }, ...constant.map(([name, value]) => make("div", {}, make("code", {}, name), ` ${value}`))),
    );
  };

  const axisNames = () => [...board.params, ...board.metrics];
  const axisValue = (row, name) => (board.metrics.includes(name) ? row.metrics[name] : row.params[name]);
  const drawPlots = () => {
    const names = axisNames();
    const score = board.metrics.includes(kept.y) ? kept.y : board.metrics.includes(BEST) ? BEST : board.metrics[0];
    const across = names.includes(kept.x) ? kept.x : board.params.find((name) => board.rows.every((row) => ["number", "undefined"].includes(typeof row.params[name]))) || board.params[0] || names[0];
    const axes = (kept.axes || board.params.slice(0, FIRST_AXES)).filter((name) => names.includes(name) && name !== score);
    for (const [select, value] of [[parts.x, across], [parts.y, score]]) {
      const offered = select === parts.y ? board.metrics : names;
      select.replaceChildren(...offered.map((name) => make("option", { value: name }, name)));
      if (value) select.value = value;
    }
    parts.axes.replaceChildren(make("summary", {}, words.axes), make("div", { class: "list" }, ...names.filter((name) => name !== score).map((name) => {
      const input = make("input", { type: "checkbox", onchange: () => {
        kept.axes = input.checked ? [...axes, name] : axes.filter((each) => each !== name);
        keep();
        drawPlots();
      } });
      input.checked = axes.includes(name);
      return make("label", {}, input, " ", name);
    })));
    const scored = visibleRows().filter((row) => row.metrics[score] !== undefined && row.metrics[score] !== null);
    const rows = scored.length > MOST_DRAWN ? [...scored].sort((one, other) => other.metrics[score] - one.metrics[score]).slice(0, MOST_DRAWN) : scored;
    parts.drawn.hidden = rows.length === scored.length;
    parts.drawn.textContent = fill(words.drawn, { count: rows.length, all: scored.length, score: score || "" });
    const say = (element) => (label) => { element.textContent = label; };
    const label = (row) => (row.kind === "workspace" ? words.workspace : row.name);
    const few = () => make("p", { class: "about" }, words.few);
    const points = rows.filter((row) => axisValue(row, across) !== undefined).map((row) => ({ label: label(row), href: href(row), x: axisValue(row, across), y: row.metrics[score] }));
    parts.scatter.replaceChildren(points.length > 1 && across ? plots.scatter(points, [across, score], say(parts.scatterSaid), parts.scatter.clientWidth) : few());
    const lines = rows.map((row) => ({ label: label(row), href: href(row), values: [...axes, score].map((name) => axisValue(row, name)) }));
    parts.parallel.replaceChildren(lines.length > 1 && axes.length ? plots.parallel(lines, [...axes, score], say(parts.parallelSaid), parts.parallel.clientWidth) : few());
  };
  const drawNews = () => {
    parts.now.hidden = !board.running.length;
    parts.now.replaceChildren(make("strong", {}, words.now), ...board.running.map((each) => make("div", {}, each)));
    parts.fault.hidden = !board.error;
    parts.fault.textContent = board.error;
    parts.reading.textContent = board.reading ? words.reading : "";
  };

  const build = () => {
    const filter = make("input", { type: "search", placeholder: words.filter, "aria-label": words.filter, oninput: (event) => { kept.filter = event.target.value; page = 0; keep(); drawTable(); drawPlots(); } });
    filter.value = kept.filter;
    const group = make("select", { onchange: (event) => { kept.group = event.target.value; page = 0; keep(); drawTable(); } },
      ...[["", "group_none"], ["baseline", "group_baseline"], ["search", "group_search"]].map(([value, key]) => make("option", { value }, words[key])));
    group.value = kept.group;
    parts.compare = make("button", { type: "button", onclick: () => { location.href = "/compare?" + chosen.map((run) => "run=" + encodeURIComponent(run)).join("&"); } }, words.compare);
    parts.count = make("span", { class: "count", role: "status" });
    parts.reading = make("span", { class: "about" });
    parts.drawn = make("p", { class: "about" });
    parts.earlier = make("button", { type: "button", onclick: turn(-1) }, words.earlier);
    parts.later = make("button", { type: "button", onclick: turn(1) }, words.later);
    parts.page = make("span", { class: "about", role: "status" });
    parts.pager = make("div", { class: "controls pager" }, parts.earlier, parts.page, parts.later);
    parts.now = make("div", { class: "now" });
    parts.fault = make("p", { class: "hint", role: "alert" });
    parts.table = make("div", { class: "scroll board", role: "region", tabindex: "0", "aria-label": words.name });
    parts.columns = make("details", { class: "columns" });
    parts.axes = make("details", { class: "columns" });
    [parts.scatter, parts.parallel] = [make("div", { class: "scroller" }), make("div", { class: "scroller" })];
    [parts.scatterSaid, parts.parallelSaid] = [make("p", { class: "said" }), make("p", { class: "said" })];
    const choose = (key) => make("select", { "aria-label": words[key === "x" ? "across" : "up"], onchange: (event) => { kept[key] = event.target.value; keep(); drawPlots(); } });
    [parts.x, parts.y] = [choose("x"), choose("y")];
    place.replaceChildren(
      parts.now, parts.fault,
      make("div", { class: "controls" }, filter, make("label", {}, words.group, group), parts.compare, parts.reading, parts.count),
      parts.table, parts.pager, parts.columns, parts.drawn,
      make("figure", { class: "panel figure" }, make("h3", {}, words.scatter),
        make("div", { class: "controls" }, make("label", {}, words.across, parts.x), make("label", {}, words.up, parts.y)), parts.scatter, parts.scatterSaid),
      make("figure", { class: "panel figure" }, make("h3", {}, words.parallel), make("p", { class: "about" }, words.parallel_about), parts.axes, parts.parallel, parts.parallelSaid),
    );
  };

  let etag = "";
  const ask = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch("/api/experiments", { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
        if (answer.status === 401) { location.href = "/login"; return; }
        if (answer.status === 200) {
          etag = answer.headers.get("ETag") || "";
          board = await answer.json();
          texts.clear();
          textParams = new Set(board.params.filter((name) => board.rows.some((row) => typeof row.params[name] === "string")));
          const open = [parts.columns.open, parts.axes.open];
          drawNews(); drawTable(); drawCompare(); drawColumns();
          parts.columns.open = open[0];
          setTimeout(() => { drawPlots(); parts.axes.open = open[1]; }); // the table is shown first
          const advice = document.getElementById("advice");
          if (advice && board.rows.some((row) => row.kind === "experiment")) advice.hidden = true;
        } else drawNews();
      } catch (error) {
        parts.fault.hidden = false;
        parts.fault.textContent = words.offline;
      }
    }
    setTimeout(ask, board.reading || board.running.length ? FAST : SLOW);
  };
  build();
  drawNews(); drawTable(); drawCompare(); drawColumns(); drawPlots();
  ask();
  let waits = 0;
  window.addEventListener("resize", () => { clearTimeout(waits); waits = setTimeout(drawPlots, 200); });
})();
