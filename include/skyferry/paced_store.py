"""A store whose requests wait for their turn, so that stores themselves know nothing of limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from skyferry.errors import PermanentError, ReplanError, ThrottledError
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata
from skyferry.part_sender import PARTS_IN_FLIGHT
from skyferry.request import TransferRequest
from skyferry.state import StoreOpener
from skyferry.store_pace import StorePace
from skyferry.stores.base import Capabilities, EtagDigest, Store, Upload, UploadToken
from skyferry.urls import Location

OBJECTS_PER_PAGE = 1000
"""A listing counts as one request for so many names, which is what S3 and GCS put into a page."""

_Result = TypeVar("_Result")


class PacedStores:
    """Opens stores that share a pace where they share a bucket and a connection; a `skyferry.state.StoreOpener`.

    A local folder needs no pace.

    Args:
        open_store: Opens the stores themselves.
        max_in_flight: Never more requests to one store under way than this.
    """

    def __init__(self, open_store: StoreOpener, *, max_in_flight: int) -> None:
        self._open_store = open_store
        self._max_in_flight = max_in_flight
        self._paces: dict[tuple[str, str, str], StorePace] = {}

    @asynccontextmanager
    async def __call__(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        """Yield the store and close it."""
        async with self._open_store(location, conn_id) as store:
            yield store if store.kind == "file" else PacedStore(store, self._pace(store, conn_id))

    def _pace(self, store: Store, conn_id: str) -> StorePace:
        place = store.kind, conn_id, store.bucket
        if place not in self._paces:
            self._paces[place] = StorePace(store.url(), max_in_flight=self._max_in_flight)
        return self._paces[place]


def paced_stores(open_store: StoreOpener, requests: Iterable[TransferRequest]) -> PacedStores:
    """Return what opens the stores of some transfers, within the widest of their limits."""
    # The parts of one large object may travel together, however few objects do.
    most = max(request.max_objects_in_flight for request in requests)
    return PacedStores(open_store, max_in_flight=max(most, PARTS_IN_FLIGHT))


class PacedStore:
    """A store behind a pace; everything else is as the store has it.

    A request the store refuses because there are too many is not made again here; its error says that the pace decides
    when the next one begins (`ThrottledError.is_paced`).
    """

    def __init__(self, store: Store, pace: StorePace) -> None:
        self._store = store
        self._turns = _Turns(pace)

    @property
    def kind(self) -> str:
        """As the store."""
        return self._store.kind

    @property
    def bucket(self) -> str:
        """As the store."""
        return self._store.bucket

    @property
    def capabilities(self) -> Capabilities:
        """As the store."""
        return self._store.capabilities

    def url(self, key: str = "") -> str:
        """As the store."""
        return self._store.url(key)

    async def check_bucket(self) -> None:
        """As the store, in its turn."""
        await self._turns.take("check_bucket", self._store.check_bucket)

    async def create_bucket(self) -> None:
        """As the store, in its turn."""
        await self._turns.take("create_bucket", self._store.create_bucket)

    async def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """As the store; a turn for each `OBJECTS_PER_PAGE` names, which are held."""
        listing = self._store.list_objects(prefix, start_after=start_after)

        async def page() -> list[ObjectInfo]:
            infos: list[ObjectInfo] = []
            while len(infos) < OBJECTS_PER_PAGE and (info := await anext(listing, None)) is not None:
                infos.append(info)
            return infos

        while infos := await self._turns.take("list_objects", page):
            for info in infos:
                yield info

    async def stat(self, key: str) -> ObjectInfo | None:
        """As the store, in its turn."""
        return await self._turns.take("stat", lambda: self._store.stat(key))

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, bytes]:
        """As the store, in its turn."""
        return await self._turns.take("read_object", lambda: self._store.read_object(info), info.size_bytes)

    async def etag_digest(self, info: ObjectInfo) -> EtagDigest | None:
        """As the store, in its turn."""
        return await self._turns.take("etag_digest", lambda: self._store.etag_digest(info))

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> bytes:
        """As the store, in its turn."""
        return await self._turns.take(
            "read_range", lambda: self._store.read_range(info, start_byte, size_bytes), size_bytes
        )

    async def put_object(
        self,
        key: str,
        body: bytes,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        """As the store, in its turn."""
        return await self._turns.take(
            "put_object",
            lambda: self._store.put_object(key, body, metadata=metadata, digests=digests, replaces=replaces),
            len(body),
        )

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> Upload:
        """As the store, in its turn; so is everything about the upload."""
        upload = await self._turns.take(
            "start_upload",
            lambda: self._store.start_upload(
                key, size_bytes=size_bytes, part_bytes=part_bytes, metadata=metadata, replaces=replaces
            ),
        )
        return _PacedUpload(upload, self._turns)

    async def resume_upload(
        self,
        key: str,
        token: UploadToken,
        *,
        size_bytes: int,
        part_bytes: int,
        metadata: ObjectMetadata,
        replaces: ObjectInfo | None,
    ) -> Upload | None:
        """As the store, in its turn; so is everything about the upload."""
        upload = await self._turns.take(
            "resume_upload",
            lambda: self._store.resume_upload(
                key, token, size_bytes=size_bytes, part_bytes=part_bytes, metadata=metadata, replaces=replaces
            ),
        )
        return None if upload is None else _PacedUpload(upload, self._turns)

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        """As the store, in its turn."""
        await self._turns.take("abort_upload", lambda: self._store.abort_upload(key, token))

    async def delete_object(self, info: ObjectInfo) -> bool:
        """As the store, in its turn."""
        return await self._turns.take("delete_object", lambda: self._store.delete_object(info))

    async def aclose(self) -> None:
        """As the store."""
        await self._store.aclose()


class _PacedUpload:
    """An upload whose requests wait for their turn."""

    def __init__(self, upload: Upload, turns: _Turns) -> None:
        self._upload = upload
        self._turns = turns

    @property
    def token(self) -> UploadToken | None:
        return self._upload.token

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        return self._upload.has_part(index, size_bytes, digests)

    async def put_part(self, index: int, body: bytes, digests: Mapping[str, str]) -> None:
        await self._turns.take("put_part", lambda: self._upload.put_part(index, body, digests), len(body))

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        return await self._turns.take("commit", lambda: self._upload.commit(digests))

    async def leave(self) -> None:
        await self._upload.leave()

    async def abort(self) -> None:
        await self._upload.abort()  # at once: it is called when time is short, and never raises


class _Turns:
    """Makes single requests in their turn."""

    def __init__(self, pace: StorePace) -> None:
        self._pace = pace

    async def take(self, name: str, request: Callable[[], Awaitable[_Result]], size_bytes: int = 0) -> _Result:
        """Return what the request returns, made when it may begin.

        Args:
            name: Requests of one name and about one size take about as long as each other.
        """
        began_at = await self._pace.enter()
        try:
            result = await request()
        except ThrottledError as error:
            self._pace.refused(began_at, error)
            raise
        except (PermanentError, ReplanError):
            self._pace.answered((name, 0), began_at)
            raise
        else:
            self._pace.answered((name, size_bytes.bit_length() // 2), began_at)
            return result
        finally:
            self._pace.leave()
