"""Runs the sink: `python -m bench.sink [PORT]`; prints its port once it serves.

Beside the stores' calls it has three of its own: `POST /_sink/fill`, `POST /_sink/empty` and `GET /_sink/stats`.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

import uvloop

from bench.sink.azure_calls import AzureCalls
from bench.sink.buckets import Buckets
from bench.sink.gcs_calls import GcsCalls
from bench.sink.http_server import Answer, Collected, Intake, Request, serve
from bench.sink.s3_calls import S3Calls
from bench.sink.sqs_calls import TARGET, SqsCalls

AZURE_ACCOUNT = "devstoreaccount1"
"""The first part of the path of every Azure request."""


class Sink:
    """Tells the stores' requests apart by their path, counts them, and answers them."""

    def __init__(self) -> None:
        self._buckets = Buckets()
        self._s3 = S3Calls(self._buckets)
        self._azure = AzureCalls(self._buckets)
        self._gcs = GcsCalls(self._buckets)
        self._sqs = SqsCalls()
        self._requests: Counter[str] = Counter()

    def _calls(self, request: Request) -> S3Calls | AzureCalls | GcsCalls:
        if request.path.startswith((f"/{AZURE_ACCOUNT}/", f"/{AZURE_ACCOUNT}?")):
            return self._azure
        if request.path.startswith(("/storage/v1/", "/upload/")):
            return self._gcs
        return self._s3

    def intake(self, request: Request) -> Intake:
        """As `bench.sink.http_server.Application` says."""
        if request.path.startswith("/_sink/") or TARGET in request.headers:
            return Collected()
        return self._calls(request).intake(request)

    def answer(self, request: Request) -> Answer:
        """As `bench.sink.http_server.Application` says."""
        if request.path.startswith("/_sink/"):
            return self._control(request)
        self._requests[request.method] += 1
        if TARGET in request.headers:
            return self._sqs.answer(request)
        return self._calls(request).answer(request)

    def _control(self, request: Request) -> Answer:
        wanted = json.loads(request.body or b"{}")
        match request.path:
            case "/_sink/fill":
                self._buckets.fill(
                    wanted["bucket"], **{name: wanted[name] for name in ("prefix", "count", "size_bytes")}
                )
            case "/_sink/empty":
                self._buckets.empty(wanted["bucket"])
                self._requests.clear()
                self._buckets.upload_bytes = 0
        stats = {
            "requests": dict(self._requests),
            "cpu_seconds": time.process_time(),
            "upload_bytes": self._buckets.upload_bytes,
            "objects": len(self._buckets.bucket(wanted.get("bucket") or request.query.get("bucket", ""))),
        }
        return Answer(headers={"Content-Type": "application/json"}, body=json.dumps(stats).encode())


def main() -> None:
    """Serve until the process is ended."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    uvloop.run(serve(Sink(), port, when_ready=lambda found: print(found, flush=True)))


if __name__ == "__main__":
    main()
