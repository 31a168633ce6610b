// View 1: who, or what, had the worst experience; all of it as a line above.
import { bytes, count, el, ms, score, share, suspect } from "./dom.js";
import { chart } from "./chart.js";
import { table } from "./table.js";

const GROUPS = { subscriber: "Subscribers", app: "Applications", gnb: "gNBs", slice: "Slices" };
export const groups = Object.keys(GROUPS);

export const experience = [
  { title: "Score", hint: "Mean score, 1 (bad) to 5 (excellent)", sort: (r) => r.score, cell: (r) => score(r.score), class: "scored" },
  { title: "Bad", num: true, hint: "Share of the records with a score below 3", sort: (r) => r.bad_share, cell: (r) => share(r.bad_share) },
  { title: "Suspect", hint: "Where scores were lost most often, and its share of all that have a suspect", sort: (r) => r.suspect, find: (r) => r.suspect, cell: (r) => suspect(r.suspect, r.suspect ? r.suspect_share : null) },
  { title: "Access", num: true, rank: 1, hint: "Round trip between probe and UE: N3, radio, device", sort: (r) => r.rtt_access_ms, cell: (r) => ms(r.rtt_access_ms) },
  { title: "Core", num: true, rank: 2, hint: "Round trip between probe and server", sort: (r) => r.rtt_core_ms, cell: (r) => ms(r.rtt_core_ms) },
  { title: "Loss ↓", num: true, rank: 2, hint: "Towards the UE", sort: (r) => r.loss_dl, cell: (r) => share(r.loss_dl) },
  { title: "Data", num: true, rank: 1, hint: "Both directions", sort: (r) => r.bytes, cell: (r) => bytes(r.bytes) },
];
const people = { title: "Subscribers", num: true, rank: 2, hint: "With traffic in the range", sort: (r) => r.subscribers, cell: (r) => count(r.subscribers) };
const scored = { title: "Records", num: true, rank: 3, hint: "With a score", sort: (r) => r.scored, cell: (r) => count(r.scored) };

export async function show(page) {
  const by = groups.includes(page.state.by) ? page.state.by : groups[0];
  const found = await page.ask("worst", { by, limit: page.state.limit });
  const single = GROUPS[by].replace(/s$/, "");
  const open = (row) =>
    by === "subscriber" ? page.go("subscriber", { name: row.handle }) : page.go("worst", { [by]: row.value, by: "subscriber" });
  const tabs = el("div", { class: "choose", role: "group", "aria-label": "Ranked" }, groups.map((name) =>
    el("button", { type: "button", "aria-pressed": String(name === by), onclick: () => page.go("worst", { by: name }) }, GROUPS[name])));
  const line = found.line.length > 1
    ? chart({
      title: "Mean score of all", rows: found.line, series: [{ label: "Score", key: "score", colour: "accent" }], format: (v) => v.toFixed(2),
      range: (_, low, high) => [Math.max(1, Math.min(low ?? 1, 3) - 0.1), Math.min(5, Math.max(high ?? 5, 4) + 0.1)],
      zoom: page.zoom, from: found.since_ms, until: found.until_ms,
    })
    : "";
  const rows = found.rows.map((row, i) => ({ ...row, place: i + 1 }));
  const listed = table({
    id: "worst", rows, open,
    caption: `${GROUPS[by]} with the worst mean score first${rows.length >= (page.state.limit ?? 100) ? `, the first ${rows.length}` : ""}`,
    empty: "Nothing has ten scores in this range, which it needs to be judged. Choose a longer one, or fewer filters.",
    columns: [
      { title: "#", num: true, rank: 1, cell: (r) => String(r.place), class: "muted" },
      { title: single, sort: (r) => r.value, find: (r) => r.value, cell: (r) => el("span", { class: "name", title: r.value }, r.value), class: "named" },
      ...experience, ...(by === "subscriber" ? [] : [people]), scored,
    ],
  });
  const more = rows.length >= (page.state.limit ?? 100) && rows.length < 1000
    ? el("button", { type: "button", class: "more", onclick: () => page.go("worst", { limit: 1000 }) }, "Show up to 1,000")
    : "";
  return [tabs, line, listed, more];
}
