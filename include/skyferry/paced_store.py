"""A store whose requests wait for their turn, so that stores themselves know nothing of limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from skyferry.bandwidth import Bandwidth, ByteRate
from skyferry.content_memory import Content
from skyferry.errors import PermanentError, ReplanError, ThrottledError, TransferError
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata, Prefix
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

    A local folder needs no pace; its bytes count like those of any store.

    Args:
        open_store: Opens the stores themselves.
        max_in_flight: Never more requests to one store under way than this.
        max_requests_per_second: Never more requests to one store than this; None for no such bound.
        bandwidth: Bytes a second that are read from all stores together, and the same that are written.
        share: The part of the two that is ours: 1 divided by how many work at the same time.
    """

    def __init__(
        self,
        open_store: StoreOpener,
        *,
        max_in_flight: int,
        max_requests_per_second: float | None,
        bandwidth: Bandwidth,
        share: float,
    ) -> None:
        self._open_store = open_store
        self._max_in_flight = max_in_flight
        self._max_per_second = None if max_requests_per_second is None else max_requests_per_second * share
        self._reading = ByteRate(bandwidth, share=share)
        self._writing = ByteRate(bandwidth, share=share)
        self._is_capped = bandwidth.is_capped
        self.bytes_passed = 0
        """Of requests that ended; read and written together. Local folders count only under a cap."""
        self._paces: dict[tuple[str, str, str], StorePace] = {}

    @asynccontextmanager
    async def __call__(self, location: Location, conn_id: str) -> AsyncIterator[Store]:
        """Yield the store and close it."""
        async with self._open_store(location, conn_id) as store:
            if store.kind == "file" and not self._is_capped:
                yield store
            else:
                yield PacedStore(store, _Turns(self._pace(store, conn_id), self._reading, self._writing, self._count))

    def _count(self, size_bytes: int) -> None:
        self.bytes_passed += size_bytes

    def _pace(self, store: Store, conn_id: str) -> StorePace | None:
        if store.kind == "file":
            return None
        place = store.kind, conn_id, store.bucket
        if place not in self._paces:
            self._paces[place] = StorePace(
                store.url(), max_in_flight=self._max_in_flight, max_per_second=self._max_per_second
            )
        return self._paces[place]


def paced_stores(open_store: StoreOpener, request: TransferRequest, *, share: float = 1.0) -> PacedStores:
    """Return what opens the stores of a transfer within its limits.

    Args:
        share: The part of its caps that is this task's: 1 divided by how many work at the same time.
    """
    return PacedStores(
        open_store,
        # The parts of one large object may travel together, however few objects do.
        max_in_flight=max(request.max_objects_in_flight, PARTS_IN_FLIGHT),
        max_requests_per_second=request.max_requests_per_second,
        bandwidth=request.bandwidth,
        share=share,
    )


class PacedStore:
    """A store behind a pace; everything else is as the store has it.

    A request the store refuses because there are too many is not made again here; its error says that the pace decides
    when the next one begins (`ThrottledError.is_paced`).
    """

    def __init__(self, store: Store, turns: _Turns) -> None:
        self._store = store
        self._turns = turns

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

    async def delete_bucket(self) -> None:
        """As the store, in its turn."""
        await self._turns.take("delete_bucket", self._store.delete_bucket)

    def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """As the store; a turn for each `OBJECTS_PER_PAGE` names, which are held."""
        return self._in_turns("list_objects", self._store.list_objects(prefix, start_after=start_after))

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """As the store; a turn for each `OBJECTS_PER_PAGE` names, which are held."""
        return self._in_turns("list_level", self._store.list_level(prefix))

    async def _in_turns(self, name: str, listing: AsyncIterator[_Result]) -> AsyncIterator[_Result]:
        async def page() -> list[_Result]:
            entries: list[_Result] = []
            while len(entries) < OBJECTS_PER_PAGE and (entry := await anext(listing, None)) is not None:
                entries.append(entry)
            return entries

        while entries := await self._turns.take(name, page):
            for entry in entries:
                yield entry

    async def stat(self, key: str) -> ObjectInfo | None:
        """As the store, in its turn."""
        return await self._turns.take("stat", lambda: self._store.stat(key))

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, Content]:
        """As the store, in its turn."""
        return await self._turns.read("read_object", lambda: self._store.read_object(info), info.size_bytes)

    async def etag_digest(self, info: ObjectInfo) -> EtagDigest | None:
        """As the store, in its turn."""
        return await self._turns.take("etag_digest", lambda: self._store.etag_digest(info))

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        """As the store, in its turn."""
        return await self._turns.read(
            "read_range", lambda: self._store.read_range(info, start_byte, size_bytes), size_bytes
        )

    async def put_object(
        self,
        key: str,
        body: Content,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        """As the store, in its turn."""
        return await self._turns.write(
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

    async def delete_objects(self, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
        """As the store, in its turn."""
        return await self._turns.take("delete_objects", lambda: self._store.delete_objects(infos))

    async def rename_object(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
        """As the store, in its turn: one for all the requests it takes."""
        return await self._turns.take(
            "rename_object", lambda: self._store.rename_object(info, key, replaces=replaces), info.size_bytes
        )

    async def aclose(self) -> None:
        """As the store."""
        await self._store.aclose()


class _PacedUpload:
    """An upload whose requests wait for their turn."""

    def __init__(self, upload: Upload, turns: _Turns) -> None:
        self._upload = upload
        self._turns = turns

    @property
    def part_digests(self) -> frozenset[str]:
        return self._upload.part_digests

    @property
    def token(self) -> UploadToken | None:
        return self._upload.token

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        return self._upload.has_part(index, size_bytes, digests)

    async def put_part(self, index: int, body: Content, digests: Mapping[str, str]) -> None:
        await self._turns.write("put_part", lambda: self._upload.put_part(index, body, digests), len(body))

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        return await self._turns.take("commit", lambda: self._upload.commit(digests))

    async def leave(self) -> None:
        await self._upload.leave()

    async def abort(self) -> None:
        await self._upload.abort()  # at once: it is called when time is short, and never raises


class _Turns:
    """Makes single requests in their turn.

    Bytes wait before the request does, so that none is held up at the store by those that wait for bytes.
    """

    def __init__(
        self, pace: StorePace | None, reading: ByteRate, writing: ByteRate, count: Callable[[int], None]
    ) -> None:
        self._count = count
        self._pace = pace
        self._reading = reading
        self._writing = writing

    async def read(self, name: str, request: Callable[[], Awaitable[_Result]], size_bytes: int) -> _Result:
        """Return what a request returns that reads so many bytes."""
        await self._reading.wait_for(size_bytes)
        result = await self.take(name, request, size_bytes)
        self._count(size_bytes)
        return result

    async def write(self, name: str, request: Callable[[], Awaitable[_Result]], size_bytes: int) -> _Result:
        """Return what a request returns that writes so many bytes."""
        await self._writing.wait_for(size_bytes)
        result = await self.take(name, request, size_bytes)
        self._count(size_bytes)
        return result

    async def take(self, name: str, request: Callable[[], Awaitable[_Result]], size_bytes: int = 0) -> _Result:
        """Return what the request returns, made when it may begin.

        Args:
            name: Requests of one name and about one size take about as long as each other.
        """
        if self._pace is None:
            return await request()
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
