// A table that sorts by its heads, drops columns by rank where it is narrow, and is walked by j, k and Enter.
import { el, known } from "./dom.js";

let current = null; // the table that keys walk through

export const walk = (step) => current?.move(step);
export const enter = () => current?.enter();
export const find = (text) => current?.find(text);
export const forget = () => { current = null; };

export function table({ columns, rows, open, caption, empty, id, main = true, cards = false }) {
  let shown = rows.slice();
  let sorted = null;
  let down = false;
  let at = -1;
  let wanted = "";
  const body = el("tbody");
  const heads = columns.map((column, i) =>
    el("th", { scope: "col", class: `${column.num ? "num " : ""}rank-${column.rank ?? 0}`, title: column.hint },
      column.sort ? el("button", { type: "button", onclick: () => sort(i) }, column.title) : column.title));

  function sort(i) {
    down = sorted === i ? !down : Boolean(columns[i].num);
    sorted = i;
    const { sort: value } = columns[i];
    rows = rows.slice().sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!known(x) || !known(y)) return Number(!known(x)) - Number(!known(y));
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    heads.forEach((head, n) => (n === i ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    draw();
  }

  function draw() {
    shown = rows.filter((row) => !wanted || columns.some((c) => c.find && String(c.find(row)).toLowerCase().includes(wanted)));
    body.replaceChildren(...shown.map((row, n) =>
      el("tr", { class: open ? "opens" : "", onclick: () => { mark(n, false); open?.(row); } },
        columns.map((c) => el("td", { class: `${c.num ? "num " : ""}rank-${c.rank ?? 0} ${c.class ?? ""}`, "data-label": c.title }, c.cell(row))))));
    if (!shown.length) {
      const none = rows.length ? `Nothing matches “${wanted}”.` : empty ?? "There is nothing in this range.";
      body.append(el("tr", { class: "none" }, el("td", { colspan: columns.length }, none)));
    }
    at = -1;
  }

  function mark(n, scroll = true) {
    body.children[at]?.classList.remove("at");
    at = Math.max(0, Math.min(n, shown.length - 1));
    const row = shown.length ? body.children[at] : null;
    row?.classList.add("at");
    if (scroll) row?.scrollIntoView({ block: "nearest" });
  }

  draw();
  if (main) {
    current = {
      move: (step) => mark(at < 0 ? (step > 0 ? 0 : shown.length - 1) : at + step),
      enter: () => { if (at >= 0 && shown[at]) open?.(shown[at]); },
      find: (text) => { wanted = text.trim().toLowerCase(); draw(); },
    };
  }
  return el("div", { class: "scroll" }, el("table", { id, class: cards ? "cards" : "" },
    caption ? el("caption", {}, caption) : "", el("thead", {}, el("tr", {}, heads)), body));
}
