"""The protocol every store speaks, in guarantees; the engine asks for capabilities, never for a kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from skyferry.content_memory import Content
from skyferry.errors import TransferError
from skyferry.objects import Committed, ObjectInfo, ObjectMetadata, Prefix

UploadToken = Mapping[str, str]
"""Where an unfinished upload is found again, in the store's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do, and within which limits.

    Attributes:
        lists_in_key_order: Listings come in the order of the keys' UTF-8 bytes.
        parts_in_order: Parts of an upload must be sent one after the other, from the first to the last.
        digests: Algorithms the store needs over the whole content at `put_object`.
        commit_digests: The same at `Upload.commit`.
        min_part_bytes: Every part but the last has at least this size, and is a multiple of `part_multiple_bytes`.
        part_multiple_bytes: See `min_part_bytes`.
        max_part_bytes: No part is larger.
        max_parts: No upload has more parts.
        max_object_bytes: No object is larger.
        publishes: Algorithms of the whole content the store later tells of an object written by `put_object`.
        publishes_of_parts: The same for an object written in parts.
        holds_metadata: Content headers and user metadata are kept.
        max_deletes: How many objects one request of `delete_objects` takes.
        reads_are_trusted: Reading is not subject to a network (local folders): what was read is what is stored.
    """

    lists_in_key_order: bool
    parts_in_order: bool
    digests: frozenset[str]
    commit_digests: frozenset[str]
    min_part_bytes: int
    part_multiple_bytes: int
    max_part_bytes: int
    max_parts: int
    max_object_bytes: int
    publishes: frozenset[str]
    publishes_of_parts: frozenset[str]
    holds_metadata: bool
    reads_are_trusted: bool
    max_deletes: int = 1


class EtagDigest(Protocol):
    """A running digest that arrives at an object's etag, where a store makes etags from content."""

    def update(self, body: Content) -> None:
        """Take in the next bytes."""

    def value(self) -> str:
        """Return the etag of everything taken in."""


class Upload(Protocol):
    """A large object on its way; nothing of it is visible at the key before `commit`."""

    @property
    def part_digests(self) -> frozenset[str]:
        """The algorithms whose digests of each part the store needs."""

    @property
    def token(self) -> UploadToken | None:
        """What `Store.resume_upload` needs to go on with this upload, in any process; None where that is impossible."""

    def has_part(self, index: int, size_bytes: int, digests: Mapping[str, str]) -> bool:
        """Tell whether the store holds this very part already, which needs not be sent again then.

        Args:
            digests: The algorithms of `part_digests` over the part.
        """

    async def put_part(self, index: int, body: Content, digests: Mapping[str, str]) -> None:
        """Store part `index` (from 0). Repeating it with the same bytes is harmless."""

    async def commit(self, digests: Mapping[str, str]) -> Committed:
        """Show the whole object at its key, or leave the key as it was.

        Args:
            digests: The algorithms of `Capabilities.commit_digests` over the whole content, lower-case hex.

        Raises:
            DestinationChangedError: The key no longer shows `replaces`. Also raised when the answer to an earlier
                commit was lost; compare checksums before you call it a conflict.
            ChecksumMismatchError: The store holds other bytes than were sent; the key does not show them any longer
                where the store allows that to be arranged (see each store).
        """

    async def leave(self) -> None:
        """End work on the upload in this process, and leave what was stored for `Store.resume_upload`."""

    async def abort(self) -> None:
        """Throw away what was stored; never raises for an upload that is gone already."""


class Store(Protocol):
    """One bucket (container, local folder) behind one connection.

    Every method raises errors of `skyferry.errors` only, whose messages name the object by its full URL and carry no
    secret. No method retries: the caller decides that. Cancelling a call leaves no half-visible object.
    """

    @property
    def kind(self) -> str:
        """`s3`, `az`, `gs` or `file`."""

    @property
    def bucket(self) -> str:
        """Bucket, container, or absolute path of the local folder."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""

    def url(self, key: str = "") -> str:
        """Return the full URL of a key, without credentials or query."""

    async def check_bucket(self) -> None:
        """Raise `BucketMissingError` or `AccessDeniedError` unless the bucket can be used."""

    async def create_bucket(self) -> None:
        """Create the bucket; one that exists already is fine."""

    async def delete_bucket(self) -> None:
        """Delete the bucket if there is nothing in it; one that is not there is fine.

        Raises:
            BucketNotEmptyError: There is; nothing was deleted.
        """

    def list_objects(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix`, page by page (memory of one page).

        `start_after` skips keys up to and including it where the store can; where it cannot, they are filtered out.
        Keys that are not valid Unicode come with surrogates, so that the plan can refuse them by name.
        """

    def list_level(self, prefix: str = "") -> AsyncIterator[ObjectInfo | Prefix]:
        """Yield the objects whose key starts with `prefix` and goes on without a `/`, and prefixes for all others.

        In key order within a page; memory of one page. A local folder shows folders without a file, too.
        """

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return everything the store knows about a key, checksums, metadata and tags included; None if absent."""

    async def read_object(self, info: ObjectInfo) -> tuple[ObjectInfo, Content]:
        """Return a small object's content and full description, in as few requests as the store allows.

        The bytes are those of the version `info` names, raw (never decoded by Content-Encoding).

        Raises:
            SourceChangedError: The key shows another version now.
            SourceMissingError: The key shows nothing now.
            ObjectArchivedError: The object must be restored first.
            SizeMismatchError: The answer broke off.
        """

    async def etag_digest(self, info: ObjectInfo) -> EtagDigest | None:
        """Return a digest that arrives at `info.etag` for the right content; None where etags are made otherwise.

        It is the evidence for objects whose store publishes no checksum of the whole content. A digest that arrives
        elsewhere proves nothing: the object may have been uploaded in parts of unequal size.
        """

    async def read_range(self, info: ObjectInfo, start_byte: int, size_bytes: int) -> Content:
        """Return exactly these bytes of the version `info` names; raises as `read_object`."""

    async def put_object(
        self,
        key: str,
        body: Content,
        *,
        metadata: ObjectMetadata,
        digests: Mapping[str, str],
        replaces: ObjectInfo | None,
    ) -> Committed:
        """Write a small object in one atomic request.

        Args:
            metadata: Already fitted to this store by `skyferry.metadata`.
            digests: The algorithms of `Capabilities.digests`, lower-case hex.
            replaces: The version the key must still show; None when it must show nothing.

        Raises:
            DestinationChangedError: As `Upload.commit`.
            ChecksumMismatchError: The store refused the bytes, or holds others.
        """

    async def start_upload(
        self, key: str, *, size_bytes: int, part_bytes: int, metadata: ObjectMetadata, replaces: ObjectInfo | None
    ) -> Upload:
        """Begin a large object of a known size in parts of `part_bytes` (the last one may be smaller)."""

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
        """Go on with an upload another process began with the same arguments; None if nothing of it can be used.

        What the store holds is asked of the store; the token says where to ask, and is not trusted with more.
        """

    async def abort_upload(self, key: str, token: UploadToken) -> None:
        """Throw away what was stored of an upload; one that is gone already is fine."""

    async def delete_object(self, info: ObjectInfo) -> bool:
        """Delete exactly the version `info` names; return False when the key shows nothing any more.

        Raises:
            SourceChangedError: The key shows another version, which stays.
        """

    async def delete_objects(self, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
        """Delete exactly these versions, at most `Capabilities.max_deletes`; return for each what became of it.

        True: it is gone now; False: the key showed nothing any more; an error: it is still there, and why. An S3
        endpoint that does not know conditional deletes deletes whatever the keys show.
        """

    async def rename_object(self, info: ObjectInfo, key: str, *, replaces: ObjectInfo | None) -> str:
        """Give exactly the version `info` names another key of this bucket; its bytes do not leave the store.

        Content headers, user metadata and tags stay with it. Where the store renames in one step, that is taken. Where
        it does not, it copies, the copy is compared with the original, and then exactly that version of the original is
        deleted: who is killed in between leaves both. Repeating the call then raises `DestinationChangedError`, and the
        caller compares the two.

        Args:
            replaces: The version `key` must still show; None when it must show nothing.

        Returns:
            A sentence on what the endpoint could not be held to; empty where everything above was.

        Raises:
            SourceChangedError: The key shows another version now, which stays where it is.
            SourceMissingError: The key shows nothing now.
            DestinationChangedError: As `Upload.commit`.
            ObjectArchivedError: The object must be restored first.
            ChecksumMismatchError: The copy was another one, and is removed again; the original is where it was.
        """

    async def aclose(self) -> None:
        """Release connections."""


async def delete_each(store: Store, infos: Sequence[ObjectInfo]) -> Sequence[bool | TransferError]:
    """Return what `Store.delete_objects` returns, where each object takes a request of its own."""
    outcomes: list[bool | TransferError] = []
    for info in infos:
        try:
            outcomes.append(await store.delete_object(info))
        except TransferError as error:
            outcomes.append(error)
    return outcomes
