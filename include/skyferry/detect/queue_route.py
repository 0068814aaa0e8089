"""One route of a queue: what its consumers do for it, and which records of a message concern it."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyferry.detect.object_records import ObjectRecord
from skyferry.errors import RequestError
from skyferry.object_filter import ObjectFilter
from skyferry.request import TransferRequest
from skyferry.urls import Location

DEFAULT_MAX_DELETES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRoute:
    """A route whose objects a queue tells of.

    Attributes:
        request: From where to where, which objects, and how; its `id` is the route's.
        mirror_deletes: An object that is removed at the source is deleted at the destination too.
        max_deletes: No run deletes more than this many objects at the destination, at least 0.

    Raises:
        RequestError: The source is not S3; or the request is a dry run, since a queue cannot be read without
            consequences; or it moves objects and mirrors deletions, which would delete what was moved; or it asks for
            a minimum age, for which messages would have to be handed out again and again.
    """

    request: TransferRequest
    mirror_deletes: bool = False
    max_deletes: int = DEFAULT_MAX_DELETES
    _source: Location = field(init=False, repr=False, compare=False)
    _filter: ObjectFilter = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        source = self.request.source_location
        if source.kind != "s3":
            raise RequestError(
                f'route "{self.id}": source is {source.url}; expected an s3:// URL, since queues tell of objects in S3'
            )
        if self.request.dry_run:
            raise RequestError(
                f'route "{self.id}": dry_run is set, but a queue cannot be read without consequences',
                hint="leave it out",
            )
        if self.request.min_age_seconds:
            raise RequestError(
                f'route "{self.id}" has min_age_seconds {self.request.min_age_seconds}, but a queue tells of an object'
                " only once, as soon as it is whole",
                hint="leave it out",
            )
        if self.mirror_deletes and not self.request.keep_source:
            raise RequestError(
                f'route "{self.id}" moves objects and has mirror_deletes: it would delete what it has moved',
                hint="choose one of them",
            )
        if self.max_deletes < 0:
            raise RequestError(f'route "{self.id}": max_deletes is {self.max_deletes}; expected 0 or more')
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_filter", self.request.object_filter)

    @property
    def id(self) -> str:
        """The route's id."""
        return self.request.id

    @property
    def moves(self) -> bool:
        """Tell whether objects leave the source once they are copied."""
        return not self.request.keep_source

    def names(self, record: ObjectRecord) -> bool:
        """Tell whether a record is about an object of the route, by bucket, prefix and name.

        Whoever can send to the queue can name any bucket; no other than the route's is ever looked at.
        """
        prefix = self._source.prefix
        return (
            record.bucket == self._source.bucket
            and record.key.startswith(prefix)
            and self._filter.names(record.key.removeprefix(prefix))
        )

    def acts_on(self, record: ObjectRecord) -> bool:
        """Tell whether there may be something to do about a record the route names."""
        return record.kind in ("created", "restored") or (record.kind == "removed" and self.mirror_deletes)
