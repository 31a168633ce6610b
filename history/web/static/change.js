// View 2: what happened to scores at a change of the network.
import { count, el, fixed, known, local, score, svg, when } from "./dom.js";
import { table } from "./table.js";

const DIMENSIONS = { app: "Application", gnb: "gNB", dnn: "Data network", slice: "Slice" };
const REACHES = { 1: "1 day", 3: "3 days", 7: "7 days", 14: "14 days", 28: "28 days" };

const verdict = (e) => (e.found ? (e.effect > 0 ? "better" : "worse") : known(e.low) ? "no difference" : "too few");

// The interval of confidence, on one scale for all rows; the dashed line is no difference.
function interval(effect, most) {
  const x = (v) => 50 + (Math.max(-most, Math.min(most, v)) / most) * 46;
  const kind = effect.found ? (effect.effect > 0 ? "better" : "worse") : "unsure";
  return svg("svg", { class: `interval ${kind}`, viewBox: "0 0 100 14", role: "img", "aria-label": `${fixed(effect.low)} to ${fixed(effect.high)}` },
    svg("line", { class: "zero", x1: 50, x2: 50, y1: 0, y2: 14 }),
    known(effect.low) ? svg("line", { class: "reach", x1: x(effect.low), x2: x(effect.high), y1: 7, y2: 7 }) : "",
    svg("circle", { cx: x(effect.effect), cy: 7, r: 3 }));
}

const signed = (v) => {
  if (!known(v)) return "–";
  const text = Math.abs(v).toFixed(2);
  return text === "0.00" ? "0.00" : `${v > 0 ? "+" : "−"}${text}`;
};

function scope(mark) {
  const told = Object.keys(DIMENSIONS).filter((name) => mark[name]).map((name) => `${DIMENSIONS[name]} ${mark[name]}`);
  return told.length ? ` (${told.join(", ")})` : "";
}

export async function show(page) {
  const days = REACHES[page.state.days] ? page.state.days : "1";
  const found = await page.ask("change", { at: page.state.at, days });
  const marks = el("select", { id: "mark", onchange: (e) => page.go("change", { at: e.target.value }) },
    found.marks.map((m) => el("option", { value: m.t_ms, selected: m.t_ms === found.at_ms }, `${when(m.t_ms)}  ${m.text}${scope(m)}`)),
    found.at_ms && !found.marks.some((m) => m.t_ms === found.at_ms) ? el("option", { value: found.at_ms, selected: true }, `${when(found.at_ms)}  (no mark)`) : "");
  const time = el("input", { type: "datetime-local", value: known(found.at_ms) ? local(found.at_ms) : "", onchange: (e) => {
    const t = new Date(e.target.value).getTime();
    if (known(t)) page.go("change", { at: t });
  } });
  const reach = el("select", { onchange: (e) => page.go("change", { days: e.target.value }) },
    Object.entries(REACHES).map(([value, text]) => el("option", { value, selected: value === days }, text)));
  const form = el("div", { class: "row" },
    found.marks.length || found.at_ms ? el("label", { class: "wide" }, "Mark ", marks) : el("p", {}, "Nobody marked a change. Run: snf mark TEXT. Or choose a time:"),
    el("label", {}, "or at ", time), el("label", {}, "each side ", reach));
  if (!known(found.at_ms)) return [form];
  const told = found.effects.filter((e) => e.found).length;
  const most = Math.max(0.2, ...found.effects.flatMap((e) => [Math.abs(e.effect), Math.abs(e.low ?? 0), Math.abs(e.high ?? 0)]));
  return [form,
    el("p", { class: "sum", id: "sum" }, found.effects.length
      ? `${told ? `${told} of ${found.effects.length}` : `None of ${found.effects.length}`} groups differ. The same subscribers before and after ${when(found.at_ms)}, at the same hours; the intervals hold for all groups together with 99 %.`
      : "No subscriber has scores on both sides. Choose more days, or fewer filters."),
    table({
      id: "change", rows: found.effects, empty: "There is nothing to compare.",
      columns: [
        { title: "Of", rank: 1, sort: (e) => e.dimension, cell: (e) => DIMENSIONS[e.dimension], class: "muted" },
        { title: "Name", sort: (e) => e.value, find: (e) => e.value, cell: (e) => el("span", { class: "name", title: e.value }, e.value), class: "named" },
        { title: "Before", rank: 1, sort: (e) => e.before, cell: (e) => score(e.before), class: "scored" },
        { title: "After", sort: (e) => e.after, cell: (e) => score(e.after), class: "scored" },
        { title: "Effect", num: true, sort: (e) => e.effect, cell: (e) => signed(e.effect) },
        { title: "Interval", rank: 2, hint: "Interval of confidence of the effect", cell: (e) => el("span", { title: known(e.low) ? `${signed(e.low)} … ${signed(e.high)}` : "" }, interval(e, most)) },
        { title: "Finding", sort: verdict, cell: (e) => el("span", { class: `finding ${verdict(e).split(" ")[0]}` }, verdict(e)) },
        { title: "Subscribers", num: true, rank: 2, sort: (e) => e.subscribers, cell: (e) => count(e.subscribers) },
      ],
    })];
}
