// The routes: what they are, how their last runs went, and when the next one is.

import { get, runHash, runPath } from "./api.js";
import { sparkline } from "./charts.js";
import { airflowLink, badge, element, link, section, table } from "./dom.js";
import { progress } from "./progress.js";
import { ago, bytes, count, moment, share } from "./words.js";

const SPAN = "30d";
const REFRESH_SECONDS = 15;
const MAX_WATCHED = 5;

export async function showRoutes() {
  const [routes, statistics, latest] = await Promise.all([
    allRoutes(),
    get("statistics", { since: SPAN, by: "route" }),
    get("transfers", { limit: 100 }),
  ]);
  const numbers = new Map(statistics.groups.map((group) => [group.name, group]));
  const runs = new Map();
  for (const run of latest.runs) {
    if (!runs.has(run.route)) runs.set(run.route, []);
    runs.get(run.route).push(run);
  }
  const active = latest.runs.filter((run) => run.state === "running" || run.state === "queued");
  const watched = await Promise.all(active.slice(0, MAX_WATCHED).map((run) => get(runPath(run))));
  return {
    elements: [
      ...problems(routes.problems),
      active.length ? section("Under way", activeTable(active, watched)) : "",
      section("Routes", table(
        "Routes", ["Route", "State", "Last run", "Next run", "#Success", "#Objects", "#Bytes", "Last runs"],
        routes.routes.map((route) => row(route, numbers.get(route.id), runs.get(route.id) ?? [])),
        { empty: "There are no routes, or none that you may see." },
      )),
      element("p", { class: "quiet" }, "Success, objects and bytes are those of the last 30 days."),
    ],
    refreshSeconds: active.length ? 5 : REFRESH_SECONDS,
  };
}

async function allRoutes() {
  const first = await get("routes", { limit: 100 });
  while (first.routes.length < first.total) {
    const more = await get("routes", { limit: 100, offset: first.routes.length });
    if (!more.routes.length) break;
    first.routes.push(...more.routes);
  }
  return first;
}

function row(route, numbers, runs) {
  const last = runs[0];
  return [
    element("div", {},
      element("div", { class: "name" }, link(`#/runs?route=${encodeURIComponent(route.id)}`, route.id)),
      element("div", { class: "quiet small" }, route.description || `${route.source} to ${route.destination}`)),
    state(route),
    last ? element("span", { class: "moment" }, badge(last.outcome), " ", link(runHash(last), ago(last.started_at ?? last.run_after))) : "never",
    route.next_run_after && !route.is_paused
      ? element("span", { class: "moment", title: moment(route.next_run_after) }, ago(route.next_run_after))
      : element("span", { class: "quiet moment" }, next(route)),
    numbers ? share(numbers.success_rate) : "",
    numbers ? count(numbers.objects_copied) : "",
    numbers ? bytes(numbers.bytes_copied) : "",
    sparkline(runs.slice(0, 24).reverse()),
  ];
}

// Airflow keeps the time at which a paused DAG would have run, which is no time at which it will.
function next(route) {
  if (!route.schedule) return "when started";
  return route.is_paused ? "none while paused" : route.schedule;
}

function state(route) {
  if (!route.is_known_to_airflow) return element("span", { class: "badge queued" }, "new");
  const dag = `dags/${encodeURIComponent(route.dag_id)}`;
  return airflowLink(dag, element("span", { class: `badge ${route.is_paused ? "paused" : "active"}` }, route.is_paused ? "paused" : "active"));
}

function activeTable(runs, watched) {
  const byId = new Map(watched.map((run) => [run.run_id, run]));
  return table("Under way", ["Run", "State", "Began", "Progress"], runs.map((run) => [
    link(runHash(run), run.route),
    badge(run.outcome),
    ago(run.started_at ?? run.run_after),
    byId.has(run.run_id) ? progress(byId.get(run.run_id).progress) : "",
  ]));
}

function problems(found) {
  if (!found.length) return [];
  return [element("div", { class: "warning", role: "status" },
    element("strong", {}, `${found.length} ${found.length === 1 ? "thing is" : "things are"} wrong with route files`),
    element("ul", {}, found.map((each) => element("li", {}, `${each.file}${each.line ? `:${each.line}` : ""}: ${each.message}`))))];
}
