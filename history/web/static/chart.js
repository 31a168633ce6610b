// Lines over time by uPlot; charts of one view share their cursor, and a range drawn with the pointer is zoomed to.
import { colour, el, known } from "./dom.js";

const FONT = "11px system-ui, sans-serif";
const drawn = new Set();

export function clear() {
  for (const chart of drawn) { chart.watch.disconnect(); chart.plot.destroy(); }
  drawn.clear();
}

// A line is broken where more than two of its usual distances have nothing.
function broken(rows, keys) {
  const t = rows.map((row) => row.t / 1000);
  const apart = t.slice(1).map((x, i) => x - t[i]).sort((a, b) => a - b);
  const usual = apart[apart.length >> 1] ?? 0;
  const columns = [[], ...keys.map(() => [])];
  rows.forEach((row, i) => {
    if (i && t[i] - t[i - 1] > 2.5 * usual) [t[i - 1] + usual, ...keys.map(() => null)].forEach((v, n) => columns[n].push(v));
    [t[i], ...keys.map((key) => (typeof key === "function" ? key(row) : row[key]))].forEach((v, n) => columns[n].push(known(v) ? v : null));
  });
  return columns;
}

const STAMP = "{YYYY}-{MM}-{DD} {HH}:{mm}";
const hours = [
  [86400 * 300, "{YYYY}", null, null, null, null, null, null, 1],
  [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86400, "{DD} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [3600, "{HH}:{mm}", "\n{DD} {MMM}", null, "\n{DD} {MMM}", null, null, null, 1],
  [60, "{HH}:{mm}", "\n{DD} {MMM}", null, "\n{DD} {MMM}", null, null, null, 1],
];

export function chart({ title, rows, series, format, range, height = 110, zoom, lines = [], from, until }) {
  const place = el("div", { class: "plot" });
  const [ink, grid] = [colour("muted"), colour("line")];
  const data = broken(rows, series.map((s) => s.key));
  const options = {
    width: 300,
    height,
    padding: [8, 20, 0, 0], // half of a time is beyond the last mark
    cursor: { sync: { key: "page" }, y: false, drag: { x: Boolean(zoom), y: false, setScale: false }, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { time: true, range: () => [from / 1000, until / 1000] }, y: { range } },
    axes: [
      { stroke: ink, font: FONT, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 32, gap: 4, values: hours, space: 64 },
      { stroke: ink, font: FONT, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: 64, gap: 4, space: 26,
        values: (_, marks) => marks.map((v) => (known(v) ? format(v) : "")) },
    ],
    series: [
      { label: "Time", value: STAMP },
      ...series.map((s) => ({
        label: s.label, stroke: colour(s.colour), width: 1.5, fill: s.fill ? `${colour(s.colour)}33` : undefined, dash: s.dash,
        points: { show: data[0].length < 60, size: 4, fill: colour(s.colour) }, value: (_, v) => (known(v) ? format(v) : "–"),
      })),
    ],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width > 8) zoom(Math.round(u.posToVal(u.select.left, "x") * 1000), Math.round(u.posToVal(u.select.left + u.select.width, "x") * 1000));
      }],
      draw: [(u) => {
        u.ctx.save();
        u.ctx.strokeStyle = colour("accent");
        u.ctx.setLineDash([4, 4]);
        for (const t of lines) {
          const x = u.valToPos(t / 1000, "x", true);
          if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
          u.ctx.beginPath();
          u.ctx.moveTo(x, u.bbox.top);
          u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
          u.ctx.stroke();
        }
        u.ctx.restore();
      }],
    },
  };
  if (!zoom) delete options.hooks.setSelect;
  const plot = new window.uPlot(options, data, place);
  const watch = new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== plot.width) plot.setSize({ width, height });
  });
  watch.observe(place);
  drawn.add({ plot, watch });
  return el("figure", { class: "chart" }, el("figcaption", {}, title), place);
}
