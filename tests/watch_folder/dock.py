"""A watch folder, a bucket and a queue, and whole transfers from the one to the others; no Airflow."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skyferry.handover import Handover, Notify
from skyferry.notify.notifier import Notifier
from skyferry.notify.outgoing_queue import OutgoingQueue
from skyferry.notify.queue_notifier import QueueNotifier
from skyferry.report import Report
from skyferry.request import request_from_conf
from skyferry.stages import Plan, Run, copy_batch, plan_transfer, report_transfer
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_session import client_api
from skyferry.urls import Location, parse_location
from tests.queues.yard import Yard

_NUMBERS = itertools.count(1)


class Dock:
    """Folders below `root`; bucket and queue have the dock's name.

    Set `wrap_destination` or `wrap_queue` to put something between the transfer and the emulator.
    """

    def __init__(self, endpoint: str, root: Path, name: str) -> None:
        self.yard = Yard(endpoint, root, name)
        self.root, self.name = root, name
        self.watched, self.claimed, self.done = root / "Watch", root / "QueuedForUpload", root / "UploadedToS3"
        self.watched.mkdir(exist_ok=True)
        self.wrap_destination: Callable[[Store], Any] = lambda store: store
        self.wrap_queue: Callable[[OutgoingQueue], Any] = lambda queue: queue
        self.notify: dict[str, Any] | None = {"queue_url": self.yard.queue_url}
        self.handover: dict[str, Any] = {
            "watched": f"file://{self.watched}",
            "done": f"file://{self.done}",
            "settle_seconds": 0,
        }
        self.conf: dict[str, Any] = {
            "source": f"file://{self.claimed}",
            "destination": f"s3://{name}/in/",
            "copy": False,
        }

    def drop(self, key: str, body: bytes) -> Path:
        path = self.watched / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return path

    @asynccontextmanager
    async def open_store(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        if location.kind != "s3":
            yield LocalStore(Path(location.bucket))
            return
        async with self.yard.client("s3") as client:
            yield self.wrap_destination(S3Store(client_api(client, location.bucket), location.bucket, "us-east-1"))

    @asynccontextmanager
    async def open_notifier(self) -> AsyncIterator[Notifier]:
        notify = Notify.model_validate(self.notify)
        async with self.yard.client("sqs") as client:
            queue = self.wrap_queue(OutgoingQueue(client, notify.queue_url))
            yield QueueNotifier(queue, shape=notify.shape, creates_queue=notify.create_queue)

    def arguments(self, run_id: str, conf: dict[str, Any]) -> dict[str, Any]:
        return {
            "request": request_from_conf({**self.conf, **conf}),
            "run": Run(dag_id="dock", run_id=run_id, route="dock", started_at="2026-01-01T00:00:00+00:00"),
            "open_store": self.open_store,
            "state": parse_location(f"file://{self.root}/state"),
            "state_conn_id": "",
        }

    def extras(self) -> dict[str, Any]:
        handover = Handover.model_validate({**self.handover, "notify": self.notify})
        return {"handover": handover, "open_notifier": self.open_notifier if self.notify else None}

    async def plan(self, run_id: str = "run", **conf: Any) -> Plan:
        return await plan_transfer(**self.arguments(run_id, conf), **self.extras())

    async def run(self, run_id: str = "run", *, attempt: int = 1, raises: bool = True, **conf: Any) -> Report:
        """Run a whole transfer, as its three tasks do."""
        plan = await self.plan(run_id, **conf)
        for batch in plan.batches:
            result = await copy_batch(batch, attempt=attempt, **self.arguments(run_id, conf), **self.extras())
            if raises:
                result.raise_if_failed()
        return await self.report(run_id, **conf)

    async def report(self, run_id: str = "run", **conf: Any) -> Report:
        return await report_transfer(**self.arguments(run_id, conf))

    async def stored(self) -> dict[str, bytes]:
        """Every object in the bucket, as another client reads it."""
        found = {}
        async with self.yard.client("s3") as client:
            listing = await client.list_objects_v2(Bucket=self.name, MaxKeys=1000)
            for entry in listing.get("Contents", ()):
                answer = await client.get_object(Bucket=self.name, Key=entry["Key"])
                found[entry["Key"]] = await answer["Body"].read()
        return found

    async def messages(self) -> list[str]:
        """Take all messages out of the queue and return their bodies."""
        return [message["Body"] for message in await self.yard.drain()]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, those in the making left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".skyferry-" not in path.name
    }


def new_name() -> str:
    return f"dock-{os.getpid()}-{next(_NUMBERS)}"
