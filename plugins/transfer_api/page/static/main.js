// Shows the view that the address names, and keeps it fresh while something is under way.

import { airflowLink } from "./dom.js";
import { showRoutes } from "./routes.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";
import { showStatistics } from "./statistics.js";
import { followAirflow } from "./theme.js";

const VIEWS = [
  [/^\/routes$/, showRoutes],
  [/^\/runs$/, showRuns],
  [/^\/runs\/([^/]+)\/([^/]+)$/, showRun],
  [/^\/statistics$/, showStatistics],
];

const content = document.getElementById("content");
const message = document.getElementById("message");
let shown = 0;
let timer = 0;

async function show({ isRefresh = false } = {}) {
  const turn = (shown += 1);
  clearTimeout(timer);
  const [path, query] = (location.hash.slice(1) || "/routes").split("?");
  const [pattern, view] = VIEWS.find(([each]) => each.test(path)) ?? VIEWS[0];
  const names = (path.match(pattern) ?? []).slice(1).map(decodeURIComponent);
  mark(path);
  if (!isRefresh) content.setAttribute("aria-busy", "true");
  try {
    const { elements, refreshSeconds, draw } = await view(...names, new URLSearchParams(query));
    if (turn !== shown) return;
    message.hidden = true;
    if (isRefresh && isBusyReading()) {
      timer = setTimeout(() => show({ isRefresh: true }), 2000);
      return;
    }
    content.replaceChildren(...elements);
    draw?.();
    if (refreshSeconds) timer = setTimeout(() => show({ isRefresh: true }), refreshSeconds * 1000);
  } catch (error) {
    if (turn !== shown) return;
    explain(error);
    if (!isRefresh) content.replaceChildren();
    timer = setTimeout(() => show({ isRefresh: true }), 10000);
  }
  content.setAttribute("aria-busy", "false");
}

// Somebody is choosing or typing: what they are at must not be replaced under their hands.
function isBusyReading() {
  return content.contains(document.activeElement) && document.activeElement.matches("select, input, button");
}

function explain(error) {
  const text = error.status === 401 ? "You are not logged in to Airflow. " : `${error.message} `;
  message.replaceChildren(text, error.status === 401 ? airflowLink("", "Log in") : "");
  message.hidden = false;
}

function mark(path) {
  for (const each of document.querySelectorAll("header nav a")) {
    const isHere = path.startsWith(each.getAttribute("href").slice(1));
    if (isHere) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
}

window.addEventListener("hashchange", () => {
  show().then(() => content.focus({ preventScroll: true }));
  window.scrollTo(0, 0);
});
document.addEventListener("transfers:refresh", () => show());
followAirflow();
show();
