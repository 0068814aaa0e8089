"""Every hostile key arrives under exactly its name or is refused by name before a byte moves."""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from skyferry.checksums import digest
from skyferry.errors import TransferError, printable
from skyferry.keys import refusal
from skyferry.objects import ObjectMetadata
from skyferry.request import request_from_conf
from skyferry.stages import Run, copy_batch, plan_transfer, report_transfer
from skyferry.stores.base import Store
from skyferry.urls import parse_location
from tests.engine.test_pairs import Stores, contents, new_url, stores

__all__ = ["stores"]


def keys_of_corpus(corpora: Path) -> list[str]:
    rows = json.loads((corpora / "object-keys" / "keys.json").read_text())["keys"]
    keys = [row["key"] for row in rows if row["key"]]
    return sorted({key for key in keys if not refusal(f"hostile/{key}", "s3")})


def body_of(key: str) -> bytes:
    return b"content of " + key.encode()


async def put_all(store: Store, prefix: str, keys: list[str]) -> list[str]:
    """Put every key the emulator takes; return those that a listing then shows under exactly their name."""
    for key in keys:
        body = body_of(key)
        digests = await digest(body, store.capabilities.digests)
        with contextlib.suppress(TransferError):  # moto refuses a few names that S3 takes
            await store.put_object(prefix + key, body, metadata=ObjectMetadata(), digests=digests, replaces=None)
    listed = {info.key.removeprefix(prefix) async for info in store.list_objects(prefix)}
    return [key for key in keys if key in listed]


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("destination_kind", ["s3", "az", "gs", "file"])
async def test_corpus(destination_kind: str, stores: Stores, corpora: Path, tmp_path: Path) -> None:
    source = f"s3://hostile-{secrets.token_hex(6)}/hostile/"
    async with stores(parse_location(source), "") as store:
        await store.create_bucket()
        keys = await put_all(store, "hostile/", keys_of_corpus(corpora))
    assert len(keys) > 300
    around = tmp_path / "around"
    (around / "neighbour").mkdir(parents=True)
    (around / "neighbour" / "file").write_bytes(b"not yours")
    destination = new_url(destination_kind, around)
    common: dict[str, Any] = {
        "request": request_from_conf({"source": source, "destination": destination, "create_destination": True}),
        "run": Run(dag_id="transfer", run_id="hostile", route="hostile", started_at="2026-01-01T00:00:00+00:00"),
        "open_store": stores,
        "state": parse_location(f"file://{tmp_path}/state"),
        "state_conn_id": "",
    }
    plan = await plan_transfer(**common)
    for batch in plan.batches:
        (await copy_batch(batch, attempt=1, **common)).raise_if_failed()
    report = await report_transfer(**common)

    prefix = parse_location(destination).prefix
    refused = {key for key in keys if refusal(prefix + key, destination_kind)}
    arrived = await contents(stores, destination)
    assert not refused & set(arrived)
    assert arrived == {key: body_of(key) for key in arrived if key in keys}
    missing = set(keys) - refused - set(arrived)
    # Only a local folder has more to refuse: a file and a folder of one name. Each is reported.
    assert (
        not missing
        if destination_kind != "file"
        else all(
            any(other != key and (other.startswith(f"{key}/") or key.startswith(f"{other}/")) for other in keys)
            for key in missing
        )
    )
    assert report.objects_refused == len(refused) + len(missing)
    assert report.refused_by_reason == ({"name": report.objects_refused} if report.objects_refused else {})
    assert report.objects_copied == len(arrived)
    assert report.objects_failed == 0
    assert all(printable(problem) == problem for problem in report.problems)
    assert (around / "neighbour" / "file").read_bytes() == b"not yours"
    assert {path.split("/")[0] for path in tree(around)} <= {"neighbour", Path(destination).name}
