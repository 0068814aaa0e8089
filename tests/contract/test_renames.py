"""`Store.rename_object`, sentence by sentence, kept by every store."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from skyferry.errors import (
    ChecksumMismatchError,
    ConnectionLostError,
    DestinationChangedError,
    KeyRefusedError,
    SourceChangedError,
    SourceMissingError,
    TransferError,
)
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.stores import local_moves, local_rename, s3_copy
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from tests.contract.conftest import Subject
from tests.contract.test_store_contract import HOSTILE_KEYS, REMOTE_HOSTILE_KEYS
from tests.faults.proxy import Forward, Response, answer, refuse

METADATA = ObjectMetadata(
    content_type="text/csv; charset=utf-8",
    content_encoding="identity-ish",
    content_language="de-CH",
    content_disposition='attachment; filename="a b.csv"',
    cache_control="max-age=60, no-transform",
    user={"owner": "finance", "note": "a value with spaces, = and +"},
)
TAGS = {"team": "data", "cost centre": "a/b:c=d+e-f_g.h"}


def _bytes(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


async def _rename(subject: Subject, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None = None) -> str:
    return await subject.store.rename_object(info, key, replaces=replaces)


async def test_the_object_has_the_other_name_and_no_longer_the_old_one(subject: Subject) -> None:
    body = _bytes(5000)
    info = (await subject.put("old/name", body)).info
    assert await _rename(subject, info, "new/and deep/name") == ""
    assert await subject.keys() == ["new/and deep/name"]
    assert await subject.content("new/and deep/name") == body


async def test_what_was_uploaded_in_parts_is_renamed(subject: Subject) -> None:
    body = _bytes(2 * subject.part_bytes + 7)
    info = (await subject.upload("old", body)).info
    await _rename(subject, info, "new")
    assert await subject.keys() == ["new"]
    assert await subject.content("new") == body


async def test_headers_metadata_and_tags_stay(remote: Subject) -> None:
    tags = {} if remote.store.kind == "gs" else TAGS
    metadata = ObjectMetadata(**{name: getattr(METADATA, name) for name in METADATA.__slots__} | {"tags": tags})
    info = (await remote.put("old", b"body", metadata=metadata)).info
    await _rename(remote, info, "new")
    found = await remote.store.stat("new")
    assert found is not None
    assert found.metadata == metadata


async def test_nothing_is_overwritten(subject: Subject) -> None:
    info = (await subject.put("old", b"mine")).info
    await subject.put("new", b"theirs")
    with pytest.raises(DestinationChangedError, match="new"):
        await _rename(subject, info, "new")
    assert await subject.content("old") == b"mine"
    assert await subject.content("new") == b"theirs"


async def test_only_the_version_that_is_named_is_replaced(subject: Subject) -> None:
    info = (await subject.put("old", b"mine")).info
    first = (await subject.put("new", b"first")).info
    second = (await subject.put("new", b"second!", replaces=first)).info
    with pytest.raises(DestinationChangedError, match="new"):
        await _rename(subject, info, "new", replaces=first)
    assert await subject.content("new") == b"second!"
    assert await subject.content("old") == b"mine"
    await _rename(subject, info, "new", replaces=second)
    assert await subject.keys() == ["new"]
    assert await subject.content("new") == b"mine"


async def test_a_replaced_object_that_is_gone_is_a_change(subject: Subject) -> None:
    info = (await subject.put("old", b"mine")).info
    gone = (await subject.put("new", b"gone")).info
    await subject.store.delete_object(gone)
    with pytest.raises(DestinationChangedError, match="new"):
        await _rename(subject, info, "new", replaces=gone)
    assert await subject.keys() == ["old"]


async def test_only_the_version_that_was_listed_is_renamed(subject: Subject) -> None:
    old = (await subject.put("old", b"old")).info
    await subject.put("old", b"newer", replaces=old)
    with pytest.raises(SourceChangedError, match="old"):
        await _rename(subject, old, "new")
    assert await subject.keys() == ["old"]
    assert await subject.content("old") == b"newer"


async def test_an_object_that_is_gone_is_named(subject: Subject) -> None:
    info = (await subject.put("old", b"old")).info
    await subject.store.delete_object(info)
    with pytest.raises(SourceMissingError, match="old is gone"):
        await _rename(subject, info, "new")
    assert await subject.keys() == []


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_hostile_names_arrive_exactly(subject: Subject, key: str) -> None:
    info = (await subject.put(key, b"body")).info
    await _rename(subject, info, f"x/{key}")
    found = await subject.store.stat(f"x/{key}")
    assert found is not None
    await _rename(subject, found, key)
    assert await subject.keys() == [key]


@pytest.mark.parametrize("key", REMOTE_HOSTILE_KEYS)
async def test_names_that_are_no_paths_arrive_exactly(remote: Subject, key: str) -> None:
    info = (await remote.put("plain", b"body")).info
    await _rename(remote, info, key)
    assert await remote.keys() == [key]


async def test_names_a_store_refuses_are_refused(subject: Subject) -> None:
    info = (await subject.put("old", b"body")).info
    with pytest.raises(KeyRefusedError):
        await _rename(subject, info, "not-\ud800-unicode" if subject.store.kind in ("s3", "gs") else "a/../b")
    assert await subject.keys() == ["old"]


# Where the copy is done, and the original still there


@pytest.mark.parametrize("remote", ["s3", "az"], indirect=True)
async def test_who_is_stopped_in_between_leaves_both_and_says_so_when_repeated(remote: Subject) -> None:
    subject = remote
    assert subject.proxy is not None
    info = (await subject.put("old", b"body")).info
    subject.proxy.inject(refuse(), method="DELETE")
    with pytest.raises(ConnectionLostError):
        await _rename(subject, info, "new")
    assert await subject.keys() == ["new", "old"]
    subject.proxy.clear()
    with pytest.raises(DestinationChangedError):
        await _rename(subject, info, "new")
    assert await subject.content("old") == await subject.content("new") == b"body"


@pytest.mark.parametrize("remote", ["s3", "az"], indirect=True)
async def test_a_version_that_is_written_in_between_stays(remote: Subject) -> None:
    subject = remote
    assert subject.proxy is not None
    info = (await subject.put("old", b"body")).info

    async def overwrite_first(request: object, forward: object) -> Response:
        del request, forward
        await subject.put("old", b"newer", replaces=info)
        return Response(503)

    subject.proxy.inject(overwrite_first, method="DELETE", times=1)
    with pytest.raises(TransferError, match="old"):
        await _rename(subject, info, "new")
    subject.proxy.clear()
    with pytest.raises(SourceChangedError):
        await subject.store.delete_object(info)
    assert await subject.content("old") == b"newer"


@pytest.mark.parametrize("remote", ["s3", "az"], indirect=True)
async def test_a_version_that_is_written_right_before_the_copy_is_not_taken_for_the_listed_one(
    remote: Subject,
) -> None:
    assert remote.proxy is not None
    info = (await remote.put("old", b"body")).info

    async def overwrite_first(request: object, forward: Forward) -> Response:
        await remote.put("old", b"newer", replaces=info)
        return await forward(request)  # type: ignore[arg-type]

    remote.proxy.inject(overwrite_first, method="PUT", target_contains="/new", times=1)
    with pytest.raises(SourceChangedError, match="old"):
        await _rename(remote, info, "new")
    assert await remote.keys() == ["old"]
    assert await remote.content("old") == b"newer"


async def test_a_local_file_that_takes_the_place_of_the_listed_one_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    (tmp_path / "old").write_bytes(b"body")
    info = await store.stat("old")
    assert info is not None

    def move_after_another_came(*names: object) -> None:
        if (tmp_path / "old").exists():
            (tmp_path / "old").unlink()
            (tmp_path / "old").write_bytes(b"newer")
        local_moves.move(*names)  # type: ignore[arg-type]

    monkeypatch.setattr(local_rename, "move", move_after_another_came)
    with pytest.raises(SourceChangedError, match="left where it is"):
        await store.rename_object(info, "new", replaces=None)
    assert [entry.key async for entry in store.list_level()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"newer"


async def test_a_copy_that_is_another_one_is_removed_and_the_original_kept(s3: Subject) -> None:
    assert s3.proxy is not None
    info = (await s3.put("old", b"body")).info

    async def copy_of_another(request: object, forward: object) -> Response:
        del request, forward
        await s3.put("new", b"other bytes")
        return Response(
            200, (("Content-Type", "application/xml"),), b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"
        )

    s3.proxy.inject(copy_of_another, method="PUT", target_contains="/new", times=1)
    with pytest.raises(ChecksumMismatchError, match="the original was kept"):
        await _rename(s3, info, "new")
    assert await s3.keys() == ["old"]


async def test_an_error_that_s3_finds_out_after_it_said_200_is_one(s3: Subject) -> None:
    assert s3.proxy is not None
    info = (await s3.put("old", b"body")).info
    error = b"<Error><Code>InternalError</Code><Message>try again</Message></Error>"
    s3.proxy.inject(answer(200, body=error), method="PUT")
    with pytest.raises(ConnectionLostError, match="InternalError"):
        await _rename(s3, info, "new")
    assert await s3.keys() == ["old"]


async def test_above_the_limit_of_one_request_s3_copies_parts(s3: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_copy, "MAX_COPY_BYTES", 10)
    monkeypatch.setattr(s3_copy, "PART_BYTES", s3.part_bytes)
    metadata = ObjectMetadata(**{name: getattr(METADATA, name) for name in METADATA.__slots__} | {"tags": TAGS})
    body = _bytes(2 * s3.part_bytes + 7)
    info = (await s3.put("old", body, metadata=metadata)).info
    assert s3.proxy is not None
    s3.proxy.clear()
    await _rename(s3, info, "new")
    assert s3.proxy.count("PUT", "partNumber=") == 3
    assert await s3.keys() == ["new"]
    found = await s3.store.stat("new")
    assert found is not None
    assert found.metadata == metadata
    assert await s3.content("new") == body
    # and its conditions are the same
    again = (await s3.put("old", body)).info
    with pytest.raises(DestinationChangedError):
        await _rename(s3, again, "new")


async def test_an_s3_endpoint_that_refuses_conditions_is_looked_at_and_the_answer_says_so(s3: Subject) -> None:
    assert s3.proxy is not None
    info = (await s3.put("old", b"body")).info

    async def refuse_conditions(request: object, forward: object) -> Response:
        if request.header("If-None-Match") or request.header("If-Match"):  # type: ignore[attr-defined]
            return Response(501, (), b"<Error><Code>NotImplemented</Code><Message/></Error>")
        return await forward(request)  # type: ignore[operator, no-any-return]

    s3.proxy.inject(refuse_conditions, method="PUT")
    s3.proxy.inject(refuse_conditions, method="DELETE")
    caution = await _rename(s3, info, "new")
    assert "knows no conditional copies and deletions" in caution
    assert await s3.keys() == ["new"]


async def test_the_storage_class_of_s3_stays(s3: Subject) -> None:
    store = s3.store
    info = (await s3.put("old", b"body")).info
    headers = {"x-amz-copy-source": f"/{store.bucket}/old", "x-amz-storage-class": "STANDARD_IA"}
    target = store.target("copying", "ia", "")  # type: ignore[attr-defined]
    await store.api.ask("PUT", "ia", target, headers=headers)  # type: ignore[attr-defined]
    await store.delete_object(info)
    found = await store.stat("ia")
    assert found is not None
    await _rename(s3, found, "new")
    answered = await store.head("new")  # type: ignore[attr-defined]
    assert answered.headers["x-amz-storage-class"] == "STANDARD_IA"


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_an_endpoint_of_google_that_moves_nothing_copies(gs: Subject, status: int) -> None:
    assert gs.proxy is not None
    info = (await gs.put("old", b"body", metadata=METADATA)).info
    await gs.put("taken", b"theirs")
    gs.proxy.inject(answer(status), method="POST", target_contains="/moveTo/")
    with pytest.raises(DestinationChangedError):
        await _rename(gs, info, "taken")
    await _rename(gs, info, "new")
    assert await gs.keys() == ["new", "taken"]
    found = await gs.store.stat("new")
    assert found is not None
    assert found.metadata == METADATA


async def test_google_moves_in_one_request(gs: Subject) -> None:
    assert gs.proxy is not None
    info = (await gs.put("old", b"body")).info
    gs.proxy.clear()
    await _rename(gs, info, "new")
    assert (gs.proxy.count("POST", "/moveTo/"), gs.proxy.count()) == (1, 1)


async def test_a_local_file_is_never_renamed_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "old").write_bytes(b"body")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    store: Store = LocalStore(tmp_path / "root")
    info = await store.stat("old")
    assert info is not None
    with pytest.raises(KeyRefusedError):
        await store.rename_object(info, "link/new", replaces=None)
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "root" / "old").read_bytes() == b"body"
