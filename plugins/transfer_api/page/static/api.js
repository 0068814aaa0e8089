// Asks the API below which this page lies, in the name of the session of Airflow's web UI.

const BASE = new URL("../", new URL(".", location.href));

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function get(path, query = {}) {
  return ask("GET", path, { query });
}

export async function post(path, body = {}) {
  return ask("POST", path, { body });
}

async function ask(method, path, { query = {}, body = null } = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  const options = { method, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== null) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(url, options);
  } catch {
    throw new ApiError(0, "Airflow's API server does not answer.");
  }
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, problem.detail ?? `${answer.status} ${answer.statusText}`);
}

export const runPath = (run) => `transfers/${encodeURIComponent(run.dag_id)}/${encodeURIComponent(run.run_id)}`;

export const runHash = (run) => `#/runs/${encodeURIComponent(run.dag_id)}/${encodeURIComponent(run.run_id)}`;
