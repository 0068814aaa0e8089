"""Endpoints that steps behind a transfer talk to: a webhook that records, and as much of BigQuery as a load job needs.

Requests to BigQuery are checked against the schema Google publishes for its API (the discovery document, which comes
with google-api-python-client).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import jsonschema
from googleapiclient.discovery_cache import get_static_doc


class Listener:
    """What an endpoint was sent, and what it answers.

    Attributes:
        requests: Path, headers and body of each POST.
        statuses: What the next requests to the webhook are answered with; 204 when it is empty.
        jobs: Load jobs by id, as BigQuery would show them.
        fail_next_job: The next job ends with an error, as one with a broken file does.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.fail_next_job = False
        self.url = ""
        self._job_schema = _schema_of("bigquery", "v2", "Job")

    @property
    def loads(self) -> list[dict[str, Any]]:
        """The load configurations of all jobs, in the order they came."""
        return [job["configuration"]["load"] for job in self.jobs.values()]

    def insert(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            jsonschema.validate(_without_nulls(job), self._job_schema)
        except jsonschema.ValidationError as error:
            return 400, {"error": {"code": 400, "message": f"not as Google's schema says: {error.message}"}}
        job_id = job["jobReference"]["jobId"]
        if job_id in self.jobs:
            return 409, {"error": {"code": 409, "message": "Already Exists", "errors": [{"reason": "duplicate"}]}}
        status: dict[str, Any] = {"state": "DONE"}
        if self.fail_next_job:
            status["errorResult"] = {"reason": "invalid", "message": "a broken file"}
            status["errors"] = [status["errorResult"]]
        self.fail_next_job = False
        self.jobs[job_id] = {**job, "kind": "bigquery#job", "id": job_id, "status": status, "statistics": {}}
        return 200, self.jobs[job_id]


@contextmanager
def listening() -> Iterator[Listener]:
    """Serve a listener on a free port."""
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            path = urlsplit(self.path).path
            listener.requests.append((path, dict(self.headers), body))
            if "/bigquery/v2/" in path:
                self._answer(*listener.insert(body))
            else:
                self._answer(listener.statuses.pop(0) if listener.statuses else 204, None)

        def do_GET(self) -> None:
            job = listener.jobs.get(urlsplit(self.path).path.rpartition("/")[2])
            self._answer(200 if job else 404, job)

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode() if body is not None else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()


def _without_nulls(value: Any) -> Any:
    """Leave out nulls, which Google's APIs take for fields that are not there.

    Source: https://protobuf.dev/programming-guides/json/
    """
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _schema_of(api: str, version: str, name: str) -> dict[str, Any]:
    """Return a JSON schema from a discovery document, strict about names."""
    document = json.loads(get_static_doc(api, version))
    definitions = {each: _plain(schema) for each, schema in document["schemas"].items()}
    return {"$ref": f"#/definitions/{name}", "definitions": definitions}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a discovery schema as JSON schema: it has references by name, and no closed objects."""
    if "$ref" in schema:
        return {"$ref": f"#/definitions/{schema['$ref']}"}
    kind = schema["type"]
    if kind == "object" and "properties" in schema:
        properties = {name: _plain(each) for name, each in schema["properties"].items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if kind == "object":
        return {"type": "object", "additionalProperties": _plain(schema["additionalProperties"])}
    if kind == "array":
        return {"type": "array", "items": _plain(schema["items"])}
    if kind == "any":
        return {}
    # Numbers of 64 bits are strings in Google's JSON; its servers take numbers too.
    plain: dict[str, Any] = {"type": [kind, "integer"] if schema.get("format") in ("int64", "uint64") else kind}
    return plain | ({"enum": schema["enum"]} if "enum" in schema else {})
