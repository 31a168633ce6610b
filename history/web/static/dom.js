// Elements, and numbers as people read them. Text is only ever put in as text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else if (name === "vars") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== ""));
  return node;
}

export const el = (tag, props, ...children) => filled(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => filled(document.createElementNS(SVG, tag), props, children);
export const by = (id) => document.getElementById(id);

// Words of P.800 for whole scores; below 3 a record counts as bad (history/tables.py).
const WORDS = [[2, "bad"], [3, "poor"], [4, "fair"], [Infinity, "good"]];
export const word = (mos) => (known(mos) ? WORDS.find(([below]) => mos < below)[1] : "none");
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const known = (v) => v !== undefined && v !== null && !Number.isNaN(v);
const MISSING = "–";

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const count = (v) => (known(v) ? plain.format(v) : MISSING);
export const fixed = (v, digits = 2) => (known(v) ? v.toFixed(digits) : MISSING);

function scaled(v, units, base = 1000) {
  if (!known(v)) return MISSING;
  let unit = 0;
  while (Math.abs(v) >= base * 0.9995 && unit < units.length - 1) { v /= base; unit += 1; }
  const digits = unit === 0 || Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 2;
  return `${v.toFixed(digits)} ${units[unit]}`;
}
export const bytes = (v) => scaled(v, ["B", "kB", "MB", "GB", "TB", "PB"]);
export const rate = (v) => scaled(v, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
export const ms = (v) => (known(v) ? `${v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2)} ms` : MISSING);
export const share = (v) => (known(v) ? `${(v * 100).toFixed(v < 0.1 ? (v < 0.001 && v > 0 ? 2 : 1) : 0)} %` : MISSING);

export function span(milliseconds) {
  if (!known(milliseconds)) return MISSING;
  const s = Math.round(milliseconds / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const two = (n) => String(n).padStart(2, "0");
export function when(t, seconds = false) {
  if (!known(t)) return MISSING;
  const d = new Date(t);
  const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  return `${day} ${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ""}`;
}
export const local = (t) => when(t).replace(" ", "T"); // of <input type=datetime-local>

// A score is a number, a word and a bar; the colour only repeats them.
export const score = (mos) =>
  el("span", { class: `score ${word(mos)}` },
    el("b", {}, fixed(mos)),
    el("i", { class: "bar", "aria-hidden": "true" }, el("i", { vars: { "--part": known(mos) ? Math.max((mos - 1) / 4, 0.02) : 0 } })),
    el("em", {}, known(mos) ? word(mos) : ""));

export const meter = (part) =>
  el("span", { class: `meter${part >= 0.9 ? " high" : ""}` },
    el("i", { class: "bar", "aria-hidden": "true" }, el("i", { vars: { "--part": Math.min(part, 1) } })), share(part));

// What a suspect means, for whoever hovers or asks.
export const SUSPECTS = {
  access: "radio network and N3", n3: "transport between gNB and UPF", upf: "the UPF itself", core: "N6 and the way to servers",
  loss: "loss on both sides", server: "the server answers late", device: "the device", app: "the application itself",
};
export const suspect = (name, part) =>
  name
    ? el("span", { class: "suspect", title: SUSPECTS[name] ?? "" }, el("b", {}, name), known(part) ? el("em", {}, share(part)) : "")
    : el("span", { class: "muted" }, MISSING);
