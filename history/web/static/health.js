// View 5: functions, as their last heartbeat tells of them, and what is missing from the history.
import { count, el, known, meter, share, span, when } from "./dom.js";
import { table } from "./table.js";

const DEAD_MS = 60_000; // files are closed once a minute; a heartbeat that is younger may not be in one yet

const zero = (v) => (known(v) ? el("span", { class: v ? "notice" : "" }, count(v)) : "–");
const fill = (used, room) => (known(used) && room ? meter(used / room) : "–");

export async function show(page) {
  const found = await page.ask("health");
  const age = (f) => found.now_ms - f.t_ms;
  const state = (f) => (age(f) > 5 * DEAD_MS ? `silent for ${span(age(f))}` : "alive");
  const functions = table({
    id: "health", rows: found.functions, cards: true, caption: "Functions, at their last heartbeat", empty: "No heartbeat was heard in this range.",
    open: (f) => page.go("worst", { nf: f.nf }),
    columns: [
      { title: "Function", sort: (f) => f.nf, find: (f) => f.nf, cell: (f) => el("span", { class: "name" }, f.nf), class: "named" },
      { title: "State", sort: age, cell: (f) => el("span", { class: `state ${state(f).split(" ")[0]}` }, state(f)) },
      { title: "Heartbeat", sort: (f) => f.t_ms, cell: (f) => when(f.t_ms, true) },
      { title: "Up for", num: true, sort: (f) => f.uptime_ms, cell: (f) => span(f.uptime_ms) },
      { title: "Sessions", num: true, sort: (f) => f.sessions, cell: (f) => count(f.sessions) },
      { title: "Flow table", num: true, sort: (f) => f.flows / f.flow_room, cell: (f) => fill(f.flows, f.flow_room) },
      { title: "Session table", num: true, rank: 3, sort: (f) => f.sessions / f.session_room, cell: (f) => fill(f.sessions, f.session_room) },
      { title: "Drops", num: true, hint: "Received by devices and dropped while ports were on them", sort: (f) => f.dropped_frames, cell: (f) => zero(f.dropped_frames) },
      { title: "Ring lost", num: true, hint: "Payloads and ends of flows that found their ring full", sort: (f) => f.ring_lost, cell: (f) => zero(f.ring_lost) },
      { title: "Bus drops", num: true, hint: "Before the bus: its queue was full", sort: (f) => f.dropped_messages, cell: (f) => zero(f.dropped_messages) },
      { title: "No owner", num: true, hint: "Bytes of records whose subscriber nobody told", sort: (f) => f.unowned_bytes / f.recorded_bytes, cell: (f) => (f.recorded_bytes ? share(f.unowned_bytes / f.recorded_bytes) : "–") },
      { title: "Gaps", num: true, hint: "In the range, and messages that are missing", sort: (f) => f.gaps, cell: (f) => (f.gaps ? el("span", { class: "notice" }, `${count(f.gaps)} · ${count(f.missing)} lost`) : "0") },
    ],
  });
  const unread = found.functions.filter((f) => f.not_read);
  return [
    functions,
    unread.length ? el("ul", { class: "told" }, unread.map((f) => el("li", {}, el("b", {}, f.nf), ": ", f.not_read))) : "",
    found.wrong_tokens ? el("p", { class: "notice" }, `${count(found.wrong_tokens)} wrong tokens were shown to this page since it was started.`) : "",
    table({
      id: "gaps", rows: found.gaps, main: false, caption: "What is missing from this range", empty: "Nothing is missing.",
      columns: [
        { title: "Noticed", sort: (g) => g.t_ms, cell: (g) => when(g.t_ms, true) },
        { title: "Function", sort: (g) => g.nf, cell: (g) => g.nf },
        { title: "Why", sort: (g) => g.why, cell: (g) => g.why },
        { title: "Messages", num: true, sort: (g) => g.messages, cell: (g) => (g.messages ? count(g.messages) : "not known") },
        { title: "Length", num: true, rank: 1, sort: (g) => g.until_ms - g.since_ms, cell: (g) => span(g.until_ms - g.since_ms) },
        { title: "Topic", rank: 2, cell: (g) => g.topic },
      ],
    }),
  ];
}
