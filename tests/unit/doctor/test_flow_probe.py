"""The object a doctor sends: a name its route takes, removed only if it is what was sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from skyferry.doctor.flow_probe import flow_probe, put_probe, remove_probe
from skyferry.errors import RequestError, TransferError
from skyferry.object_filter import ObjectFilter
from skyferry.stores.local import LocalStore

TOKEN = "0123456789abcdef" * 2
NAME = f"skyferry-flow-{TOKEN}"


@pytest.mark.parametrize(
    ("wanted", "key"),
    [
        ({}, NAME),
        ({"data": "2026/"}, f"2026/{NAME}"),
        ({"data": "*.csv"}, f"{NAME}.csv"),
        ({"data": "2026/**/*.[ct]sv"}, f"2026/{NAME}.csv"),
        ({"data": "2026/", "include": ["**/*.csv"]}, f"2026/{NAME}.csv"),
        ({"include": ["one.csv", "day-?/{a,b}/*"]}, f"day-x/a/{NAME}"),
        ({"include": ["*.csv", "*.txt"], "exclude": ["*.csv"]}, f"{NAME}.txt"),
        ({"include": ["*/orders.csv"]}, f"{NAME}/orders.csv"),
    ],
)
def test_its_name_is_one_that_the_route_takes(wanted: dict[str, Any], key: str) -> None:
    found = flow_probe(TOKEN, ObjectFilter(**wanted))
    assert found.relative_key == key
    assert ObjectFilter(**wanted).names(key)
    assert flow_probe(TOKEN, ObjectFilter(**wanted)) == found


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"data": "2026/may.csv"}, "no name for a probe"),
        ({"include": ["a.csv", "b?.csv"]}, "no name for a probe"),
        ({"exclude": ["**"]}, "no name for a probe"),
        ({"min_size_bytes": 2**20 + 1}, "objects of 1,048,577 bytes and more"),
    ],
)
def test_where_no_object_can_be_sent_that_is_said(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        flow_probe(TOKEN, ObjectFilter(**wanted))
    assert "nothing was written" in str(refused.value)


@pytest.mark.parametrize("token", ["", "../../etc/passwd", TOKEN.upper(), TOKEN + "0", TOKEN + "\n"])
def test_nothing_but_a_token_is_taken_for_one(token: str) -> None:
    with pytest.raises(RequestError, match="32 hexadecimal digits"):
        flow_probe(token, ObjectFilter())


def test_it_has_a_size_that_the_route_takes() -> None:
    assert len(flow_probe(TOKEN, ObjectFilter(min_size_bytes=5_000)).body) == 5_000
    assert len(flow_probe(TOKEN, ObjectFilter(max_size_bytes=7)).body) == 7
    assert flow_probe(TOKEN, ObjectFilter(max_size_bytes=0)).body == b""


@pytest.mark.parametrize("body", [b"the probe", b""])
def test_it_is_put_once_and_removed_once(tmp_path: Path, body: bytes) -> None:
    async def there_and_back() -> list[bool]:
        store = LocalStore(tmp_path)
        await put_probe(store, NAME, body)
        await put_probe(store, NAME, body)
        assert (tmp_path / NAME).read_bytes() == body
        return [await remove_probe(store, NAME, body), await remove_probe(store, NAME, body)]

    assert asyncio.run(there_and_back()) == [True, False]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"the prob3", b"longer than that"])
def test_what_somebody_else_wrote_there_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    store = LocalStore(tmp_path)
    with pytest.raises(TransferError, match="something else than the probe"):
        asyncio.run(remove_probe(store, NAME, b"the probe"))
    with pytest.raises(TransferError):
        asyncio.run(put_probe(store, NAME, b"the probe"))
    assert (tmp_path / NAME).read_bytes() == content
