"use strict";
// Sorts, filters, searches and shows the dialogues of a page of runs (yoyak.reports.run_page.browser writes the data).
// All texts are set as text, never as HTML. The texts of a chunk are parsed when they are needed.
(() => {
  const holder = document.getElementById("browser");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const words = data.words;
  const count = data.fnames.length;
  const several = data.runs.length > 1;
  const get = (name) => document.getElementById("rows-" + name);
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, key) => values[key]);
  const number = (value) => value.toLocaleString("en-US");
  const state = { order: [], page: 0, open: false, query: [], keys: true };

  function element(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // ---- texts ----
  const chunks = new Map();
  function textsOf(row) {
    const name = Math.floor(row / data.chunk);
    if (!chunks.has(name)) chunks.set(name, JSON.parse(document.getElementById("texts-" + name).textContent));
    return chunks.get(name)[row % data.chunk];
  }
  const plain = (shown) => (shown === null ? "" : typeof shown === "string" ? shown : shown[0]);
  const marksOf = (shown) => (shown === null || typeof shown === "string" ? [] : shown[1]);
  const folded = (text) => text.normalize("NFC").toLowerCase();
  const fields = new Map(); // for each field the folded text of every row, made at the first search in it
  function searched(field) {
    if (fields.has(field)) return fields.get(field);
    const parts = {
      dialogue: (texts) => [plain(texts.d)],
      reference: (texts) => texts.r.map(plain),
      summary: (texts) => texts.s.map(plain),
    };
    const made = new Array(count);
    for (let row = 0; row < count; row += 1) {
      if (field === "fname") made[row] = folded(data.fnames[row]);
      else if (field === "all") {
        const texts = textsOf(row);
        const topic = data.topics ? data.topics[row] : "";
        made[row] = folded([data.fnames[row], topic, plain(texts.d), ...texts.r.map(plain), ...texts.s.map(plain)].join("\n"));
      } else made[row] = folded(parts[field](textsOf(row)).join("\n"));
    }
    fields.set(field, made);
    return made;
  }

  // ---- a text with its marks ----
  const CLASSES = ["copied", "unknown", "unknown", "unknown", "different"];
  const TAG = /#[A-Za-z]+[0-9]*#/g;
  const SPEAKER = /^#Person([1-9][0-9]?)#$/;
  const SPEAKERS = 7;

  function tagClass(tag) {
    const match = SPEAKER.exec(tag);
    return "tag " + (match ? "p" + (((Number(match[1]) - 1) % SPEAKERS) + 1) : "private");
  }

  function withTags(parent, text) {
    let position = 0;
    for (const match of text.matchAll(TAG)) {
      if (match.index > position) parent.append(text.slice(position, match.index));
      parent.append(element("span", tagClass(match[0]), match[0]));
      position = match.index + match[0].length;
    }
    if (position < text.length) parent.append(text.slice(position));
  }

  function hits(text) {
    const low = text.toLowerCase();
    if (low.length !== text.length) return [];
    const found = [];
    for (const word of state.query) {
      for (let at = low.indexOf(word); at >= 0; at = low.indexOf(word, at + word.length)) found.push([at, at + word.length, "hit"]);
    }
    return found;
  }

  function marked(parent, text, flat) {
    const marks = hits(text);
    for (let at = 0; at < flat.length; at += 3) marks.push([flat[at], flat[at] + flat[at + 1], CLASSES[flat[at + 2]]]);
    const cuts = [...new Set([0, text.length, ...marks.flatMap((mark) => [mark[0], mark[1]])])].sort((a, b) => a - b);
    for (let at = 0; at + 1 < cuts.length; at += 1) {
      const classes = new Set(marks.filter((mark) => mark[0] <= cuts[at] && cuts[at + 1] <= mark[1]).map((mark) => mark[2]));
      const piece = text.slice(cuts[at], cuts[at + 1]);
      if (!classes.size) withTags(parent, piece);
      else {
        const isHit = classes.delete("hit");
        const node = element(isHit ? "mark" : "span", [...classes].sort().join(" "));
        withTags(node, piece);
        parent.append(node);
      }
    }
    return parent;
  }

  function turns(shown) {
    const list = element("ol", "turns");
    const flat = marksOf(shown);
    let start = 0;
    for (const line of plain(shown).split("\n")) {
      const match = /^(#Person[1-9][0-9]?#)\s*: ?/.exec(line);
      const cut = match ? match[0].length : 0;
      const within = [];
      for (let at = 0; at < flat.length; at += 3) {
        const from = Math.max(flat[at] - start, cut);
        const to = Math.min(flat[at] + flat[at + 1] - start, line.length);
        if (from < to) within.push(from - cut, to - from, flat[at + 2]);
      }
      const item = element("li", "");
      const who = element("span", "who");
      if (match) who.append(element("span", tagClass(match[1]), match[1]));
      item.append(who, marked(element("span", "said"), line.slice(cut), within));
      list.append(item);
      start += line.length + 1;
    }
    return list;
  }

  // ---- a row ----
  const shownNumber = (value) => (value === null ? "–" : value.toFixed(2).replace(/\.00$/, ""));
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(2).replace(/\.00$/, "");
  const pair = () => (get("pair") ? Number(get("pair").value) : 1);

  function scores(row) {
    const list = element("dl", "row-scores");
    data.metrics.forEach((metric, place) => {
      const group = element("div", metric.key === get("sort").value ? "sorted" : "");
      const mine = data.values[0][place][row];
      let text = shownNumber(mine);
      if (several) {
        const other = data.values[pair()][place][row];
        text += " → " + shownNumber(other);
        if (mine !== null && other !== null) text += " (" + signed(other - mine) + ")";
      }
      group.append(element("dt", "", metric.key), element("dd", "", text));
      list.append(group);
    });
    return list;
  }

  function side(className, parts) {
    const node = element("div", "side " + className);
    for (const [title, shown, flat] of parts) {
      node.append(element("h4", "", title));
      if (shown === null) node.append(element("p", "text none", words.no_summary));
      else node.append(marked(element("p", "text"), plain(shown), flat || marksOf(shown)));
    }
    return node;
  }

  function sides(texts) {
    const node = element("div", several ? "sides three" : "sides");
    node.append(side("", texts.r.map((each, place) => [words.reference + (texts.r.length > 1 ? " " + (place + 1) : ""), each])));
    if (!several) node.append(side("own", [[words.summary, texts.s[0]]]));
    else {
      const other = pair();
      const [here, there] = texts.p[other - 1];
      node.append(side("own", [[data.runs[0], texts.s[0], here]]), side("own", [[data.runs[other], texts.s[other], there]]));
    }
    return node;
  }

  function problems(texts) {
    const list = element("ul", "problems");
    for (const [kind, evidence] of texts.e || []) {
      const item = element("li", "");
      item.append(element("strong", "", words[data.kinds[kind]]));
      if (evidence) item.append(" ", element("span", "", evidence));
      list.append(item);
    }
    return list;
  }

  function card(row) {
    const texts = textsOf(row);
    const node = element("article", "dev-row");
    node.tabIndex = -1;
    node.setAttribute("aria-label", data.fnames[row]);
    const head = element("div", "row-head");
    const title = element("h3", "");
    marked(title, data.fnames[row], []);
    head.append(title);
    if (data.topics && data.topics[row]) head.append(marked(element("span", "topic"), data.topics[row], []));
    head.append(scores(row));
    node.append(head);
    if (texts.e) node.append(problems(texts));
    node.append(sides(texts));
    if (plain(texts.d)) {
      const details = element("details", "");
      details.append(element("summary", "", fill(words.dialogue_turns, { count: plain(texts.d).split("\n").length })));
      const show = () => { if (details.open && details.childElementCount === 1) details.append(turns(texts.d)); };
      details.addEventListener("toggle", show);
      const low = folded(plain(texts.d));
      details.open = state.open || (state.query.length > 0 && state.query.some((word) => low.includes(word)));
      show();
      node.append(details);
    }
    return node;
  }

  // ---- order and filters ----
  const bound = (name) => { const value = get(name).value.trim(); return value === "" || !Number.isFinite(Number(value)) ? null : Number(value); };
  const TIE = 1e-9;

  function valuesToSort() {
    const place = data.metrics.findIndex((metric) => metric.key === get("sort").value);
    if (place < 0) return null;
    const base = data.values[0][place];
    if (!several) return base;
    const other = data.values[pair()][place];
    return base.map((value, row) => (value === null || other[row] === null ? null : other[row] - value));
  }

  function keeps(row, values, texts) {
    const value = values ? values[row] : null;
    const from = bound("from");
    const to = bound("to");
    if (from !== null && (value === null || value < from)) return false;
    if (to !== null && (value === null || value > to)) return false;
    const kind = get("kind") ? get("kind").value : "";
    if (kind === "none" ? data.problems[row] !== 0 : kind !== "" && !(data.problems[row] & (1 << Number(kind)))) return false;
    const outcome = get("outcome") ? get("outcome").value : "";
    if (outcome) {
      if (value === null) return false;
      const metric = data.metrics.find((each) => each.key === get("sort").value);
      const gain = metric.lower ? -value : value;
      if (outcome !== (Math.abs(gain) <= TIE ? "ties" : gain > 0 ? "wins" : "losses")) return false;
    }
    return !texts || state.query.every((word) => texts[row].includes(word));
  }

  function update() {
    state.query = folded(get("query").value).split(/\s+/).filter(Boolean);
    const values = valuesToSort();
    for (const name of ["from", "to", "outcome"]) if (get(name)) get(name).disabled = !values;
    const texts = state.query.length ? searched(get("where").value) : null;
    const order = [];
    for (let row = 0; row < count; row += 1) if (keeps(row, values, texts)) order.push(row);
    const direction = get("direction").value;
    if (values) {
      const key = (row) => (direction === "both" ? -Math.abs(values[row]) : direction === "down" ? -values[row] : values[row]);
      order.sort((a, b) => (values[a] === null) - (values[b] === null) || key(a) - key(b) || a - b);
    } else if (direction === "down") order.reverse();
    state.order = order;
    state.page = 0;
    show();
  }

  const pages = () => Math.max(1, Math.ceil(state.order.length / Number(get("size").value)));

  function show(scroll) {
    const size = Number(get("size").value);
    const start = state.page * size;
    const rows = state.order.slice(start, start + size);
    const list = get("list");
    list.replaceChildren(...(rows.length ? rows.map(card) : [element("p", "none", words.nothing_found)]));
    const values = { shown: number(state.order.length), all: number(count), from: rows.length ? number(start + 1) : 0, to: number(start + rows.length) };
    get("count").textContent = fill(rows.length ? words.count : words.nothing_found, values);
    get("page").textContent = fill(words.page_of, { page: number(state.page + 1), pages: number(pages()) });
    for (const name of ["first", "previous"]) get(name).disabled = state.page === 0;
    for (const name of ["next", "last"]) get(name).disabled = state.page >= pages() - 1;
    if (scroll) {
      document.getElementById("dialogues").scrollIntoView();
      list.focus({ preventScroll: true });
    }
  }

  function go(page) {
    const target = Math.min(Math.max(page, 0), pages() - 1);
    if (target !== state.page) { state.page = target; show(true); }
  }

  function setOpen(open) {
    state.open = open;
    get("open").setAttribute("aria-pressed", String(open));
    get("open").textContent = open ? words.close_all : words.open_all;
    for (const details of get("list").querySelectorAll("details")) details.open = open;
  }

  // ---- controls ----
  if (data.sort) get("sort").value = data.sort;
  if (several) get("direction").value = "both";
  let timer = 0;
  get("form").addEventListener("submit", (event) => { event.preventDefault(); update(); });
  get("form").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(update, 150); });
  get("form").addEventListener("reset", () => setTimeout(update, 0));
  get("reset").addEventListener("click", () => {
    get("form").reset();
    if (data.sort) get("sort").value = data.sort;
    if (several) get("direction").value = "both";
    setOpen(false);
  });
  get("open").addEventListener("click", () => setOpen(!state.open));
  get("first").addEventListener("click", () => go(0));
  get("previous").addEventListener("click", () => go(state.page - 1));
  get("next").addEventListener("click", () => go(state.page + 1));
  get("last").addEventListener("click", () => go(pages() - 1));

  // ---- keys ----
  function step(by) {
    const cards = [...get("list").querySelectorAll("article")];
    const at = cards.indexOf(document.activeElement && document.activeElement.closest("article.dev-row"));
    const target = cards[at < 0 ? (by > 0 ? 0 : cards.length - 1) : at + by];
    if (target) target.focus();
  }
  const keys = {
    "/": () => get("query").focus(),
    j: () => step(1),
    k: () => step(-1),
    o: () => {
      const article = document.activeElement && document.activeElement.closest("article.dev-row");
      const details = article && article.querySelector("details");
      if (details) details.open = !details.open;
    },
    n: () => go(state.page + 1),
    p: () => go(state.page - 1),
    "?": () => { const help = document.querySelector(".shortcuts"); help.open = !help.open; help.querySelector("summary").focus(); },
  };
  document.addEventListener("keydown", (event) => {
    if (!get("keys").checked || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, select, textarea")) return;
    const action = keys[event.key];
    if (action) { event.preventDefault(); action(); }
  });

  update();
})();
