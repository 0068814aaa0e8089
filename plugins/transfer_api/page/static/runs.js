// The newest runs, of all routes or of one.

import { get, runHash } from "./api.js";
import { badge, element, link, section, table } from "./dom.js";
import { ago, bytes, count, moment, seconds } from "./words.js";

export async function showRuns(query) {
  const route = query.get("route") ?? "";
  const { runs } = await get("transfers", { limit: 50, route });
  const isActive = runs.some((run) => run.state === "running" || run.state === "queued");
  const filter = route
    ? element("p", {}, `Only ${route}. `, link("#/runs", "Show all"))
    : "";
  return {
    elements: [
      section("Runs", filter, table(
        "Runs, the newest first", ["Outcome", "Route", "Began", "#Took", "#Copied", "#Skipped", "#Refused, failed", "#Bytes"],
        runs.map(row), { empty: "There are no runs yet, or none that you may see." },
      )),
    ],
    refreshSeconds: isActive ? 4 : 15,
  };
}

// What a run without a report did is not known; 0 would say that it did nothing.
const UNKNOWN = Array(4).fill("-");

function row(run) {
  const numbers = run.numbers;
  const began = run.started_at ?? run.run_after;
  return [
    badge(run.outcome),
    element("span", {}, link(runHash(run), run.route), run.is_dry_run ? element("span", { class: "quiet" }, " dry run") : "",
      run.is_report_missing ? element("span", { class: "quiet" }, " no report") : ""),
    element("span", { title: moment(began) }, ago(began)),
    seconds(run.duration_seconds),
    ...(run.is_report_missing ? UNKNOWN : [
      count(numbers.objects_copied),
      count(numbers.objects_skipped),
      count(numbers.objects_failed + numbers.objects_refused),
      bytes(numbers.bytes_copied),
    ]),
  ];
}
