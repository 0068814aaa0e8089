"""How close to a store's limit a transfer comes, and how often it is refused, while the limit changes.

    python -m bench.throttled [--seconds 60] [--retry-after 1]

One transfer of tiny objects runs into the sink, behind a front that lets so many requests a second through, in bursts
of up to a second's worth, and answers the others with 503 and Retry-After or with 429 and none. Each limit holds for
some time; the first half of it is for settling and is reported beside the second half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.engine_case import DirectStores
from bench.sink.buckets import Buckets
from bench.sink.http_server import Answer, Intake, Request, serve
from bench.sink.s3_calls import S3Calls
from skyferry.request import request_from_conf
from skyferry.stages import Run, copy_batch, plan_transfer
from skyferry.urls import parse_location

LIMITS = (100, 40, 150)
"""Requests a second, one after the other."""

LATENCY_SECONDS = 0.04


@dataclass(slots=True)
class LimitedSink:
    """The sink's S3 with a limit of requests a second.

    Attributes:
        answers: When each request came, and whether it was let through.
    """

    limits: Sequence[float]
    seconds_each: float
    retry_after: int
    calls: S3Calls = field(default_factory=lambda: S3Calls(Buckets()))
    began_at: float | None = None
    answers: list[tuple[float, bool]] = field(default_factory=list)
    _tokens: float = 0.0
    _filled_at: float = 0.0

    def is_over(self) -> bool:
        """Tell whether every limit has held for its time."""
        began_at = self.began_at
        return began_at is not None and time.monotonic() - began_at > len(self.limits) * self.seconds_each

    def intake(self, request: Request) -> Intake:
        """As `bench.sink.http_server.Application` says."""
        return self.calls.intake(request)

    def answer(self, request: Request) -> Answer:
        """As `bench.sink.http_server.Application` says."""
        if request.method == "PUT" and request.path.count("/") > 1:
            now = time.monotonic()
            self.began_at = now if self.began_at is None else self.began_at
            accepts = self._accepts(now - self.began_at)
            self.answers.append((now - self.began_at, accepts))
            if not accepts:
                return self._refusal()
        answer = self.calls.answer(request)
        return Answer(
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            content=answer.content,
            size_bytes=answer.size_bytes,
            delay_seconds=LATENCY_SECONDS,
        )

    def _accepts(self, now: float) -> bool:
        limit = self.limits[min(int(now / self.seconds_each), len(self.limits) - 1)]
        self._tokens = min(self._tokens + (now - self._filled_at) * limit, limit)
        self._filled_at = now
        accepts = self._tokens >= 1
        self._tokens -= accepts
        return accepts

    def _refusal(self) -> Answer:
        if self.retry_after:
            return Answer(status=503, headers={"Retry-After": str(self.retry_after)}, delay_seconds=LATENCY_SECONDS)
        return Answer(status=429, delay_seconds=LATENCY_SECONDS)


async def measure(seconds_each: float, retry_after: int) -> list[dict[str, float]]:
    """Transfer until every limit has held for its time; return what was let through and refused."""
    sink = LimitedSink(limits=LIMITS, seconds_each=seconds_each, retry_after=retry_after)
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(sink, 0, when_ready=port.set_result))
    with tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder:
        url = f"http://127.0.0.1:{await port}"
        transferring = asyncio.create_task(_transfer(url, Path(folder), int(sum(LIMITS) * seconds_each * 1.5)))
        try:
            while not transferring.done() and not sink.is_over():
                await asyncio.wait([transferring], timeout=1)
        finally:
            transferring.cancel()
            serving.cancel()
            await asyncio.gather(transferring, serving, return_exceptions=True)
    return [_row(sink, number, half) for number in range(len(LIMITS)) for half in (0, 1)]


async def _transfer(url: str, folder: Path, count: int) -> None:
    source = folder / "source"
    source.mkdir()
    for number in range(count):
        (source / f"{number:07d}").write_bytes(b"x" * 1024)
    request = request_from_conf(
        {"source": f"file://{source}", "destination": "s3://destination/", "batch_objects": 100_000}
    )
    common = {
        "request": request,
        "run": Run(dag_id="bench", run_id="bench", route="bench", started_at="2026-01-01T00:00:00+00:00"),
        "open_store": DirectStores({"s3": url}, max_objects_in_flight=request.max_objects_in_flight),
        "state": parse_location(f"file://{folder}/state"),
        "state_conn_id": "",
    }
    plan = await plan_transfer(**common)  # type: ignore[arg-type]
    for batch in plan.batches:
        (await copy_batch(batch, attempt=1, **common)).raise_if_failed()  # type: ignore[arg-type]


def _row(sink: LimitedSink, number: int, half: int) -> dict[str, float]:
    begins_at = (number + half / 2) * sink.seconds_each
    seconds = sink.seconds_each / 2
    answers = [accepts for at, accepts in sink.answers if begins_at <= at < begins_at + seconds]
    accepted = sum(answers)
    return {
        "allowed_per_second": sink.limits[number],
        "is_settled": half,
        "taken_per_second": round(accepted / seconds, 1),
        "share_of_allowed": round(accepted / seconds / sink.limits[number], 3),
        "refused_share": round((len(answers) - accepted) / max(len(answers), 1), 4),
    }


def main() -> None:
    """Measure and print one line of JSON for each half of each limit."""
    parser = argparse.ArgumentParser(description="A store that asks for fewer requests.")
    parser.add_argument("--seconds", type=float, default=60, help="how long each limit holds")
    parser.add_argument("--retry-after", type=int, default=0, help="503 with so many seconds; 0: 429 without")
    arguments = parser.parse_args()
    for row in uvloop.run(measure(arguments.seconds, arguments.retry_after)):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
