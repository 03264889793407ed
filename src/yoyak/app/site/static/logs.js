"use strict";
// The list of logs and the end of one of them, with news every few seconds.
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const place = document.getElementById("logs");
  const EVERY = 3000; // milliseconds
  let chosen = null;
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  const ago = (seconds) => {
    const [key, n] = seconds < 90 ? ["seconds", seconds] : seconds < 5400 ? ["minutes", Math.round(seconds / 60)] : ["hours", Math.round(seconds / 3600)];
    return words[key].replace("{n}", n);
  };
  const list = make("div", { class: "scroll wide text" });
  const title = make("h2"), lines = make("pre", { class: "log", tabindex: "0" }), fault = make("p", { class: "hint", role: "alert" });
  [title.hidden, lines.hidden, fault.hidden] = [true, true, true];
  place.append(fault, list, title, lines);

  const draw = (logs) => {
    if (!logs.length) { list.replaceChildren(make("p", { class: "about" }, words.none)); return; }
    const rows = logs.map((log) => {
      const state = log.live ? [make("span", { class: "state running" }, words.live)] : [ago(log.age)];
      if (log.percent !== null) state.push(" ", make("progress", { max: "100", value: log.percent }), ` ${log.percent} %`);
      const button = make("button", { class: "link", type: "button", onclick: () => { chosen = log; lines.textContent = ""; show(true); draw(logs); } }, log.name);
      return make("tr", { class: chosen && chosen.id === log.id ? "chosen" : "" }, make("th", { scope: "row" }, button), make("td", {}, words[log.kind]), make("td", {}, ...state), make("td", {}, log.last));
    });
    const heads = ["log", "what", "ago", "last"].map((key) => make("th", { scope: "col" }, words[key]));
    list.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
  };
  const show = async (first) => {
    if (!chosen) return;
    [title.hidden, lines.hidden] = [false, false];
    title.textContent = words.end.replace("{name}", () => chosen.name);
    const answer = await fetch("/api/logs/" + chosen.id, { cache: "no-store" });
    const atEnd = first || lines.scrollTop + lines.clientHeight > lines.scrollHeight - 30;
    lines.textContent = answer.ok ? (await answer.json()).lines.join("\n") : words.no_log;
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };
  const ask = async () => {
    if (!document.hidden) {
      try {
        draw((await (await fetch("/api/logs", { cache: "no-store" })).json()).logs);
        await show(false);
        fault.hidden = true;
      } catch (error) {
        fault.hidden = false;
        fault.textContent = words.offline;
      }
    }
    setTimeout(ask, EVERY);
  };
  ask();
})();
