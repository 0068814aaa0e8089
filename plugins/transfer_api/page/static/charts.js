// Charts: lines over time by uPlot, where it is installed; bars and small trends out of plain elements.

import { element } from "./dom.js";
import { count, seconds } from "./words.js";

// A canvas knows no `var()` nor `light-dark()`: the browser works them out for an element.
function colour(name) {
  const probe = element("span", {});
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const HEIGHT = 180;
const COLOURS = ["--line", "--line-two"];

export function chart(title, times, series, words) {
  const plot = element("div", { class: "plot", role: "img", "aria-label": `${title}: the table below has the numbers` });
  const figure = element("figure", {}, element("figcaption", {}, title), plot);
  return { figure, draw: () => drawLines(plot, times, series, words) };
}

function drawLines(plot, times, series, words) {
  if (!window.uPlot) {
    plot.replaceChildren(element("p", { class: "quiet" }, "Charts are not installed; see the tables."));
    return;
  }
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--edge"), width: 1 }, ticks: { show: false } };
  const options = {
    width: plot.clientWidth || 320,
    height: HEIGHT,
    legend: { live: false, show: series.length > 1 },
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (self, low, high) => [0, (high || 1) * 1.05] } },
    axes: [axis, { ...axis, size: 72, values: (self, ticks) => ticks.map((tick) => words(tick)) }],
    series: [{}, ...series.map(([label], place) => ({
      label,
      stroke: colour(COLOURS[place]),
      fill: place === 0 ? colour("--fill") : undefined,
      width: 2,
      spanGaps: true,
      points: { show: times.length < 40, size: 5 },
    }))],
  };
  const made = new window.uPlot(options, [times, ...series.map(([, values]) => values)], plot);
  new ResizeObserver(() => {
    if (plot.isConnected && plot.clientWidth) made.setSize({ width: plot.clientWidth, height: HEIGHT });
  }).observe(plot);
}

export function bars(title, pairs) {
  if (pairs.length === 0) return element("p", { class: "quiet" }, "Nothing.");
  const most = Math.max(...pairs.map(([, value]) => value));
  return element("table", { class: "bars" }, element("caption", { class: "hidden" }, title),
    element("tbody", {}, pairs.map(([name, value]) => element("tr", {},
      element("th", { scope: "row" }, name),
      element("td", {}, bar(value / most)),
      element("td", { class: "number" }, count(value))))));
}

function bar(part) {
  const made = element("div", { class: "bar" });
  made.style.width = `${Math.max(part * 12, 0.2)}rem`;
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

// One bar for each run, as high as it took long, in the colour of its outcome.
export function sparkline(runs) {
  if (runs.length === 0) return "";
  const longest = Math.max(...runs.map((run) => run.duration_seconds ?? 0), 1);
  const picture = document.createElementNS(SVG, "svg");
  const words = runs.map((run) => `${run.outcome} ${seconds(run.duration_seconds)}`.trim()).join(", ");
  const attributes = { class: "spark", viewBox: "0 0 120 24", width: "120", height: "24", role: "img", "aria-label": `the last runs: ${words}` };
  for (const [name, value] of Object.entries(attributes)) picture.setAttribute(name, value);
  runs.forEach((run, place) => {
    const height = 4 + 18 * ((run.duration_seconds ?? 0) / longest);
    const bar = document.createElementNS(SVG, "rect");
    const sizes = { x: String(place * 5), y: String(24 - height), width: "4", height: String(height), rx: "1", class: run.outcome };
    for (const [name, value] of Object.entries(sizes)) bar.setAttribute(name, value);
    picture.append(bar);
  });
  return picture;
}
