"""A bucket whose notifications fill a queue, and a folder they are consumed into; no Airflow."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from skyferry.detect.consumption import ConsumeOptions, Consumption
from skyferry.detect.sqs_queue import SqsQueue
from skyferry.queue_stages import ConsumptionReport, QueueRoute, consume_queue, report_consumption
from skyferry.records import Outcome, Receipt
from skyferry.request import request_from_conf
from skyferry.state import Run, StateFolder
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.stores.s3 import S3Store
from skyferry.stores.s3_session import DirectSession, client_api
from skyferry.urls import Location, parse_location

_NUMBERS = itertools.count(1)
RUN = Run(dag_id="consume", run_id="run", route="test", started_at="2026-01-01T00:00:00+00:00")
# moto looks for messages that became visible once a second, so waiting for one second would miss them.
QUICK = {"wait_seconds": 2, "visibility_seconds": 30, "back_off_seconds": 0}


class Yard:
    """Bucket, queue with dead-letter queue, folders `out` and `state` below `root`; everything has a name of its own.

    Set `wrap_source` or `wrap_destination` to put something between the consumer and a store (that is `out`, and what
    else is added to `wrapped`), `queue_endpoint` to put a proxy before the queue.
    """

    def __init__(self, endpoint: str, root: Path, name: str) -> None:
        self.endpoint, self.root, self.name = endpoint, root, name
        self.queue_endpoint = endpoint
        self.destination, self.state = root / "out", root / "state"
        self.wrapped = {self.destination}
        self.queue_url = f"{endpoint}/123456789012/{name}"
        self.dead_letter_url = f"{self.queue_url}-dead"
        self.wrap_source: Callable[[Store], Any] = lambda store: store
        self.wrap_destination: Callable[[Store], Any] = lambda store: store
        self.wrap_queue: Callable[[SqsQueue], Any] = lambda queue: queue

    @asynccontextmanager
    async def client(self, service: str, endpoint: str = "") -> AsyncIterator[Any]:
        """Yield a client as the Airflow bridge makes one."""
        config = AioConfig(
            http_session_cls=DirectSession,
            retries={"total_max_attempts": 1},
            max_pool_connections=64,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        async with get_session().create_client(
            service,
            endpoint_url=endpoint or self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=config,
        ) as client:
            yield client

    async def build(self, *, max_receives: int = 100, has_dead_letters: bool = True, notifies: bool = True) -> None:
        async with self.client("s3") as s3, self.client("sqs") as sqs:
            await s3.create_bucket(Bucket=self.name)
            attributes = {}
            if has_dead_letters:
                await sqs.create_queue(QueueName=f"{self.name}-dead")
                arn = f"arn:aws:sqs:us-east-1:123456789012:{self.name}-dead"
                policy = {"deadLetterTargetArn": arn, "maxReceiveCount": max_receives}
                attributes = {"RedrivePolicy": json.dumps(policy)}
            await sqs.create_queue(QueueName=self.name, Attributes=attributes)
            if notifies:
                target = {
                    "QueueArn": f"arn:aws:sqs:us-east-1:123456789012:{self.name}",
                    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                }
                await s3.put_bucket_notification_configuration(
                    Bucket=self.name, NotificationConfiguration={"QueueConfigurations": [target]}
                )

    async def put(self, key: str, body: bytes) -> str:
        async with self.client("s3") as s3:
            answer = await s3.put_object(Bucket=self.name, Key=key, Body=body)
            return str(answer["ETag"]).strip('"')

    async def put_many(self, bodies: dict[str, bytes]) -> None:
        async with self.client("s3") as s3:
            gate = asyncio.Semaphore(16)

            async def put(key: str, body: bytes) -> None:
                async with gate:
                    await s3.put_object(Bucket=self.name, Key=key, Body=body)

            await asyncio.gather(*(put(key, body) for key, body in bodies.items()))

    async def delete(self, key: str) -> None:
        async with self.client("s3") as s3:
            await s3.delete_object(Bucket=self.name, Key=key)

    async def send(self, *bodies: str) -> None:
        async with self.client("sqs") as sqs:
            for body in bodies:
                await sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    async def drain(self, url: str = "") -> list[dict[str, Any]]:
        """Take everything visible out of a queue and return it."""
        found = []
        async with self.client("sqs") as sqs:
            while True:
                answer = await sqs.receive_message(
                    QueueUrl=url or self.queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
                )
                if not answer.get("Messages"):
                    return found
                for message in answer["Messages"]:
                    found.append(message)
                    await sqs.delete_message(QueueUrl=url or self.queue_url, ReceiptHandle=message["ReceiptHandle"])

    async def source_keys(self) -> list[str]:
        async with self.client("s3") as s3:
            answer = await s3.list_objects_v2(Bucket=self.name)
            return [entry["Key"] for entry in answer.get("Contents", ())]

    async def show_all(self) -> None:
        """Put a fresh message about every object in the place of those in the queue, hidden ones included."""
        async with self.client("sqs") as sqs:
            await sqs.purge_queue(QueueUrl=self.queue_url)
        await self.send(*(event(self.name, {"key": key}) for key in await self.source_keys()))

    async def left(self) -> int:
        """How many messages the queue has, hidden ones included."""
        async with self.client("sqs") as sqs:
            state = await SqsQueue(sqs, self.queue_url).state()
            return state.waiting + state.in_flight + state.delayed

    @asynccontextmanager
    async def open_store(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        if location.kind == "s3":
            async with self.client("s3") as client:
                yield self.wrap_source(S3Store(client_api(client, location.bucket), location.bucket, "us-east-1"))
            return
        store = LocalStore(Path(location.bucket))
        yield self.wrap_destination(store) if Path(location.bucket) in self.wrapped else store

    @asynccontextmanager
    async def open_queue(self) -> AsyncIterator[SqsQueue]:
        async with self.client("sqs", self.queue_endpoint) as client:
            yield self.wrap_queue(SqsQueue(client, self.queue_url))

    def route(
        self, conf: dict[str, Any] | None = None, *, mirror_deletes: bool = False, max_deletes: int = 100
    ) -> QueueRoute:
        """Return the route `test` from the bucket to the folder `out`, except for what the conf says."""
        defaults = {"id": "test", "source": f"s3://{self.name}/", "destination": f"file://{self.destination}"}
        request = request_from_conf({**defaults, "create_destination": True, **(conf or {})})
        return QueueRoute(request=request, mirror_deletes=mirror_deletes, max_deletes=max_deletes)

    async def consume(
        self,
        *routes: QueueRoute,
        slot: int = 0,
        attempt: int = 1,
        conf: dict[str, Any] | None = None,
        **options: Any,
    ) -> Consumption:
        """Consume for these routes, or for the one of the conf."""
        return await consume_queue(
            routes or [self.route(conf)],
            ConsumeOptions(**{**QUICK, **options}),
            slot=slot,
            open_queue=self.open_queue,
            run=RUN,
            attempt=attempt,
            open_store=self.open_store,
            state=parse_location(f"file://{self.state}"),
            state_conn_id="",
        )

    async def report(self, *routes: QueueRoute, consumers: int = 1) -> ConsumptionReport:
        """Report on everything that was consumed so far."""
        return await report_consumption(
            routes or [self.route()],
            run=RUN,
            open_store=self.open_store,
            state=parse_location(f"file://{self.state}"),
            state_conn_id="",
            consumers=consumers,
        )

    def arrived(self, folder: Path | None = None) -> dict[str, bytes]:
        """Every object at the destination, or in another folder; temporary files are not objects."""
        folder = folder or self.destination
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and ".skyferry-" not in path.name
        }

    async def rows(self, folder: str) -> list[dict[str, Any]]:
        state = StateFolder(LocalStore(self.state), "consume/run=run/")
        return [row async for row in state.rows(folder)]

    async def copied_keys(self) -> list[str]:
        """The keys of all receipts of copies, sorted."""
        receipts = [Receipt.from_json(row) for row in await self.rows("queue/receipts/")]
        return sorted(receipt.key for receipt in receipts if receipt.outcome is Outcome.COPIED)


def two_folders(yard: Yard) -> tuple[QueueRoute, QueueRoute]:
    """Return the route `test` into `out`, and the route `other`, of some of the objects, into `other`; both wrapped."""
    other = yard.root / "other"
    yard.wrapped.add(other)
    return yard.route(), yard.route({"id": "other", "data": "folder/**", "destination": f"file://{other}"})


def new_name() -> str:
    return f"yard-{os.getpid()}-{next(_NUMBERS)}"


def event(bucket: str, *records: dict[str, Any]) -> str:
    """Return the body of a message as S3 sends it."""
    made = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": record.get("name", "ObjectCreated:Put"),
            "eventTime": record.get("time", "2026-05-04T03:02:01.000Z"),
            "s3": {
                "bucket": {"name": record.get("bucket", bucket)},
                "object": {key: value for key, value in record.items() if key in ("key", "eTag", "sequencer", "size")},
            },
        }
        for record in records
    ]
    return json.dumps({"Records": made})
