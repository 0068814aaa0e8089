"""Abandoned uploads are found and ended; young ones, those of live runs, and those of others stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from skyferry.errors import RequestError
from skyferry.objects import ObjectMetadata
from skyferry.stores.http_requests import parse_xml
from skyferry.stores.s3 import S3Store
from skyferry.upload_cleanup import Cleanup, find_abandoned, remove_abandoned, spare_live
from skyferry.urls import parse_location
from tests.resume.conftest import Pier, make_pier
from tests.resume.test_going_on import Reads, interrupted

WEEK_SECONDS = 7 * 24 * 3600


@pytest.fixture(params=["s3", "file"])
def pier(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with make_pier(request.param, request, tmp_path) as made:
        yield made


async def clean(
    pier: Pier, *, days_later: int = 8, live: bool = False, dry_run: bool = False, below: str = ""
) -> Cleanup:
    harbour = pier.harbour
    state = parse_location(f"file://{harbour.state}")
    now = datetime.now(UTC) + timedelta(days=days_later)
    abandoned = await find_abandoned(
        harbour.open_store, state, "", older_than_seconds=WEEK_SECONDS, below=below, now=now
    )
    spare_live(abandoned, lambda dag_id, run_id: live and (dag_id, run_id) == ("transfer", "run"))
    return await remove_abandoned(
        abandoned, harbour.open_store, state, "", older_than_seconds=WEEK_SECONDS, dry_run=dry_run
    )


async def uploads(pier: Pier) -> list[str]:
    """Return the keys of the unfinished uploads that the store holds."""
    harbour = pier.harbour
    if harbour.kind == "file":
        return sorted(path.name for path in harbour.root.rglob(".skyferry-*"))
    async with harbour.open_store(parse_location(harbour.destination), "") as store:
        assert isinstance(store, S3Store)
        target = store.target("listing the uploads of", "", "s3:ListBucketMultipartUploads")
        found = parse_xml(await store.api.ask("GET", "", target, query={"uploads": ""}))
        return [one.findtext("Key", "") for one in found.iterfind("Upload")]


async def test_what_is_abandoned_goes(pier: Pier) -> None:
    await interrupted(pier, parts=1)
    assert await uploads(pier)
    found = await clean(pier)
    assert (found.state, found.uploads_found, found.uploads_removed) == ("success", 1, 1)
    assert found.removed[0].endswith("/large.bin")
    assert await uploads(pier) == []
    assert pier.harbour.records() == []


@pytest.mark.parametrize(
    ("conditions", "counted"),
    [
        ({"days_later": 6}, "uploads_young"),
        ({"live": True}, "uploads_live"),
        ({"dry_run": True}, "uploads_removed"),
        ({"below": "s3://another/"}, None),
    ],
)
async def test_what_is_not_stays_and_goes_on(pier: Pier, conditions: dict[str, Any], counted: str | None) -> None:
    plan = await interrupted(pier, parts=1)
    before = await uploads(pier)
    found = await clean(pier, **conditions)
    assert await uploads(pier) == before
    assert found.uploads_found == (1 if counted else 0)
    assert counted is None or getattr(found, counted) == 1
    Reads(pier)
    (await pier.harbour.copy(plan, attempt=2)).raise_if_failed()
    assert pier.harbour.receipts()[-1]["resumed_bytes"] > 0


async def test_uploads_of_others_are_not_touched(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with make_pier("s3", request, tmp_path) as pier:
        await interrupted(pier, parts=1)
        async with pier.harbour.open_store(parse_location(pier.harbour.destination), "") as store:
            assert isinstance(store, S3Store)
            await store.start_upload(
                "somebody/elses", size_bytes=1, part_bytes=1, metadata=ObjectMetadata(), replaces=None
            )
        assert (await clean(pier)).uploads_removed == 1
        assert await uploads(pier) == ["somebody/elses"]


async def test_one_that_cannot_be_ended_is_a_problem_and_keeps_its_record(tmp_path: Path, request: Any) -> None:
    with make_pier("s3", request, tmp_path) as pier:
        await interrupted(pier, parts=1)
        records = pier.harbour.records()
    found = await clean(pier)  # the proxy is gone, and with it the store
    assert (found.state, found.uploads_removed, len(found.problems)) == ("failed", 0, 1)
    assert pier.harbour.records() == records


async def test_files_without_a_record(tmp_path: Path, request: Any) -> None:
    with make_pier("file", request, tmp_path) as pier:
        await interrupted(pier, parts=1)
        folder = tmp_path / pier.harbour.bucket
        claim = folder / ".skyferry-claim-0123456789abcdef.part"
        claim.write_text("perhaps the only copy")
        (folder / ".skyferry-0123456789abcdef.part").write_text("without a journal")
        for name in pier.harbour.records():
            (pier.harbour.state / "uploads" / name).unlink()
        state = parse_location(f"file://{pier.harbour.state}")

        async def clean_files(seconds: int) -> int:
            abandoned = await find_abandoned(
                pier.harbour.open_store, state, "", older_than_seconds=WEEK_SECONDS, below=""
            )
            return (
                await remove_abandoned(
                    abandoned, pier.harbour.open_store, state, "", folders=[folder], older_than_seconds=seconds
                )
            ).files_removed

        assert await clean_files(3600) == 0
        assert await clean_files(-3600) == 1
        assert await uploads(pier) == [".skyferry-0123456789abcdef.part", claim.name]


async def test_an_age_that_live_uploads_may_have_is_refused(tmp_path: Path, request: Any) -> None:
    with make_pier("file", request, tmp_path) as pier:
        with pytest.raises(RequestError, match="the least age is 3,600 seconds"):
            await find_abandoned(pier.harbour.open_store, parse_location("file:///x"), "", older_than_seconds=3599)
