// View 4: gNBs, functions beside the UPFs, data networks; load, delay, loss and score on what is between them.
import { by, bytes, el, fixed, known, ms, rate, score, share, svg, word } from "./dom.js";
import { table } from "./table.js";

const MOST = 12; // nodes of a column of the picture; the table has all ways
const PORT = 26; // height of one way with its note
const GAP = 14; // between two nodes of a column
const WIDE = { width: 1000, columns: [95, 500, 905], half: 88, letters: 17 };
const NARROW = { width: 480, columns: [76, 240, 404], half: 70, letters: 13 };
const FILTERS = ["gnb", "nf", "dnn"];

const part = (e) => e.bad_share;
const delay = (e) => (e.side === "access" ? e.rtt_access_ms : e.rtt_core_ms);
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Nodes of a column, the worst mean score first; each has a place on its sides for every way that is drawn.
function nodes(list, key) {
  const found = new Map();
  for (const e of list) {
    const node = found.get(e[key]) ?? { name: e[key], bytes: 0, sum: 0, scored: 0 };
    node.bytes += e.bytes;
    node.scored += e.scored;
    node.sum += (e.score ?? 0) * e.scored;
    found.set(e[key], node);
  }
  const nodes = [...found.values()].map((n) => ({ ...n, score: n.scored ? n.sum / n.scored : null }));
  return nodes.sort((a, b) => (a.score ?? 9) - (b.score ?? 9) || b.bytes - a.bytes);
}

function laid(list, ways, height) {
  const tall = list.map((n) => Math.max(30, ...ways.map((w) => PORT * w.filter((way) => way.at.includes(n)).length)));
  const sum = tall.reduce((a, b) => a + b, 0);
  const gap = list.length > 1 ? Math.min((height - sum) / list.length, 60) : 0;
  let y = 30 + (height - sum - gap * (list.length - 1)) / 2;
  list.forEach((n, i) => { Object.assign(n, { y, tall: tall[i] }); y += tall[i] + gap; });
}

function picture(found, seconds, page) {
  const { width, columns, half, letters } = by("main").clientWidth < 620 ? NARROW : WIDE;
  const all = [nodes(found.access, "from"), nodes(found.access, "to"), nodes(found.core, "to")];
  for (const e of found.core) if (!all[1].some((n) => n.name === e.from)) all[1].push({ name: e.from, bytes: e.bytes, score: null });
  const shown = all.map((list) => list.slice(0, MOST));
  const node = (column, name) => shown[column].find((n) => n.name === name);
  const [access, core] = [found.access, found.core].map((edges, i) =>
    edges.map((e) => ({ ...e, side: i ? "core" : "access", at: [node(i, e.from), node(i + 1, e.to)] })).filter((w) => w.at[0] && w.at[1]));
  const need = [[shown[0], [access]], [shown[1], [access, core]], [shown[2], [core]]];
  const height = Math.max(...need.map(([list, ways]) => list.reduce((sum, n) => sum + Math.max(30, ...ways.map((w) => PORT * w.filter((way) => way.at.includes(n)).length)) + GAP, 0)));
  need.forEach(([list, ways]) => laid(list, ways, height));
  const most = Math.max(...[...access, ...core].map((w) => w.bytes), 1);
  const lines = [];
  const notes = [];
  [access, core].forEach((ways, i) => {
    // Ways meet a node in the order of their other ends, so that they cross as little as can be.
    const port = (way, end) => {
      const mine = ways.filter((w) => w.at[end] === way.at[end]).sort((a, b) => a.at[1 - end].y - b.at[1 - end].y);
      return way.at[end].y + (way.at[end].tall * (mine.indexOf(way) + 0.5)) / mine.length;
    };
    for (const way of ways) {
      const [y1, y2] = [port(way, 0), port(way, 1)];
      const [x1, x2] = [columns[i] + half, columns[i + 1] - half];
      const middle = (x1 + x2) / 2;
      const load = rate((way.bytes * 8) / seconds);
      const told = `${way.from || "no gNB"} to ${way.to || "no data network"}: ${load}, ${ms(delay(way))}, loss ${share(way.loss_dl)} down, ${share(way.loss_ul)} up, score ${fixed(way.score)} ${known(way.score) ? word(way.score) : ""}`;
      lines.push(svg("path", { class: `edge ${word(way.score)}`, d: `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`, "stroke-width": (1.5 + 7 * Math.sqrt(way.bytes / most)).toFixed(1) }, svg("title", {}, told)));
      const above = (1.5 + 7 * Math.sqrt(way.bytes / most)) / 2 + 3;
      const place = i ? { x: x2 - 4, y: y2 - above, "text-anchor": "end" } : { x: x1 + 4, y: y1 - above };
      notes.push(svg("text", { class: "note", ...place }, svg("tspan", { class: "strong" }, fixed(way.score)), ` · ${ms(delay(way))} · ${share(way.loss_dl)} · ${load}`));
    }
  });
  const open = (column, name) => name && page.go("worst", { [FILTERS[column]]: name });
  const boxes = shown.flatMap((list, column) => list.map((n) => {
    const [x, y] = [columns[column] - half, n.y];
    return svg("g", { class: `node ${word(n.score)}`, tabindex: 0, role: "link", onclick: () => open(column, n.name), onkeydown: (e) => { if (e.key === "Enter") { e.stopPropagation(); open(column, n.name); } } },
      svg("title", {}, `${n.name || "not known"}: score ${fixed(n.score)}, ${bytes(n.bytes)}`),
      svg("rect", { x, y, width: 2 * half, height: n.tall, rx: 4 }),
      svg("rect", { class: "side", x, y, width: 5, height: n.tall, rx: 2 }),
      svg("text", { x: x + 12, y: y + n.tall / 2 + 4 }, cut(n.name || "not known", letters)),
      width === WIDE.width ? svg("text", { class: "value", x: x + 2 * half - 8, y: y + n.tall / 2 + 4, "text-anchor": "end" }, fixed(n.score)) : "");
  }));
  const heads = ["gNB", "function", "data network"].map((text, i) =>
    svg("text", { class: "head", x: columns[i], y: 14, "text-anchor": "middle" }, `${text}${all[i].length > MOST ? `: ${MOST} worst of ${all[i].length}` : ""}`));
  return svg("svg", { class: `map ${width === WIDE.width ? "wide" : "narrow"}`, viewBox: `0 0 ${width} ${height + 40}`, role: "img", "aria-label": "Map of gNBs, functions and data networks; the table has its numbers" }, lines, boxes, notes, heads);
}

export async function show(page) {
  const found = await page.ask("places");
  const seconds = (found.until_ms - found.since_ms) / 1000;
  const edges = [...found.access.map((e) => ({ ...e, side: "access" })), ...found.core.map((e) => ({ ...e, side: "core" }))];
  edges.sort((a, b) => (a.score ?? 9) - (b.score ?? 9));
  const open = (e) => page.go("worst", e.side === "access" ? { gnb: e.from, nf: e.to } : { nf: e.from, dnn: e.to });
  if (!edges.length) return [el("p", { class: "sum" }, "There is nothing in this range. Choose a longer one, or fewer filters.")];
  return [
    el("figure", {}, picture(found, seconds, page),
      el("figcaption", { class: "legend" }, "Beside each way: score · round trip on its side of the probe · loss towards the UE · load, which its width shows too. ",
        ["bad", "poor", "fair", "good"].map((name) => el("span", {}, el("i", { class: `key ${name}` }), name)))),
    table({
      id: "edges", rows: edges, open, caption: "Ways, the worst mean score first",
      columns: [
        { title: "From", sort: (e) => e.from, find: (e) => `${e.from} ${e.to}`, cell: (e) => el("span", { class: "name", title: e.from }, e.from || "not known"), class: "named" },
        { title: "To", sort: (e) => e.to, cell: (e) => el("span", { class: "name", title: e.to }, e.to || "not known"), class: "named" },
        { title: "Score", sort: (e) => e.score, cell: (e) => score(e.score), class: "scored" },
        { title: "Bad", num: true, rank: 2, sort: part, cell: (e) => share(part(e)) },
        { title: "Load", num: true, rank: 1, hint: "Mean over the range, both directions", sort: (e) => e.bytes, cell: (e) => rate((e.bytes * 8) / seconds) },
        { title: "Round trip", num: true, rank: 1, hint: "Between probe and UE, or probe and server", sort: delay, cell: (e) => ms(delay(e)) },
        { title: "N3", num: true, rank: 3, hint: "Probe to gNB and back, by QoS monitoring", sort: (e) => e.n3_rtt_ms, cell: (e) => (e.side === "access" ? ms(e.n3_rtt_ms) : "") },
        { title: "UPF ↓", num: true, rank: 3, hint: "From N6 to N3", sort: (e) => e.upf_dl_ms, cell: (e) => (e.side === "core" ? ms(e.upf_dl_ms) : "") },
        { title: "Loss ↓", num: true, rank: 2, sort: (e) => e.loss_dl, cell: (e) => share(e.loss_dl) },
        { title: "Loss ↑", num: true, rank: 2, sort: (e) => e.loss_ul, cell: (e) => share(e.loss_ul) },
      ],
    }),
  ];
}
