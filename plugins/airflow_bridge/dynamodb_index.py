"""The index of receipts in a DynamoDB table: items in batches of 25, and what is found by their keys."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.config import Config

from airflow_bridge.provision_calls import AwsAccount, ask
from skyferry.errors import ThrottledError
from skyferry.receipts_index.items import HASH_KEY, RANGE_KEY, Item
from skyferry.receipts_index.reading import IndexQuery
from skyferry.receipts_index.settings import ReceiptsIndex

_ITEMS_PER_WRITE = 25
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html"""

_WRITES_AT_ONCE = 4
_ROUNDS = 10
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 2.0
"""With ten rounds about ten seconds in all, for items that DynamoDB hands back because it has to do too much."""

_SETTINGS = Config(
    connect_timeout=5,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=_WRITES_AT_ONCE,
)
"""A table that does not answer is given up after half a minute: transfers wait for it."""


class DynamoDbIndex:
    """One table behind one connection; a `skyferry.receipts_index.writing.IndexWriter`, and finds what it wrote.

    Make it outside an event loop: it asks Airflow for the connection.

    Raises:
        ConnectionConfigError: The connection does not exist, or is of the wrong type.
    """

    def __init__(self, settings: ReceiptsIndex, *, conn_id: str) -> None:
        self._table = settings.dynamodb
        self._name = f"DynamoDB table {settings.dynamodb}"
        account = AwsAccount(conn_id, named_by=self._name, region=settings.region, settings=_SETTINGS)
        self._client = account.client("dynamodb")

    def write(self, items: Sequence[Item]) -> None:
        """Write items, no two of one key; blocks for ten seconds at most while DynamoDB hands them back.

        Raises:
            TransferError: Some of them, or all, may not have been written; writing them again is fine.
        """
        parts = [items[start : start + _ITEMS_PER_WRITE] for start in range(0, len(items), _ITEMS_PER_WRITE)]
        with ThreadPoolExecutor(_WRITES_AT_ONCE) as pool:
            writes = [pool.submit(self._write_part, part) for part in parts]
            try:
                for write in writes:
                    write.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _write_part(self, items: Sequence[Item]) -> None:
        requests = [{"PutRequest": {"Item": _to_dynamodb(item)}} for item in items]
        for number in range(_ROUNDS):
            answer = ask(
                self._client.batch_write_item,
                f"writing receipts to {self._name}",
                needs="dynamodb:BatchWriteItem",
                RequestItems={self._table: requests},
            )
            requests = answer.get("UnprocessedItems", {}).get(self._table, [])
            if not requests:
                return
            if number + 1 < _ROUNDS:
                time.sleep(_wait_seconds(number))
        raise ThrottledError(f"{self._name} takes fewer receipts than there are")

    def find(self, query: IndexQuery) -> Iterator[Item]:
        """Yield items; see `skyferry.receipts_index.reading.RouteIndex`."""
        call, needs = (self._client.query, "dynamodb:Query") if query.hash_key else (self._client.scan, "dynamodb:Scan")
        parameters = _conditions(query) | {"TableName": self._table}
        while True:
            page = ask(call, f"reading {self._name}", needs=needs, **parameters)
            for item in page["Items"]:
                yield {name: value["S"] for name, value in item.items() if "S" in value}
            if not page.get("LastEvaluatedKey"):
                return
            parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _wait_seconds(number: int) -> float:
    # Random, because the tasks of a run meet the same limit at the same time.
    wait_seconds: float = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**number)
    return wait_seconds * random.uniform(0.5, 1.0)  # noqa: S311


def _to_dynamodb(item: Item) -> dict[str, Mapping[str, str]]:
    return {name: {"S": value} for name, value in item.items()}


def _conditions(query: IndexQuery) -> dict[str, Any]:
    """Return the conditions of a query, or of a scan; every name and value is passed beside the expression."""
    keys: list[str] = []
    others: list[str] = []
    names: dict[str, str] = {}
    values: dict[str, str] = {}
    if query.hash_key:
        keys.append("#hash = :hash")
        names["#hash"], values[":hash"] = HASH_KEY, query.hash_key
    if query.range_begins_with:
        (keys if query.hash_key else others).append("begins_with(#range, :range)")
        names["#range"], values[":range"] = RANGE_KEY, query.range_begins_with
    for number, (name, value) in enumerate(query.equal):
        others.append(f"#equal{number} = :equal{number}")
        names[f"#equal{number}"], values[f":equal{number}"] = name, value
    if query.since:
        others.append("#time >= :time")
        names["#time"], values[":time"] = "finished_at", query.since
    expressions = {"KeyConditionExpression": keys, "FilterExpression": others}
    found: dict[str, Any] = {name: " AND ".join(parts) for name, parts in expressions.items() if parts}
    return found | {
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()},
    }
