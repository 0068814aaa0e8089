"""Tries what a route does with the table of its index of receipts, about an item that nobody has."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from airflow_bridge.provision_calls import AwsAccount, ask
from skyferry.doctor.findings import Outcome, State
from skyferry.errors import TransferError
from skyferry.provisioning.abilities import Ability, index_rights
from skyferry.provisioning.route_needs import TableNeed
from skyferry.receipts_index.items import HASH_KEY, RANGE_KEY


def probe_index(table: TableNeed) -> Mapping[Ability, Outcome]:
    """Return what came of each ability; blocks, for three requests. Nothing is written, and nothing is deleted.

    Raises:
        TransferError: The connection is of no use.
    """
    account = AwsAccount(table.conn_id, named_by=f"DynamoDB table {table.name}", region=table.region)
    client = account.client("dynamodb")
    nobody = {"S": f"skyferry-doctor-{secrets.token_hex(16)}"}
    # Deleting an item takes the right to write items, and deletes nothing where there is none of that key.
    deletion = {"DeleteRequest": {"Key": {HASH_KEY: nobody, RANGE_KEY: nobody}}}
    query = {"KeyConditionExpression": "#hash = :hash", "ExpressionAttributeNames": {"#hash": HASH_KEY}}
    calls: Mapping[Ability, tuple[Callable[..., Any], dict[str, Any]]] = {
        Ability.DESCRIBE_TABLE: (client.describe_table, {"TableName": table.name}),
        Ability.WRITE_ITEMS: (client.batch_write_item, {"RequestItems": {table.name: [deletion]}}),
        Ability.QUERY_ITEMS: (
            client.query,
            {"TableName": table.name, "ExpressionAttributeValues": {":hash": nobody}, **query},
        ),
    }
    return {ability: _outcome(ability, table, *call) for ability, call in calls.items()}


def _outcome(ability: Ability, table: TableNeed, call: Callable[..., Any], parameters: dict[str, Any]) -> Outcome:
    action, needs = f"asking DynamoDB table {table.name}", index_rights()[ability]
    try:
        ask(call, action, needs=needs, **parameters)
    except TransferError as error:
        return Outcome.of(error)
    return Outcome(state=State.OK)
