"use strict";
// Plots of the board as SVG: any value against any other, and parallel coordinates. Numbers get a scale, other values places.
const plots = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const node = (name, attributes, text) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (value) => {
    if (typeof value !== "number") return value.length > 16 ? value.slice(0, 15) + "…" : value;
    const size = Math.abs(value);
    return size && (size < 1e-3 || size >= 1e6) ? value.toExponential(1) : String(Number(value.toPrecision(4)));
  };

  // A scale from values to 0 … 1, and its ticks. Numbers over more than two powers of ten get a logarithm.
  const scaleOf = (values) => {
    const known = values.filter((value) => value !== undefined && value !== null);
    if (known.length && known.every((value) => typeof value === "number")) {
      const low = Math.min(...known), high = Math.max(...known);
      const log = low > 0 && high / low > 100;
      const f = log ? Math.log10 : (value) => value;
      const width = f(high) - f(low);
      const at = (value) => (width ? (f(value) - f(low)) / width : 0.5);
      const back = (share) => (log ? 10 ** (f(low) + share * width) : low + share * width);
      const ticks = width ? [0, 0.25, 0.5, 0.75, 1].map((share) => [share, short(back(share))]) : [[0.5, short(low)]];
      return { at: (value) => (typeof value === "number" ? at(value) : null), ticks };
    }
    const names = [...new Set(values.map((value) => String(value ?? "–")))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    const place = new Map(names.map((name, index) => [name, names.length > 1 ? index / (names.length - 1) : 0.5]));
    const every = Math.ceil(names.length / 12);
    return { at: (value) => place.get(String(value ?? "–")), ticks: names.filter((_, index) => index % every === 0).map((name) => [place.get(name), short(name)]) };
  };

  // From blue (low) over grey-green to orange (high); it is readable on light and dark ground.
  const color = (share) => {
    const [from, to] = share < 0.5 ? [[70, 110, 215], [75, 160, 140]] : [[75, 160, 140], [230, 135, 30]];
    const part = share < 0.5 ? share * 2 : share * 2 - 1;
    return `rgb(${from.map((value, index) => Math.round(value + part * (to[index] - value))).join(",")})`;
  };

  const touch = (shape, label, href, say) => {
    shape.append(node("title", {}, label));
    shape.setAttribute("tabindex", "0");
    shape.setAttribute("role", "link");
    shape.setAttribute("aria-label", label);
    for (const name of ["pointerenter", "focus"]) shape.addEventListener(name, () => say(label));
    const open = () => { location.href = href; };
    shape.addEventListener("click", open);
    shape.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
  };

  // items: {label, href, x, y}
  const scatter = (items, names, say, room) => {
    const width = Math.max(300, room), height = room < 500 ? 300 : 380, left = 74, right = 20, top = 22, bottom = 54;
    const xs = scaleOf(items.map((each) => each.x)), ys = scaleOf(items.map((each) => each.y));
    const x = (share) => left + (0.03 + 0.94 * share) * (width - left - right);
    const y = (share) => height - bottom - (0.04 + 0.92 * share) * (height - top - bottom);
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "group" });
    for (const [share, label] of xs.ticks) {
      svg.append(node("line", { class: "axis", x1: x(share), x2: x(share), y1: top, y2: height - bottom }));
      svg.append(node("text", { x: x(share), y: height - bottom + 18, "text-anchor": "middle" }, label));
    }
    for (const [share, label] of ys.ticks) {
      svg.append(node("line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) }));
      svg.append(node("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, label));
    }
    svg.append(node("text", { class: "title", x: (left + width - right) / 2, y: height - 10, "text-anchor": "middle" }, names[0]));
    svg.append(node("text", { class: "title", x: 4, y: 13 }, names[1]));
    for (const each of items) {
      const [a, b] = [xs.at(each.x), ys.at(each.y)];
      if (a === null || b === null) continue;
      const dot = node("circle", { class: "dot", cx: x(a), cy: y(b), r: 6 });
      touch(dot, `${each.label}: ${names[0]} ${short(each.x ?? "–")}, ${names[1]} ${short(each.y ?? "–")}`, each.href, say);
      svg.append(dot);
    }
    return svg;
  };

  // items: {label, href, values: one for each axis}; the last axis is the score, which decides the colour.
  const parallel = (items, names, say, room) => {
    const width = Math.max(room, 112 * (names.length - 1) + 140), height = 360, top = 52, bottom = 18, side = 70;
    const scales = names.map((_, index) => scaleOf(items.map((each) => each.values[index])));
    const x = (index) => side + (names.length > 1 ? (index * (width - 2 * side)) / (names.length - 1) : 0);
    const y = (share) => height - bottom - share * (height - top - bottom);
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "group" });
    svg.style.width = `${width}px`;
    for (const each of items) {
      const shares = each.values.map((value, index) => scales[index].at(value));
      const places = shares.map((share, index) => (share === null ? null : `${x(index)},${y(share)}`)).filter(Boolean);
      if (places.length < 2) continue;
      const line = node("polyline", { class: "line", points: places.join(" ") });
      line.style.stroke = color(shares[shares.length - 1] ?? 0);
      const values = names.map((name, index) => `${name} ${short(each.values[index] ?? "–")}`);
      touch(line, `${each.label}: ${values.join(", ")}`, each.href, say);
      svg.append(line);
    }
    names.forEach((name, index) => {
      svg.append(node("line", { class: "axis", x1: x(index), x2: x(index), y1: top, y2: height - bottom }));
      const parts = name.split(".");
      const last = parts.pop();
      svg.append(node("text", { x: x(index), y: 16, "text-anchor": "middle" }, parts.join(".").slice(-18)));
      svg.append(node("text", { class: "title", x: x(index), y: 32, "text-anchor": "middle" }, last.length > 18 ? last.slice(0, 17) + "…" : last));
      for (const [share, label] of scales[index].ticks) svg.append(node("text", { x: x(index) + 6, y: y(share) + 4 }, label));
    });
    return svg;
  };
  return { scatter, parallel };
})();
