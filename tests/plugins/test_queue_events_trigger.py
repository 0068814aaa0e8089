"""The trigger that rings an asset while a queue has work, looking at a queue of an emulator."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest

from stack.running import Endpoint
from tests.airflow_home import connection_variables
from triggers import queue_events_trigger
from triggers.queue_events_trigger import QueueEventsTrigger

_NUMBERS = itertools.count()


@pytest.fixture
def sqs(moto: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    variables = connection_variables(moto=moto.url, azurite="http://localhost", gcs="http://localhost")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", variables["AIRFLOW_CONN_AWS_DEFAULT"])
    return boto3.client(
        "sqs", endpoint_url=moto.url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )


def rings(queue_url: str) -> AsyncIterator[Any]:
    """A trigger as the triggerer makes it, from what was serialised."""
    path, arguments = QueueEventsTrigger(queue_url=queue_url, conn_id="aws_queue", poll_seconds=0.2).serialize()
    assert path == "triggers.queue_events_trigger.QueueEventsTrigger"
    return QueueEventsTrigger(**json.loads(json.dumps(arguments))).run()


async def next_ring(events: AsyncIterator[Any]) -> Any:
    return (await asyncio.wait_for(anext(events), 30)).payload


async def test_a_burst_is_one_ring_and_nothing_is_taken(sqs: Any) -> None:
    url = sqs.create_queue(QueueName=f"burst-{next(_NUMBERS)}")["QueueUrl"]
    for number in range(25):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    events = rings(url)
    assert await next_ring(events) == {"waiting": 25, "in_flight": 0}
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert [found[name] for name in names] == ["25", "0"]


async def test_it_outlives_errors(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_events_trigger, "_ERROR_DELAY_SECONDS", 0.2)
    name = f"later-{next(_NUMBERS)}"
    url = f"{sqs.meta.endpoint_url}/123456789012/{name}"
    events = rings(url)
    ring = asyncio.ensure_future(next_ring(events))
    await asyncio.sleep(1.5)
    assert not ring.done()
    assert sqs.create_queue(QueueName=name)["QueueUrl"].endswith(name)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert (await ring)["waiting"] == 1


async def test_a_changed_connection_is_noticed(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_events_trigger, "_REOPEN_SECONDS", 0.3)
    monkeypatch.setattr(queue_events_trigger, "_ERROR_DELAY_SECONDS", 0.2)
    right = os.environ["AIRFLOW_CONN_AWS_QUEUE"]
    url = sqs.create_queue(QueueName=f"moved-{next(_NUMBERS)}")["QueueUrl"]
    monkeypatch.delenv("AIRFLOW_CONN_AWS_QUEUE")
    events = rings(url)
    ring = asyncio.ensure_future(next_ring(events))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    await asyncio.sleep(1)
    assert not ring.done()
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", right)
    assert (await ring)["waiting"] == 1
