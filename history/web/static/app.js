// The page: its state is behind # in the address, so that back, forward and links work and no server sees it.
import { by, el, known, when } from "./dom.js";
import * as chart from "./chart.js";
import * as tables from "./table.js";

const VIEWS = {
  worst: ["Worst", () => import("./worst.js")], change: ["Change", () => import("./change.js")],
  subscriber: ["Subscriber", () => import("./subscriber.js")], map: ["Map", () => import("./map.js")],
  health: ["Health", () => import("./health.js")],
};
const ORDER = Object.keys(VIEWS);
const HOUR = 3_600_000;
const RANGES = { "1h": ["last hour", HOUR], "6h": ["last 6 h", 6 * HOUR], "24h": ["last 24 h", 24 * HOUR], "7d": ["last 7 days", 168 * HOUR], "30d": ["last 30 days", 720 * HOUR] };
const FILTERS = { app_class: "Class", app: "Application", gnb: "gNB", slice: "Slice", dnn: "Data network", nf: "Function" };
const KEYS = [
  ["1 … 5", "views: worst, change, subscriber, map, health"], ["j  k", "next, previous row"], ["Enter", "open the row"],
  ["/", "find in the table; Enter opens a subscriber by whole name"], ["f", "filters"], ["b", "worst: rank by the next column"],
  ["[  ]", "shorter, longer range"], ["m", "show or mask names of subscribers"], ["r", "read anew"], ["Escape", "leave, or go back"], ["?", "these keys"],
];
const EVERY_MS = 60_000; // files are closed about once a minute

let overview = null;
let shown = false; // names of subscribers; never kept
let asking = null;

function read() {
  const [path, words] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: VIEWS[path] ? path : ORDER[0], ...Object.fromEntries(new URLSearchParams(words ?? "")) };
}

function write(state) {
  const { view, ...words } = state;
  const given = Object.entries(words).filter(([, v]) => known(v) && v !== "");
  return `#/${view}?${new URLSearchParams(given)}`;
}

// What belongs to one view is left behind with it; range and filters stay.
function go(view, more = {}) {
  const old = read();
  const kept = Object.fromEntries(Object.entries(old).filter(([name]) => name in FILTERS || ["range", "since", "until"].includes(name) || (view === old.view && name !== "limit") || (name === "name" && view === "subscriber")));
  const next = write({ ...kept, ...more, view });
  if (next === location.hash) draw(); else location.hash = next;
}

function times(state) {
  if (known(state.since) && known(state.until)) return { since: state.since, until: state.until };
  const length = (RANGES[state.range] ?? RANGES["24h"])[1];
  return overview?.newest_ms ? { since: overview.newest_ms - length, until: overview.newest_ms } : {};
}

async function fetched(name, words, signal) {
  const given = Object.entries(words).filter(([, v]) => known(v) && v !== "");
  const answer = await fetch(`/api/${name}?${new URLSearchParams(given)}`, { signal, credentials: "same-origin" });
  if (answer.status === 401) { location.assign("/login"); throw new DOMException("", "AbortError"); }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error ?? "The page's program does not answer.");
  return found;
}

function say(sentence) {
  by("said").textContent = sentence;
  by("said").hidden = !sentence;
}

function tools(state) {
  by("views").replaceChildren(...ORDER.map((name, i) =>
    el("a", { href: write({ ...Object.fromEntries(Object.entries(state).filter(([k]) => k in FILTERS || ["range", "since", "until"].includes(k))), view: name, name: name === "subscriber" ? state.name : null }), "aria-current": name === state.view ? "page" : null }, el("kbd", {}, i + 1), VIEWS[name][0])));
  const own = known(state.since);
  by("range").replaceChildren(...Object.entries(RANGES).map(([key, [text]]) => el("option", { value: key, selected: !own && key === (state.range ?? "24h") }, text)),
    own ? el("option", { value: "", selected: true }, `${when(Number(state.since))} – ${when(Number(state.until))}`) : "");
  const set = Object.keys(FILTERS).filter((name) => state[name]);
  by("narrow").textContent = set.length ? `Filters (${set.length})` : "Filters";
  by("chips").replaceChildren(...set.map((name) => el("button", { type: "button", class: "chip", title: "Take this filter away", onclick: () => go(state.view, { [name]: "" }) }, `${FILTERS[name]}: ${state[name]}`, el("span", { "aria-hidden": "true" }, "×"))));
  by("names").textContent = shown ? "Mask names" : "Show names";
  by("names").setAttribute("aria-pressed", String(shown));
}

function filters(state) {
  const names = overview?.names ?? {};
  by("filters").replaceChildren(...Object.entries(FILTERS).map(([name, title]) => {
    const list = names[name] ?? [];
    const set = (e) => go(read().view, { [name]: e.target.value });
    const input = list.length <= 30
      ? el("select", { name, onchange: set }, el("option", { value: "" }, "all"), [...new Set([...list, ...(state[name] ? [state[name]] : [])])].map((v) => el("option", { value: v, selected: v === state[name] }, v)))
      : [el("input", { name, list: `of-${name}`, value: state[name] ?? "", placeholder: "all", onchange: set }), el("datalist", { id: `of-${name}` }, list.slice(0, 500).map((v) => el("option", { value: v })))];
    return el("label", {}, title, " ", input);
  }), el("button", { type: "button", onclick: () => go(read().view, Object.fromEntries(Object.keys(FILTERS).map((n) => [n, ""]))) }, "All"));
}

function foot(state) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const range = times(state);
  by("foot").replaceChildren(
    el("span", {}, known(range.since) ? `${when(Number(range.since))} to ${when(Number(range.until))}, times in ${zone}` : ""),
    el("span", {}, `read ${when(Date.now(), true)}`),
    overview?.gaps ? el("a", { href: write({ view: "health" }) }, overview.gaps === 1 ? "1 gap in this range" : `${overview.gaps} gaps in this range`) : "",
    overview?.login ? el("form", { method: "post", action: "/logout" }, el("button", { type: "submit" }, "Log out")) : "");
}

async function draw(quiet = false) {
  const state = read();
  asking?.abort();
  const mine = (asking = new AbortController());
  by("main").setAttribute("aria-busy", "true");
  tools(state);
  try {
    const [module, latest] = await Promise.all([VIEWS[state.view][1](), fetched("overview", overview ? times(state) : {}, mine.signal)]);
    const moved = overview?.newest_ms !== latest.newest_ms;
    overview = latest;
    filters(state);
    if (latest.newest_ms === null) {
      by("main").replaceChildren(el("p", { class: "sum" }, "There are no facts in this folder yet: snf collect writes them, and the page reads them within a minute or two."));
      say("");
      return;
    }
    if (quiet && !moved) return;
    const only = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, state[name]]));
    const page = {
      state, go,
      ask: (name, words = {}) => fetched(name, { ...times(state), ...only, ...words, names: shown ? "shown" : null }, mine.signal),
      zoom: (since, until) => go(state.view, { since: Math.floor(since / 60_000) * 60_000, until: Math.ceil(until / 60_000) * 60_000, range: "" }),
    };
    chart.clear();
    tables.forget();
    const parts = await module.show(page);
    if (mine !== asking) return; // somebody asked for something else meanwhile
    by("main").replaceChildren(...parts.filter((p) => p !== ""));
    tables.find(by("find").value);
    foot(state);
    say("");
    document.title = `${VIEWS[state.view][0]} · SuperNetflow`;
  } catch (error) {
    if (error.name === "AbortError") return;
    by("main").replaceChildren();
    say(error instanceof TypeError && /fetch/i.test(error.message) ? "The page's program does not answer. Is snf web running?" : error.message);
  } finally {
    if (mine === asking) by("main").setAttribute("aria-busy", "false");
  }
}

function toggle(open = by("filters").hidden) {
  by("filters").hidden = !open;
  by("narrow").setAttribute("aria-expanded", String(open));
  if (open) by("filters").querySelector("select, input")?.focus();
}

function names() {
  shown = !shown;
  draw();
}

function longer(step) {
  const list = Object.keys(RANGES);
  const at = list.indexOf(read().range ?? "24h");
  go(read().view, { range: list[Math.max(0, Math.min(list.length - 1, (at < 0 ? 2 : at) + step))], since: "", until: "" });
}

async function rank() {
  const { groups } = await VIEWS.worst[1]();
  const state = read();
  go("worst", { by: state.view === "worst" ? groups[(Math.max(groups.indexOf(state.by), 0) + 1) % groups.length] : groups[0] });
}

const KEY = {
  j: () => tables.walk(1), k: () => tables.walk(-1), ArrowDown: () => tables.walk(1), ArrowUp: () => tables.walk(-1), Enter: () => tables.enter(),
  "/": () => by("find").focus(), f: () => toggle(), b: rank, "[": () => longer(-1), "]": () => longer(1), m: names, r: () => draw(),
  "?": () => by("keys").showModal(), Escape: () => (by("filters").hidden ? read().view !== ORDER[0] && history.back() : toggle(false)),
};
ORDER.forEach((name, i) => { KEY[String(i + 1)] = () => go(name); });

document.addEventListener("keydown", (event) => {
  const inside = event.target.closest?.("input, select, textarea, dialog");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (inside) {
    if (event.key === "Escape" && !event.target.closest("dialog")) { event.target.blur(); by("main").focus(); }
    return;
  }
  if (event.key === "Enter" && event.target.closest?.("a, button")) return;
  if (KEY[event.key]) { event.preventDefault(); KEY[event.key](); }
});

by("find").addEventListener("input", (e) => tables.find(e.target.value));
by("find").addEventListener("keydown", (e) => {
  const text = e.target.value.trim();
  if (e.key !== "Enter") return;
  e.target.blur();
  if (/^((ue|teid|line)-)?[0-9a-f]{32}$/.test(text)) { e.target.value = ""; go("subscriber", { name: text }); } else { tables.walk(1); by("main").focus(); }
});
by("range").addEventListener("change", (e) => e.target.value && go(read().view, { range: e.target.value, since: "", until: "" }));
by("narrow").addEventListener("click", () => toggle());
by("names").addEventListener("click", names);
by("help").addEventListener("click", () => by("keys").showModal());
by("filters").addEventListener("submit", (e) => e.preventDefault());
by("keys").append(el("h2", {}, "Keys"), el("dl", {}, KEYS.map(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)])), el("form", { method: "dialog" }, el("button", {}, "Close")));
window.addEventListener("hashchange", (event) => {
  if (new URL(event.oldURL).hash.split("?")[0] !== location.hash.split("?")[0]) by("find").value = ""; // it was for another table
  draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
// A view that is on its way is not stopped for a look at whether there is something new.
setInterval(() => { if (!document.hidden && !known(read().since) && by("main").getAttribute("aria-busy") !== "true") draw(true); }, EVERY_MS);
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => draw()); else draw();
