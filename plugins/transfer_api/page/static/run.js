// One run: where it is, what it did, each of its objects with the reason and the proof, and the way to its logs.

import { get, post, runPath } from "./api.js";
import { airflowLink, badge, element, facts, section, table } from "./dom.js";
import { progress } from "./progress.js";
import { bytes, count, counts, moment, rate, seconds } from "./words.js";

const OUTCOMES = ["", "copied", "skipped", "refused", "failed", "deleted", "pending"];
const chosen = { run: "", outcome: "", seen: "" };

export async function showRun(dagId, runId, query) {
  const run = await get(runPath({ dag_id: dagId, run_id: runId }));
  const key = `${dagId}/${runId}`;
  if (chosen.run !== key) Object.assign(chosen, { run: key, outcome: "" });
  const isOver = run.state === "success" || run.state === "failed";
  const objects = await objectsSection(run);
  return {
    elements: [
      element("p", { class: "title" }, element("strong", {}, run.route), " ", badge(run.outcome),
        run.is_dry_run ? " dry run" : "", actions(run, isOver)),
      run.is_report_missing ? noReport() : problems(run.report),
      isOver ? "" : progress(run.progress),
      section("Numbers", numbers(run)),
      section("Tasks", table("Tasks", ["Task", "State", "#Tries", ""], inOrder(run.tasks).map((task) => [
        task.name, badge(task.state), count(task.try_number), task.try_number ? airflowLink(task.airflow_path, "Log") : "",
      ]), { empty: "No task has begun." })),
      objects,
      section("Parameters", facts(Object.entries(run.parameters).map(([name, value]) =>
        [name, typeof value === "string" ? value : JSON.stringify(value)]))),
    ],
    refreshSeconds: isOver ? 0 : 2,
    draw: () => showPlace(query.get("at"), key, objects),
  };
}

const ORDER = ["detect", "plan", "copy", "consume", "report"];

const inOrder = (tasks) => [...tasks].sort((one, other) => ORDER.indexOf(one.task_id) - ORDER.indexOf(other.task_id));

// An address may name a part of the page to begin at; once there, people stay where they have scrolled to.
function showPlace(place, key, objects) {
  if (place === "objects" && chosen.seen !== key) objects.scrollIntoView();
  chosen.seen = key;
}

function numbers(run) {
  const report = run.report ?? {};
  const has = run.report !== null;
  return facts([
    ["Source", run.source],
    ["Destination", run.destination],
    ["Began", moment(run.started_at)],
    ["Ended", moment(run.ended_at)],
    ["Took", seconds(run.duration_seconds)],
    ["Copied", has ? `${count(run.numbers.objects_copied)} of ${count(run.numbers.objects_planned)} objects` : ""],
    ["Bytes", has ? bytes(run.numbers.bytes_copied) : ""],
    ["Throughput", has && report.throughput_bytes_per_second ? rate(report.throughput_bytes_per_second) : ""],
    ["Skipped", has ? counts(run.numbers.skipped_by_reason) : ""],
    ["Refused", has && run.numbers.objects_refused ? counts(run.numbers.refused_by_reason) || count(run.numbers.objects_refused) : ""],
    ["Failed", has && run.numbers.objects_failed ? count(run.numbers.objects_failed) : ""],
    ["Verified by", has ? counts(run.numbers.verified_by) : ""],
    ["Retries", has ? counts(run.numbers.retries_by_cause) : ""],
    ["Deleted at the source", run.numbers.objects_deleted_at_source ? count(run.numbers.objects_deleted_at_source) : ""],
    ["Records", report.records],
    ["Run", airflowLink(run.airflow_path, run.run_id)],
    ["Note", run.note],
  ]);
}

function noReport() {
  return element("div", { class: "warning", role: "status" }, element("strong", {}, "No report"),
    element("p", {}, "The run is over and left no report, so what it did is not known; the logs of its tasks may say why."));
}

function problems(report) {
  if (!report?.problems?.length) return "";
  return element("div", { class: "warning", role: "status" }, element("strong", {}, "Problems"),
    element("ul", {}, report.problems.map((each) => element("li", {}, each))));
}

function actions(run, isOver) {
  const act = (what, body) => async (event) => {
    event.target.disabled = true;
    try {
      await post(`${runPath(run)}/${what}`, body);
      document.dispatchEvent(new Event("transfers:refresh"));
    } catch (error) {
      event.target.disabled = false;
      event.target.after(element("span", { class: "error", role: "alert" }, ` ${error.message}`));
    }
  };
  const button = (text, action) => element("button", { type: "button", onclick: action }, text);
  if (!isOver) return button("Cancel", act("cancel", {}));
  return run.state === "failed" ? button("Retry what failed", act("retry", { only_failed: true })) : "";
}

async function objectsSection(run) {
  const list = element("div", {});
  const more = element("button", { type: "button" }, "Show more");
  const select = element("select", { "aria-label": "Outcome" }, OUTCOMES.map((outcome) =>
    element("option", { value: outcome, selected: outcome === chosen.outcome }, outcome || "all")));
  let cursor = "0.0";
  let found = [];

  async function load() {
    // A page may be empty and still not be the last one: a filter leaves out whole records.
    for (let pages = 0; cursor !== null && pages < 10; pages += 1) {
      const page = await get(`${runPath(run)}/objects`, { outcome: chosen.outcome, cursor, limit: 50 });
      found = found.concat(page.objects);
      cursor = page.next_cursor;
      if (page.objects.length) break;
    }
    list.replaceChildren(objectTable(found));
    more.hidden = cursor === null;
  }

  const failing = (action) => async () => {
    try {
      await action();
    } catch (error) {
      list.replaceChildren(element("p", { class: "error" }, error.message));
      more.hidden = true;
    }
  };
  more.addEventListener("click", failing(load));
  select.addEventListener("change", failing(async () => {
    Object.assign(chosen, { outcome: select.value });
    cursor = "0.0";
    found = [];
    await load();
  }));
  await failing(load)();
  return section("Objects", element("p", {}, "Outcome ", select), list, more);
}

function objectTable(objects) {
  return table("Objects", ["Object", "Outcome", "Why", "Proof", "#Bytes", "#Seconds"], objects.map((each) => [
    element("div", {},
      element("code", {}, each.key),
      each.destination_key && each.destination_key !== each.key
        ? element("div", { class: "quiet small" }, "to ", element("code", {}, each.destination_key)) : ""),
    badge(each.outcome),
    element("div", {}, each.reason, each.lost.length ? element("div", { class: "quiet small" }, `lost: ${each.lost.join("; ")}`) : ""),
    proof(each),
    bytes(each.size_bytes),
    each.seconds ? each.seconds.toFixed(2) : "",
  ]), { empty: "None." });
}

function proof(object) {
  const sums = Object.entries(object.checksums).map(([name, value]) => `${name}:${value}`).join(" ");
  const text = object.verified_by || object.evidence;
  return text ? element("span", { title: sums }, text, sums ? element("code", { class: "quiet small sum" }, sums) : "") : "";
}
