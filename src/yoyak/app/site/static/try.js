"use strict";
// Sends a dialogue to the chosen models and shows each summary as soon as it is there. Texts enter as text, never as HTML.
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const form = document.getElementById("try");
  if (!form) return;
  const MOST_BYTES = 1500000;
  const [area, file, topic, go, fault, answers] = ["dialogue", "file", "topic", "go", "try-error", "answers"].map((id) => document.getElementById(id));
  let uploaded = null, running = null;

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);

  const decode = (bytes) => {
    for (const name of ["utf-8", "euc-kr"]) { // a browser's euc-kr is CP949
      try { return new TextDecoder(name, { fatal: true }).decode(bytes); } catch (error) { /* the next one */ }
    }
    return null;
  };
  file.addEventListener("change", async () => {
    fault.textContent = "";
    uploaded = null;
    const chosen = file.files[0];
    if (!chosen) return;
    if (chosen.size > MOST_BYTES) { fault.textContent = words.too_large; file.value = ""; return; }
    const text = decode(await chosen.arrayBuffer());
    if (text === null) { fault.textContent = words.no_encoding; file.value = ""; return; }
    area.value = text;
    uploaded = /\.csv$/i.test(chosen.name);
  });
  document.getElementById("example").addEventListener("click", (event) => { area.value = event.target.dataset.text; uploaded = null; file.value = ""; });

  // A card for each model and dialogue.
  const cards = new Map();
  const rowOf = (number) => {
    let section = answers.querySelector(`[data-row="${number}"]`);
    if (!section) {
      section = make("section", { class: "answer", "data-row": number }, make("div", { class: "side" }));
      if (number) section.prepend(make("h2", {}, `${number + 1}`));
      answers.append(section);
    }
    return section.querySelector(".side");
  };
  const cardOf = (model, row) => {
    const key = `${model} ${row}`;
    if (!cards.has(key)) {
      const input = form.querySelector(`input[value="${CSS.escape(model)}"]`);
      const card = make("article", { class: "panel" }, make("h3", {}, input ? input.dataset.name : model), make("p", { class: "about busy" }));
      rowOf(row).append(card);
      cards.set(key, card);
    }
    return cards.get(key);
  };
  const busy = (model, key) => {
    for (const [name, card] of cards) if (name.startsWith(model + " ") && !card.dataset.done) card.querySelector(".busy").textContent = words[key];
  };
  const finish = (card, ...children) => {
    card.dataset.done = "yes";
    card.replaceChildren(card.querySelector("h3"), ...children);
  };
  const about = (text) => make("p", { class: "about" }, text);
  const showSummary = (event) => {
    const text = make("p", { class: "summary" });
    for (const [part, kind] of event.parts) text.append(kind ? make("mark", { title: `${words.facts} ${words[kind]}` }, part) : part);
    if (!event.parts.length) text.append(words.empty);
    const facts = event.facts.length ? make("p", { class: "bad-text" }, `${words.facts} ${event.facts.map((each) => `${each.text} (${words[each.kind]})`).join(", ")}`) : about(words.no_facts);
    const numbers = `${fill(words.seconds, { n: event.writing })} · ${fill(words.tokens, event.tokens)}`;
    const notes = [...event.notes, ...(event.cut_off ? [words.cut_off] : [])].map(about);
    finish(cardOf(event.model, event.row), text, facts, ...notes, about(numbers));
  };
  const showError = (event) => {
    const failed = make("p", { class: "bad-text" }, event.message);
    if (event.row !== undefined) { finish(cardOf(event.model, event.row), failed); return; }
    for (const [name, card] of cards) if (name.startsWith(event.model + " ") && !card.dataset.done) finish(card, failed.cloneNode(true));
  };
  const take = (event, rows) => {
    if (event.event === "waiting") { for (let row = 0; row < rows; row += 1) cardOf(event.model, row); busy(event.model, "waiting"); }
    else if (event.event === "loading") busy(event.model, "loading");
    else if (event.event === "ready") busy(event.model, "writing");
    else if (event.event === "summary") showSummary(event);
    else if (event.event === "error") showError(event);
  };

  const read = async (answer) => {
    const rows = Number(answer.headers.get("X-Rows") || 1);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) take(JSON.parse(line), rows);
    }
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) { running.abort(); return; }
    fault.textContent = "";
    const models = [...form.querySelectorAll('input[name="model"]:checked')].map((each) => each.value);
    if (!area.value.trim()) { fault.textContent = words.no_text; return; }
    if (!models.length) { fault.textContent = words.no_model; return; }
    cards.clear();
    answers.replaceChildren();
    running = new AbortController();
    go.textContent = words.stop;
    try {
      const body = JSON.stringify({ models, text: area.value, is_csv: Boolean(uploaded), topic: topic.value });
      const answer = await fetch("/api/try", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal: running.signal });
      if (answer.ok) await read(answer);
      else {
        const sent = await answer.json();
        fault.textContent = sent.error?.message || sent.error || String(answer.status);
      }
    } catch (error) {
      if (error.name === "AbortError") { for (const card of cards.values()) if (!card.dataset.done) finish(card, about(words.stopped)); }
      else fault.textContent = words.offline;
    } finally {
      running = null;
      go.textContent = words.go;
    }
  });
})();
