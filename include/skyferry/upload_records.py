"""What is remembered of large objects on their way, so that another process can go on with them.

    <state_url>/uploads/<destination>/<upload>/upload.json          what is copied, and where the store keeps its parts
                                              /parts-<writer>-00000.ndjson   digests of source parts that were read

`<destination>` is a digest of the full destination URL and its connection, `<upload>` a random name. The first record
is written before the first part is sent. Nothing is overwritten or appended to; all of them are deleted once the object
is committed. A record that cannot be read is ignored: the object then begins anew.

None of it is proof of anything. What the store holds is asked of the store, and what the digests add up to is compared
with the source's and the destination's own checksums before the destination key changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from skyferry.checksums import PartDigests
from skyferry.errors import TransferError
from skyferry.objects import ObjectInfo, ObjectMetadata
from skyferry.state import StateFolder
from skyferry.stores.base import UploadToken

UPLOADS_FOLDER = "uploads/"
"""Below the `state_url`, beside the folders of the DAGs: a later run may go on with what an earlier one began."""

BYTES_PER_RECORD = 128 * 2**20
"""How much of an object is read between two records of its parts; a process that is killed leaves so much unrecorded,
and its successor reads that again (it does not send it again)."""

_HEADER = "upload.json"
_PARTS_PREFIX = "parts-"
_NAME = re.compile(r"(?P<folder>[0-9a-f]{32}/[0-9a-f]{32}/)(?P<file>upload\.json|parts-[0-9a-f]{16}-[0-9]{5}\.ndjson)")

_log = logging.getLogger(__name__)

_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{2,128}$")]
_Text = Annotated[str, Field(max_length=8192)]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadGoal:
    """A large object that is to get from a pinned source version to a destination key.

    Attributes:
        source: Full URL.
        destination: Full URL.
        part_bytes: For an upload that begins now; one that goes on keeps its own.
    """

    source: str
    info: ObjectInfo
    destination: str
    key: str
    part_bytes: int
    metadata: ObjectMetadata
    replaces: ObjectInfo | None

    @property
    def identity(self) -> str:
        """A digest of everything the parts and the metadata of the upload depend on."""
        pinned = (self.source, self.info.etag, self.info.version_id, self.info.size_bytes, self.destination)
        text = json.dumps([*pinned, asdict(self.metadata)], sort_keys=True, default=list)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class UploadRecord(BaseModel):
    """One upload that has begun.

    Attributes:
        identity: See `UploadGoal.identity`.
        token: The store's own words for where the parts are.
        began_at: When the upload began.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = 1
    identity: _Hex
    source: _Text
    destination: _Text
    destination_conn_id: _Text
    key: _Text
    size_bytes: int = Field(ge=1)
    part_bytes: int = Field(ge=1)
    token: dict[str, _Text]
    dag_id: _Text
    run_id: _Text
    began_at: Annotated[AwareDatetime, Field(strict=False)]


class _PartRow(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    index: int = Field(ge=0)
    size_bytes: int = Field(ge=1)
    digests: dict[str, _Hex]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUpload:
    """A record that was found, and when anything of it was last written.

    Attributes:
        folder: Below `UPLOADS_FOLDER`.
    """

    folder: str
    record: UploadRecord
    names: tuple[str, ...]
    last_written_at: datetime


@dataclass(slots=True)
class UploadJournal:
    """Writes the records of one upload as it proceeds.

    Trouble with the state folder never stops an upload: it only costs the successor of a killed process time.
    """

    state: StateFolder
    folder: str
    _writer: str = field(default_factory=lambda: secrets.token_hex(8))
    _records: int = 0
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _bytes: int = 0

    async def note(self, index: int, part: PartDigests) -> None:
        """Remember the digests of a part of the source; written every `BYTES_PER_RECORD`."""
        self._rows.append({"index": index, "size_bytes": part.size_bytes, "digests": dict(part.digests)})
        self._bytes += part.size_bytes
        if self._bytes >= BYTES_PER_RECORD:
            await self.flush()

    async def flush(self) -> None:
        """Write what was noted."""
        if not self._rows:
            return
        rows, self._rows, self._bytes = self._rows, [], 0
        name = f"{self.folder}{_PARTS_PREFIX}{self._writer}-{self._records:05d}.ndjson"
        self._records += 1
        try:
            await self.state.write(name, rows)
        except TransferError as error:
            _log.warning("an unfinished upload could not be recorded: %s", error)


class UploadRecords:
    """The records of unfinished uploads in the state folder.

    Args:
        state: The folder `UPLOADS_FOLDER`.
        dag_id: Of the run that works.
        run_id: Of the run that works.
        destination_conn_id: The connection of the destination.
    """

    def __init__(self, state: StateFolder, *, dag_id: str, run_id: str, destination_conn_id: str) -> None:
        self._state = state
        self._dag_id = dag_id
        self._run_id = run_id
        self._conn_id = destination_conn_id

    async def find(self, goal: UploadGoal) -> list[FoundUpload]:
        """Return the recorded uploads to the goal's destination, newest first; none if they cannot be read."""
        try:
            found = [upload async for upload in found_uploads(self._state, self._folder(goal))]
        except TransferError as error:
            _log.warning("the records of unfinished uploads could not be read: %s", error)
            return []
        mine = [one for one in found if one.record.destination == goal.destination]
        return sorted(mine, key=lambda one: one.last_written_at, reverse=True)

    async def begin(self, goal: UploadGoal, token: UploadToken) -> UploadJournal | None:
        """Record an upload of which nothing was sent yet; None when the record cannot be written."""
        folder = f"{self._folder(goal)}{secrets.token_hex(16)}/"
        record = UploadRecord(
            identity=goal.identity,
            source=goal.source,
            destination=goal.destination,
            destination_conn_id=self._conn_id,
            key=goal.key,
            size_bytes=goal.info.size_bytes,
            part_bytes=goal.part_bytes,
            token=dict(token),
            dag_id=self._dag_id,
            run_id=self._run_id,
            began_at=datetime.now(UTC),
        )
        try:
            await self._state.write(folder + _HEADER, [record.model_dump(mode="json")])
        except TransferError as error:
            _log.warning("an unfinished upload could not be recorded: %s", error)
            return None
        return UploadJournal(self._state, folder)

    def go_on(self, found: FoundUpload) -> UploadJournal:
        """Return a journal that adds to the records of an earlier process."""
        return UploadJournal(self._state, found.folder)

    async def parts(self, found: FoundUpload) -> dict[int, PartDigests]:
        """Return the digests on record by index of the part; damaged records are left out."""
        parts: dict[int, PartDigests] = {}
        for name in found.names:
            if _PARTS_PREFIX not in name:
                continue
            for row in await _rows(self._state, name):
                parts[row.index] = PartDigests(size_bytes=row.size_bytes, digests=row.digests)
        return parts

    async def forget(self, folder: str) -> None:
        """Delete the records of an upload that is over."""
        await forget_upload(self._state, folder)

    def _folder(self, goal: UploadGoal) -> str:
        place = json.dumps([goal.destination, self._conn_id])
        return f"{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}/"


async def found_uploads(state: StateFolder, folder: str = "") -> AsyncIterator[FoundUpload]:
    """Yield the uploads recorded in a folder below `UPLOADS_FOLDER`; the whole of it by default.

    Memory holds the names of the records. What is damaged is passed over with a warning.
    """
    times = await state.written_at(folder)
    by_folder: dict[str, list[str]] = {}
    for name in times:
        if match := _NAME.fullmatch(name):
            by_folder.setdefault(match["folder"], []).append(name)
    for one, names in sorted(by_folder.items()):
        record = await _header(state, one + _HEADER) if one + _HEADER in names else None
        if record is not None:
            yield FoundUpload(
                folder=one,
                record=record,
                names=tuple(names),
                last_written_at=max([record.began_at, *(time for name in names if (time := times[name]))]),
            )


async def forget_upload(state: StateFolder, folder: str) -> None:
    """Delete the records of an upload, the first one last; what cannot be deleted is left for the next clean."""
    try:
        names = await state.names(folder)
        await asyncio.gather(*(state.delete(name) for name in names if not name.endswith(_HEADER)))
        await state.delete(folder + _HEADER)
    except TransferError as error:
        _log.warning("the records of an upload that is over could not be deleted: %s", error)


async def _header(state: StateFolder, name: str) -> UploadRecord | None:
    rows = await _read(state, name)
    try:
        (row,) = rows
        return UploadRecord.model_validate(row)
    except (ValueError, TypeError):
        if rows:  # else it was deleted meanwhile, or `_read` has said why
            _log.warning("%s is damaged and was ignored: that upload begins anew", state.url(name))
        return None


async def _rows(state: StateFolder, name: str) -> list[_PartRow]:
    try:
        return [_PartRow.model_validate(row) for row in await _read(state, name)]
    except ValidationError:
        _log.warning("%s is damaged and was ignored: its parts are read again", state.url(name))
        return []


async def _read(state: StateFolder, name: str) -> Iterable[Mapping[str, Any]]:
    try:
        return await state.read(name)
    except ValueError:
        _log.warning("%s is damaged and was ignored", state.url(name))
        return []
