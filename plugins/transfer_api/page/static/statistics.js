// What the runs add up to, as charts and as the table behind them.

import { get } from "./api.js";
import { bars, chart } from "./charts.js";
import { element, facts, section, table } from "./dom.js";
import { bytes, count, counts, rate, seconds, share } from "./words.js";

const SPANS = [["24h", "24 hours", "hour"], ["7d", "7 days", "day"], ["30d", "30 days", "day"], ["52w", "a year", "day"]];

export async function showStatistics(query) {
  const [span, , by] = SPANS.find(([each]) => each === query.get("since")) ?? SPANS[1];
  const route = query.get("route") ?? "";
  const [time, routes] = await Promise.all([
    get("statistics", { since: span, by, route }),
    get("statistics", { since: span, by: "route" }),
  ]);
  const total = time.total;
  const charts = chartsOf(time.groups, by, time.since);
  return {
    elements: [
      section("Statistics", controls(span, route, routes.groups), facts([
        ["Runs", `${count(total.runs_total)} (${counts(present(total.runs)) || "none"})`],
        ["Success", share(total.success_rate)],
        ["Objects copied", count(total.objects_copied)],
        ["Bytes copied", bytes(total.bytes_copied)],
        ["Duration", percentiles(total.duration_seconds, seconds)],
        ["Throughput", percentiles(total.throughput_bytes_per_second, rate)],
        ["Skipped", counts(total.skipped_by_reason)],
        ["Verified by", counts(total.verified_by)],
      ])),
      element("div", { class: "charts" }, charts.map((each) => each.figure)),
      section("What went wrong",
        bars("Refused and failed objects, and retries, by cause", causes(total))),
      section(by === "hour" ? "Hours" : "Days", groupTable(time.groups, by === "hour" ? "Hour" : "Day")),
      section("Routes", groupTable(routes.groups, "Route")),
    ],
    draw: () => charts.forEach((each) => each.draw()),
  };
}

// Every day (or hour) of the period has its place: where nothing ran, nothing was copied, and nothing took any time.
function chartsOf(groups, by, since) {
  const step = by === "hour" ? 3600 : 86400;
  const byTime = new Map(groups.map((group) =>
    [Date.parse(`${group.name.replace(" ", "T")}${by === "hour" ? "Z" : "T00:00Z"}`) / 1000, group]));
  const times = [];
  for (let time = Math.floor(Date.parse(since) / 1000 / step) * step; time <= Date.now() / 1000; time += step) times.push(time);
  const sums = (pick) => times.map((time) => (byTime.has(time) ? pick(byTime.get(time)) : 0));
  const values = (pick) => times.map((time) => (byTime.has(time) ? pick(byTime.get(time)) : null));
  return [
    chart("Bytes copied", times, [["bytes", sums((each) => each.bytes_copied)]], bytes),
    chart("Objects copied", times, [["objects", sums((each) => each.objects_copied)]], count),
    chart("Throughput", times, [
      ["median", values((each) => each.throughput_bytes_per_second.p50)],
      ["95th percentile", values((each) => each.throughput_bytes_per_second.p95)],
    ], rate),
    chart("Duration of a run", times, [
      ["median", values((each) => each.duration_seconds.p50)],
      ["95th percentile", values((each) => each.duration_seconds.p95)],
    ], seconds),
    chart("Runs", times, [
      ["success", sums((each) => each.runs.success)],
      ["failed", sums((each) => each.runs.failed + each.runs.report_missing)],
    ], count),
  ];
}

function causes(total) {
  const named = (values, what) => Object.entries(values).map(([name, value]) => [`${what}: ${name}`, value]);
  const failed = total.objects_failed ? [["failed", total.objects_failed]] : [];
  const refused = Object.keys(total.refused_by_reason).length
    ? named(total.refused_by_reason, "refused")
    : total.objects_refused ? [["refused", total.objects_refused]] : [];
  const runs = [["runs failed", total.runs.failed], ["runs without a report", total.runs.report_missing]].filter(([, value]) => value);
  return [...runs, ...failed, ...refused, ...named(total.retries_by_cause, "tried again after")];
}

function controls(span, route, groups) {
  const go = (since, name) => {
    location.hash = `#/statistics?since=${since}${name ? `&route=${encodeURIComponent(name)}` : ""}`;
  };
  const spans = element("select", { "aria-label": "Period", onchange: (event) => go(event.target.value, route) },
    SPANS.map(([value, text]) => element("option", { value, selected: value === span }, text)));
  const names = [...new Set(["", route, ...groups.map((group) => group.name)])];
  const routes = element("select", { "aria-label": "Route", onchange: (event) => go(span, event.target.value) },
    names.map((name) => element("option", { value: name, selected: name === route }, name || "all routes")));
  return element("p", { class: "controls" }, "The last ", spans, " of ", routes);
}

const present = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value));

function percentiles(values, words) {
  return values.p50 === null ? "" : `median ${words(values.p50)}, 95 % within ${words(values.p95)}, at most ${words(values.max)}`;
}

function groupTable(groups, heading) {
  return table(heading, [heading, "#Runs", "#Success", "#Objects", "#Bytes", "#Skipped", "#Refused, failed", "#Retries", "#Median"],
    groups.map((group) => [
      group.name,
      count(group.runs_total),
      share(group.success_rate),
      count(group.objects_copied),
      bytes(group.bytes_copied),
      count(group.objects_skipped),
      count(group.objects_failed + group.objects_refused),
      count(group.retries),
      seconds(group.duration_seconds.p50),
    ]), { empty: "No runs in this time." });
}
