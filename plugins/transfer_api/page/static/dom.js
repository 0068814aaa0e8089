// Makes elements out of values. Text only ever becomes text: nothing here, nor anywhere else on the page, parses HTML.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function link(href, ...children) {
  return element("a", { href }, ...children);
}

// A link into Airflow itself, which shows this page in a frame. The frame may not steer the window around it, but the
// document there, of the same site, may: so the link is followed there.
export function airflowLink(path, ...children) {
  const href = new URL(path, airflowUrl()).href;
  return element("a", { href, onclick: window.parent === window ? null : (event) => follow(event, href) }, ...children);
}

function follow(event, href) {
  event.preventDefault();
  const around = window.parent.document.createElement("a");
  around.href = href;
  around.click();
}

function airflowUrl() {
  return new URL("../../../", new URL(".", location.href));
}

export function table(caption, headings, rows, { empty = "Nothing yet." } = {}) {
  if (rows.length === 0) return element("p", { class: "quiet" }, empty);
  const names = headings.map((heading) => heading.replace(/^#/, ""));
  const numeric = headings.map((heading) => heading.startsWith("#"));
  const cell = (content, place) =>
    element("td", { "data-label": names[place], class: numeric[place] ? "number" : null }, content ?? "");
  return element(
    "table",
    {},
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, names.map((name, place) =>
      element("th", { scope: "col", class: numeric[place] ? "number" : null }, name)))),
    element("tbody", {}, rows.map((row) => element("tr", {}, row.map(cell)))),
  );
}

const OUTCOMES = {
  success: "success",
  failed: "failed",
  report_missing: "report missing",
  running: "running",
  queued: "queued",
  none: "waiting",
};

export function badge(outcome) {
  return element("span", { class: `badge ${outcome}` }, OUTCOMES[outcome] ?? outcome);
}

export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", { class: "facts" }, shown.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

export function section(heading, ...children) {
  return element("section", {}, element("h2", {}, heading), ...children);
}
