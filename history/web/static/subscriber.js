// View 3: one subscriber from his score to what it is made from.
import { SUSPECTS, bytes, el, fixed, known, ms, rate, score, share, span, suspect, svg, when } from "./dom.js";
import { chart } from "./chart.js";
import { table } from "./table.js";
import { experience } from "./worst.js";

const stalled = { title: "Stalled", num: true, rank: 2, hint: "The picture stood still: seconds together, and how often", sort: (r) => r.stalled_s, cell: (r) => (r.stalled_s ? `${span(r.stalled_s * 1000)} · ${r.stalls}×` : "–") };
const level = { title: "Level", num: true, rank: 3, hint: "Mean level of the picture", sort: (r) => r.video_height, cell: (r) => (known(r.video_height) ? `${fixed(r.video_height, 0)}p` : "–") };

const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

// Suspects over time: a strip of words' colours, with the words beside it.
function strip(rows, since, until, step) {
  const x = (t) => ((t - since) / (until - since)) * 1000;
  const seen = [...new Set(rows.map((r) => r.suspect).filter(Boolean))];
  if (!seen.length) return "";
  const usual = Math.max(step, ...rows.slice(1).map((r, i) => r.t - rows[i].t).sort((a, b) => a - b).slice(0, 1));
  return el("figure", { class: "chart" }, el("figcaption", {}, "Suspect of bad scores"),
    svg("svg", { class: "strip", viewBox: "0 0 1000 14", preserveAspectRatio: "none", role: "img", "aria-label": `Suspects: ${seen.join(", ")}` },
      rows.filter((r) => r.suspect).map((r) =>
        svg("rect", { class: `side-${r.suspect}`, x: x(r.t), y: 0, width: Math.max((usual / (until - since)) * 1000, 2), height: 14 },
          svg("title", {}, `${when(r.t)}  ${r.suspect}, ${share(r.suspect_share)} of the suspects`)))),
    el("p", { class: "legend" }, seen.map((name) => el("span", {}, el("i", { class: `key side-${name}` }), `${name}: ${SUSPECTS[name] ?? ""}`))));
}

const VALUES = { delay: "ms", variation: "ms", jitter: "ms", spikes: "ms", "radio delay": "ms", wait: "ms", silence: "s", level: "p", frames: "fps", echo: "ms", neighbours: "ms" };
function evidence(row) {
  if (!row.suspect_by) return "";
  const value = row.suspect_by === "loss" ? share(row.suspect_value) : known(row.suspect_value) ? `${fixed(row.suspect_value, 0)} ${VALUES[row.suspect_by] ?? ""}` : "";
  return `${row.suspect_by} ${value}`.trim();
}

const intervals = (rows) => table({
  id: "intervals", rows, main: false, caption: "Worst intervals, with their evidence",
  columns: [
    { title: "Time", sort: (r) => r.t_ms, cell: (r) => when(r.t_ms, true) },
    { title: "Application", rank: 1, sort: (r) => r.app, cell: (r) => el("span", { class: "name" }, r.app || r.app_class) },
    { title: "Score", sort: (r) => r.mos, cell: (r) => score(r.mos), class: "scored" },
    { title: "Suspect", sort: (r) => r.suspect, cell: (r) => suspect(r.suspect === "unknown" ? "" : r.suspect) },
    { title: "Evidence", rank: 1, hint: "The measure that convicted, and its value", sort: (r) => r.suspect_by, cell: evidence },
    { title: "Level", num: true, rank: 2, cell: (r) => (known(r.video_height) ? `${fixed(r.video_height, 0)}p` : "–") },
    { title: "Stalled", num: true, rank: 2, cell: (r) => (r.stalled_s || r.frozen_s ? `${fixed((r.stalled_s ?? 0) + (r.frozen_s ?? 0), 1)} s` : "–") },
    { title: "Access", num: true, rank: 2, cell: (r) => ms(r.rtt_access_ms) },
    { title: "Core", num: true, rank: 3, cell: (r) => ms(r.rtt_core_ms) },
    { title: "Loss ↓", num: true, rank: 3, cell: (r) => share(r.loss_dl) },
    { title: "Down", num: true, rank: 3, cell: (r) => rate((r.dl_bytes * 8000) / r.interval_ms) },
    { title: "gNB", rank: 3, cell: (r) => r.gnb },
  ],
});

// The question of snf query, where single records are kept no more.
const spans = (rows) => table({
  id: "spans", rows, main: false, caption: "Spans, the newest first",
  columns: [
    { title: "Time", sort: (r) => r.t_ms, cell: (r) => when(r.t_ms) },
    { title: "Application", sort: (r) => r.app, cell: (r) => el("span", { class: "name", title: r.app }, r.app || r.app_class) },
    { title: "Score", sort: (r) => r.score, cell: (r) => score(r.score), class: "scored" },
    { title: "Suspect", rank: 1, sort: (r) => r.suspect, cell: (r) => suspect(r.suspect) },
    { title: "Stalled", num: true, rank: 2, sort: (r) => r.stalled_s, cell: (r) => (r.stalled_s ? span(r.stalled_s * 1000) : "–") },
    { title: "Access", num: true, rank: 2, sort: (r) => r.rtt_access_ms, cell: (r) => ms(r.rtt_access_ms) },
    { title: "Core", num: true, rank: 3, sort: (r) => r.rtt_core_ms, cell: (r) => ms(r.rtt_core_ms) },
    { title: "Loss ↓", num: true, rank: 3, sort: (r) => r.loss_dl, cell: (r) => share(r.loss_dl) },
    { title: "Data", num: true, rank: 2, sort: (r) => r.bytes, cell: (r) => bytes(r.bytes) },
    { title: "gNB", rank: 3, cell: (r) => r.gnb },
  ],
});

export async function show(page) {
  if (!page.state.name) {
    return [el("p", { class: "sum" }, "Choose a subscriber in the list of the worst (key 1, then j, k and Enter), or press / and type or paste a whole name and Enter.")];
  }
  const found = await page.ask("subscriber", { name: page.state.name });
  const { total, series: rows } = found;
  const line = (title, series, format, more = {}) =>
    rows.some((r) => series.some((s) => known(typeof s.key === "function" ? s.key(r) : r[s.key])))
      ? chart({ title, rows, series, format, zoom: page.zoom, from: found.since_ms, until: found.until_ms, height: 104, range: (_, low, high) => [0, (high || 1) * 1.08], ...more })
      : el("figure", { class: "chart" }, el("figcaption", {}, title), el("p", { class: "muted" }, "Not measured in this range."));
  // Rates are means over the distance of two points of the line.
  const apart = rows.length > 1 ? Math.min(...rows.slice(1).map((r, i) => r.t - rows[i].t)) : found.step_ms;
  return [
    el("h2", {}, "Subscriber ", el("span", { class: "name", id: "who" }, found.name)),
    el("dl", { class: "facts" },
      fact("Score", score(total.score)),
      fact("Bad records", share(total.bad_share)),
      fact("Suspect", suspect(total.suspect, total.suspect ? total.suspect_share : null)),
      fact("Stalled", total.stalled_s ? `${span(total.stalled_s * 1000)} · ${total.stalls}×` : "–"),
      fact("Access", ms(total.rtt_access_ms)), fact("Core", ms(total.rtt_core_ms)),
      fact("Down", bytes(total.dl_bytes)), fact("Up", bytes(total.ul_bytes)), fact("Active", span(total.active_ms))),
    el("div", { class: "charts" },
      el("div", {},
        line("Score", [{ label: "Score", key: "score", colour: "accent" }], (v) => v.toFixed(2), { range: () => [1, 5] }),
        strip(rows, found.since_ms, found.until_ms, found.step_ms)),
      line("Level of the picture", [{ label: "Level", key: "video_height", colour: "line-1" }], (v) => `${v.toFixed(0)}p`),
      line("Stalled", [{ label: "Stalled", key: "stalled_s", colour: "line-2", fill: true }], (v) => `${v.toFixed(v < 10 ? 1 : 0)} s`),
      line("Round trips", [{ label: "Access", key: "rtt_access_ms", colour: "line-2" }, { label: "Core", key: "rtt_core_ms", colour: "line-1", dash: [6, 3] }], ms),
      line("Loss", [{ label: "Down", key: "loss_dl", colour: "line-2" }, { label: "Up", key: "loss_ul", colour: "line-1", dash: [6, 3] }], share),
      line("Data", [{ label: "Down", key: (r) => (r.dl_bytes * 8000) / apart, colour: "line-2" }, { label: "Up", key: (r) => (r.ul_bytes * 8000) / apart, colour: "line-1", dash: [6, 3] }], rate)),
    table({
      id: "apps", rows: found.apps, caption: "Applications, the worst first", open: (r) => page.go("subscriber", { app: r.app, name: page.state.name }),
      columns: [
        { title: "Application", sort: (r) => r.app, find: (r) => r.app || r.app_class, cell: (r) => el("span", { class: "name", title: r.app }, r.app || "not named"), class: "named" },
        { title: "Class", rank: 2, sort: (r) => r.app_class, cell: (r) => r.app_class, class: "muted" },
        ...experience, stalled, level,
      ],
    }),
    found.intervals.length ? intervals(found.intervals) : spans(found.spans),
  ];
}
