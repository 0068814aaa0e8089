"""`Storage`: the verbs, on stores that stay open while it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from skyferry.attempts import Attempts
from skyferry.checksums import digest
from skyferry.errors import DestinationChangedError, RequestError
from skyferry.objects import ObjectMetadata
from skyferry.storage.buckets import BucketLister, every_bucket, kind_alone
from skyferry.storage.listing import EVERYTHING, Entry, Wanted, all_named, exactly, level, missing
from skyferry.storage.opening import ConnectedOpener, open_with
from skyferry.storage.presigning import Presigned, PresignOptions, UrlSigner, presign
from skyferry.storage.reading import content
from skyferry.storage.removing import Removal, Removed
from skyferry.storage.renaming import Rename, Renamed, RenameOptions, in_one_place
from skyferry.storage.sending import SendOptions, Sent, send
from skyferry.storage.targets import Target, local_target, parse_bucket, parse_target
from skyferry.stores.base import Store
from skyferry.stores.local import LocalStore
from skyferry.stores.local_files import remove_empty_folders
from skyferry.urls import Location

DEFAULT_SEND = SendOptions()
DEFAULT_PRESIGN = PresignOptions()
DEFAULT_RENAME = RenameOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What lies below one URL: how many objects, and how many bytes they have together."""

    url: str
    objects: int
    size_bytes: int


class Storage:
    """The storage verbs for programs; an asynchronous context manager that closes what it opened.

    URLs are `s3://bucket/key`, `az://container/key`, `gs://bucket/key` and `file:///path`; see
    `skyferry.storage.targets` for what they name. Errors are those of `skyferry.errors`.

    Args:
        conn_id: The Airflow connection for every store that needs one; empty for the default one of its kind.
        max_in_flight: Never more requests to one store at a time than this; 1 to 1,024.
        opener: What opens stores with connections; the installed one by default.
        signer: What signs addresses with connections; the installed one by default.
        lister: What lists the buckets of connections; the installed one by default.
    """

    def __init__(
        self,
        conn_id: str = "",
        *,
        max_in_flight: int = 64,
        opener: ConnectedOpener | None = None,
        signer: UrlSigner | None = None,
        lister: BucketLister | None = None,
    ) -> None:
        self._conn_id = conn_id
        self._lister = lister
        self._signer = signer
        self._open = open_with(conn_id, max_in_flight=max_in_flight, opener=opener)
        self._stores: dict[Location, Store] = {}
        self._opening = asyncio.Lock()
        self._exits = AsyncExitStack()
        self._max_in_flight = max_in_flight
        self.attempts = Attempts()

    @property
    def bytes_passed(self) -> int:
        """How many bytes went to and from buckets so far; those of requests under way are not in it."""
        return self._open.bytes_passed

    async def __aenter__(self) -> Self:
        """Return the storage; nothing is opened yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every store."""
        await self._exits.aclose()

    async def ls(self, url: str) -> AsyncIterator[Entry]:
        """Yield one level: the objects and the folders a URL names, or what the folder it names holds.

        `s3://`, `az://` and `gs://` alone name all buckets of the account or project the connection signs in to.

        Costs one listing. Raises `SourceMissingError` where there is nothing.
        """
        kind = kind_alone(url)
        if kind is not None:
            async for bucket in every_bucket(kind, conn_id=self._conn_id, lister=self._lister):
                yield bucket
            return
        store, target = await self._find(url)
        async for entry in level(store, target, attempts=self.attempts):
            yield entry

    async def find(self, url: str, wanted: Wanted = EVERYTHING) -> AsyncIterator[Entry]:
        """Yield every object a URL names, those in folders included, in key order.

        Costs one listing. Raises `SourceMissingError` where there is nothing; that nothing is wanted is no error.
        """
        store, target = await self._find(url)
        async for entry in all_named(store, target, attempts=self.attempts, wanted=wanted):
            yield entry

    async def stat(self, url: str, *, key: str | None = None) -> Entry:
        """Return everything the store tells about one object: checksums, metadata and tags included.

        Args:
            key: Name of the object below the URL, for names a URL cannot hold.

        Raises:
            SourceMissingError: There is no object of exactly this name.
        """
        store, target = await self._find(url, key=key)
        info = await exactly(store, target, attempts=self.attempts)
        if info is None:
            raise missing(store, target)
        return Entry(url=store.url(info.key), name=target.name, info=info)

    async def du(self, url: str, *, depth: int = 0, wanted: Wanted = EVERYTHING) -> list[Usage]:
        """Return how much lies below each folder, the total last.

        Costs one listing; memory holds one sum for each folder.

        Args:
            depth: How many levels of folders have a sum of their own.
        """
        store, target = await self._find(url)
        folder = target.folder if target.has_glob or not target.name else f"{target.key}/"
        total = Usage(url=store.url(folder), objects=0, size_bytes=0)
        sums: dict[str, Usage] = {}
        async for entry in all_named(store, target, attempts=self.attempts, wanted=wanted):
            size_bytes = entry.info.size_bytes if entry.info else 0
            total = _with(total, size_bytes)
            for parent in _parents(entry.name, depth):
                key = folder + parent
                sums[key] = _with(sums.get(key, Usage(url=store.url(key), objects=0, size_bytes=0)), size_bytes)
        return [*(sums[key] for key in sorted(sums)), total]

    async def cat(
        self, url: str, *, key: str | None = None, start_byte: int = 0, size_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the content of every object a URL names, one after the other in key order; see `reading.content`."""
        store, target = await self._find(url, key=key)
        async for entry in all_named(store, target, attempts=self.attempts):
            assert entry.info is not None
            pieces = content(store, entry.info, start_byte=start_byte, size_bytes=size_bytes, attempts=self.attempts)
            async for piece in pieces:
                yield piece

    async def put(
        self,
        path: str | Path,
        url: str,
        options: SendOptions = DEFAULT_SEND,
        *,
        key: str | None = None,
        sent: Sent | None = None,
    ) -> Sent:
        """Copy a local file, a folder or what a glob takes to a URL, with the promises of a transfer.

        A file goes to the object of exactly that name, or into the folder if the URL ends in `/`; everything else goes
        into the folder. Nothing is overwritten unless `options` says so.

        Args:
            key: Name of the copy below the URL, for names a URL cannot hold.
            sent: Filled while the objects arrive, for those who show progress; it is what is returned.

        Raises:
            SourceMissingError: There is no such file.
            BucketMissingError: The bucket does not exist.
        """
        return await self._send(local_target(path), parse_target(url, key=key), options, sent)

    async def get(
        self,
        url: str,
        path: str | Path,
        options: SendOptions = DEFAULT_SEND,
        *,
        key: str | None = None,
        sent: Sent | None = None,
    ) -> Sent:
        """Copy what a URL names to a local file or folder, with the promises of a transfer.

        An object goes to the file of exactly that name, or into the folder if the path is one or ends in `/`;
        everything else goes into the folder, which is created. Nothing is overwritten unless `options` says so.

        Args:
            key: Name of the object below the URL, for names a URL cannot hold.
            sent: As for `put`.

        Raises:
            SourceMissingError: Nothing has this name.
        """
        return await self._send(parse_target(url, key=key), local_target(path), options, sent)

    async def _send(self, named: Target, goal: Target, options: SendOptions, sent: Sent | None) -> Sent:
        source_store = await self._store(named.bucket)
        exact = await exactly(source_store, named, attempts=self.attempts)
        if exact is None:
            is_no_folder = named.bucket.kind == "file" and named.name and not named.has_glob
            if named.is_literal or is_no_folder:
                raise missing(source_store, named)
            goal = goal.as_folder()
        sent = sent if sent is not None else Sent()
        destination = await self._store(goal.bucket), goal
        await send((source_store, named), destination, exact, options, sent=sent)
        return sent

    @asynccontextmanager
    async def removal(
        self, url: str, *, key: str | None = None, wanted: Wanted = EVERYTHING, removed: Removed | None = None
    ) -> AsyncIterator[Removal]:
        """Yield what `rm` would remove, listed and counted; nothing is deleted before its `remove_all`.

        Args:
            removed: Filled while objects are deleted, for those who show progress or want every row.
        """
        store, target = await self._find(url, key=key)
        with Removal(store, removed if removed is not None else Removed()) as removal:
            await removal.collect(all_named(store, target, attempts=self.attempts, wanted=wanted))
            yield removal

    async def rm(self, url: str, *, key: str | None = None, wanted: Wanted = EVERYTHING) -> Removed:
        """Delete every object a URL names, those in folders included, each only if it is the version that was listed.

        One that cannot be deleted is counted in the answer, with the reason, and costs the others nothing. On S3 a
        thousand objects take one request.

        Raises:
            SourceMissingError: Nothing has this name.
        """
        async with self.removal(url, key=key, wanted=wanted) as removal:
            await removal.remove_all(max_in_flight=self._max_in_flight)
            return removal.outcome

    async def rename(
        self,
        source: str,
        destination: str,
        options: RenameOptions = DEFAULT_RENAME,
        *,
        key: str | None = None,
        renamed: Renamed | None = None,
    ) -> Renamed:
        """Give what a URL names another name in its bucket; the bytes do not leave the store.

        An object gets exactly the name of the destination, or keeps its own if that ends in `/`; a folder and what a
        glob takes go into the folder. Metadata and tags stay. Nothing is overwritten unless `options` says so.

        Local files are renamed in one step, and so are objects of Google. On S3 and Azure the store copies, the copy is
        compared, and then exactly that version of the original is deleted; who is stopped in between leaves both, and
        the same call goes on. One object that cannot be renamed is counted with the reason, and costs the others
        nothing. Costs one listing, and up to six small requests for each object.

        Args:
            key: Name of the object below the source, for names a URL cannot hold.
            renamed: Filled while it works, for those who show progress or want every row; it is what is returned.

        Raises:
            RequestError: The two are not in one bucket, or the one lies in the other.
            SourceMissingError: Nothing has this name.
        """
        named, goal = in_one_place(parse_target(source, key=key), parse_target(destination))
        if goal.has_glob:
            raise RequestError(f"{destination} holds a glob; expected the name of one object, or a folder")
        store = await self._store(named.bucket)
        outcome = renamed if renamed is not None else Renamed()
        rename = Rename(store, options, outcome)
        exact = await exactly(store, named, attempts=self.attempts)
        if exact is not None:
            await rename.one(exact, goal.key if goal.name else goal.folder + exact.key.rpartition("/")[2])
        elif named.is_literal:
            raise missing(store, named)
        else:
            await rename.all_below(named, goal.as_folder_of_keys(), max_in_flight=self._max_in_flight)
        return outcome

    async def mb(self, url: str) -> None:
        """Create a bucket, a container or a local folder; one that is there already is fine."""
        store = await self._store(parse_bucket(url))
        await self.attempts.call(store.create_bucket)

    async def rb(self, url: str, *, force: bool = False) -> Removed:
        """Delete a bucket, a container or a local folder; one that is not there is fine.

        Args:
            force: Remove the objects in it first. Old versions are left, and keep the bucket from being deleted.

        Raises:
            BucketNotEmptyError: There is something in it; it was left alone.
        """
        bucket = parse_bucket(url)
        store = await self._store(bucket)
        outcome = await self.rm(bucket.url) if force else Removed()
        if isinstance(store, LocalStore) and force:
            await asyncio.to_thread(remove_empty_folders, store.root)
        await self.attempts.call(store.delete_bucket)
        return outcome

    async def mkdir(self, url: str) -> str:
        """Make a folder and return its URL; one that is there already is fine.

        In a bucket there are no folders, only keys with a `/`. What is made there is what the vendors' consoles make:
        an object of no bytes whose key ends in `/`.
        """
        store, target = await self._find(url)
        folder = target.as_folder()
        if store.kind == "file":
            await self.mb(folder.bucket.url)
            return folder.bucket.url
        digests = await digest(b"", store.capabilities.digests)
        if not folder.folder:
            raise RequestError(f"{url} names no folder in the bucket", hint="for a bucket: transfer mb")
        with suppress(DestinationChangedError):  # it is there
            await self.attempts.call(
                lambda: store.put_object(folder.folder, b"", metadata=ObjectMetadata(), digests=digests, replaces=None)
            )
        return store.url(folder.folder)

    async def presign(
        self, url: str, options: PresignOptions = DEFAULT_PRESIGN, *, key: str | None = None
    ) -> Presigned:
        """Return an address with which anybody may read or write one object until it expires.

        The object is not looked at: it need not exist, and the connection need not be allowed what the address asks.
        Costs no request, except where the connection gets its keys from a service (a role, an identity).

        Args:
            key: Name of the object below the URL, for names a URL cannot hold.

        Raises:
            RequestError: It names no single object in a store, or the options contradict each other.
            KeyRefusedError: An object of this name cannot be reached by an address.
            ConnectionConfigError: The connection holds nothing to sign with.
        """
        return await presign(parse_target(url, key=key), options, conn_id=self._conn_id, signer=self._signer)

    async def _find(self, url: str, *, key: str | None = None) -> tuple[Store, Target]:
        target = parse_target(url, key=key)
        return await self._store(target.bucket), target

    async def _store(self, bucket: Location) -> Store:
        async with self._opening:
            if bucket not in self._stores:
                self._stores[bucket] = await self._exits.enter_async_context(self._open(bucket, ""))
            return self._stores[bucket]


def _with(usage: Usage, size_bytes: int) -> Usage:
    return replace(usage, objects=usage.objects + 1, size_bytes=usage.size_bytes + size_bytes)


def _parents(name: str, depth: int) -> list[str]:
    """Return the folders a name lies in, down to a depth."""
    elements = name.split("/")[:-1][:depth]
    return ["/".join(elements[: count + 1]) + "/" for count in range(len(elements))]
