"""What a route must be able to do in each of its places and queues, and the rights it takes, in the store's words.

The one source of `skyferry.provisioning.access_rights`, which writes the policies, and of `skyferry.doctor`, which
finds out whether they are in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from skyferry.provisioning.route_needs import PlaceNeed, QueueNeed


class Ability(StrEnum):
    """Something that is done in a place or with a queue."""

    LIST = "list"
    READ = "read"
    READ_VERSIONS = "read versions"
    READ_TAGS = "read tags"
    READ_TAGS_OF_VERSIONS = "read tags of versions"
    WRITE = "write"
    REPLACE = "replace"
    WRITE_TAGS = "write tags"
    END_UPLOADS = "end uploads"
    RESUME_UPLOADS = "resume uploads"
    DELETE = "delete"
    USE_KEY = "use key"
    CREATE = "create"
    LOOK = "look"
    RECEIVE = "receive"
    HOLD = "hold"
    REMOVE = "remove"
    FIND_DEAD_LETTERS = "find dead letters"
    SEND_DEAD_LETTERS = "send dead letters"
    SEND = "send"
    DESCRIBE_TABLE = "look at the table"
    WRITE_ITEMS = "write receipts"
    QUERY_ITEMS = "find receipts"


_READING = (Ability.READ, Ability.READ_VERSIONS, Ability.READ_TAGS, Ability.READ_TAGS_OF_VERSIONS)
_OF_PLACES: Mapping[str, tuple[Ability, ...]] = {
    "source": (Ability.LIST, *_READING),
    "destination": (
        Ability.LIST,
        *_READING,
        Ability.WRITE,
        Ability.REPLACE,
        Ability.WRITE_TAGS,
        Ability.END_UPLOADS,
        Ability.RESUME_UPLOADS,
        Ability.DELETE,
    ),
    "state": (Ability.LIST, Ability.READ, Ability.READ_VERSIONS, Ability.WRITE, Ability.DELETE),
}

_RIGHTS: Mapping[str, Mapping[Ability, tuple[str, ...]]] = {
    "s3": {
        Ability.LIST: ("s3:ListBucket",),
        Ability.READ: ("s3:GetObject",),
        Ability.READ_VERSIONS: ("s3:GetObjectVersion",),
        Ability.READ_TAGS: ("s3:GetObjectTagging",),
        Ability.READ_TAGS_OF_VERSIONS: ("s3:GetObjectVersionTagging",),
        Ability.WRITE: ("s3:PutObject",),
        Ability.REPLACE: ("s3:PutObject",),
        Ability.WRITE_TAGS: ("s3:PutObjectTagging",),
        Ability.END_UPLOADS: ("s3:AbortMultipartUpload",),
        Ability.RESUME_UPLOADS: ("s3:ListMultipartUploadParts",),
        Ability.DELETE: ("s3:DeleteObject",),
        Ability.CREATE: ("s3:CreateBucket",),
    },
    # Without the right to read tags, a blob is copied without its tags, and the report says so.
    # https://learn.microsoft.com/rest/api/storageservices/create-service-sas#permissions-for-a-directory-container-or-blob
    "az": {
        Ability.LIST: ("l",),
        Ability.READ: ("r",),
        Ability.WRITE: ("c", "w"),
        Ability.REPLACE: ("w",),
        Ability.WRITE_TAGS: ("t",),
        Ability.DELETE: ("d",),
    },
    # Who replaces an object deletes the old one: https://cloud.google.com/storage/docs/access-control/iam-json
    "gs": {
        Ability.LIST: ("storage.objects.list",),
        Ability.READ: ("storage.objects.get",),
        Ability.WRITE: ("storage.objects.create",),
        Ability.REPLACE: ("storage.objects.delete",),
        Ability.DELETE: ("storage.objects.delete",),
        Ability.CREATE: ("storage.buckets.create",),
    },
    "file": {
        Ability.LIST: ("reading the folder",),
        Ability.READ: ("reading files",),
        Ability.WRITE: ("writing in the folder",),
        Ability.REPLACE: ("writing in the folder",),
        Ability.DELETE: ("writing in the folder",),
    },
    "sqs": {
        Ability.LOOK: ("sqs:GetQueueAttributes",),
        Ability.RECEIVE: ("sqs:ReceiveMessage",),
        Ability.HOLD: ("sqs:ChangeMessageVisibility",),
        Ability.REMOVE: ("sqs:DeleteMessage",),
        Ability.SEND: ("sqs:SendMessage",),
        Ability.CREATE: ("sqs:CreateQueue",),
        Ability.FIND_DEAD_LETTERS: ("sqs:GetQueueUrl",),
        Ability.SEND_DEAD_LETTERS: ("sqs:SendMessage",),
    },
}
_OF_INDEXES: Mapping[Ability, str] = {
    Ability.WRITE_ITEMS: "dynamodb:BatchWriteItem",
    Ability.QUERY_ITEMS: "dynamodb:Query",
    Ability.DESCRIBE_TABLE: "dynamodb:DescribeTable",
}
_KEY_RIGHTS: Mapping[str, tuple[str, ...]] = {
    "source": ("kms:Decrypt",),
    "destination": ("kms:GenerateDataKey", "kms:Decrypt"),
}


def abilities_of(place: PlaceNeed) -> tuple[Ability, ...]:
    """Return what is done in a place, as far as its store knows of it."""
    wanted = list(_OF_PLACES[place.what])
    if place.what == "source" and place.deletes:
        wanted.append(Ability.DELETE)
    if place.kms_key and place.location.kind == "s3":
        wanted.append(Ability.USE_KEY)
    return tuple(ability for ability in wanted if rights_for(place, ability))


def rights_for(place: PlaceNeed, ability: Ability) -> tuple[str, ...]:
    """Return the rights that something takes in a place; none where its store knows no such thing."""
    if ability is Ability.USE_KEY:
        return _KEY_RIGHTS.get(place.what, ())
    return _RIGHTS[place.location.kind].get(ability, ())


def queue_abilities(queue: QueueNeed) -> tuple[Ability, ...]:
    """Return what is done with a queue, its dead-letter queue aside."""
    if not queue.is_consumed:
        return (Ability.SEND,)
    return (Ability.LOOK, Ability.RECEIVE, Ability.HOLD, Ability.REMOVE)


DEAD_LETTER_ABILITIES = (Ability.FIND_DEAD_LETTERS, Ability.SEND_DEAD_LETTERS)
"""What is done with the dead-letter queue of a queue that is consumed."""


def queue_rights(ability: Ability) -> tuple[str, ...]:
    """Return the rights that something takes with a queue."""
    return _RIGHTS["sqs"][ability]


def index_rights() -> Mapping[Ability, str]:
    """Return what is done with the table of an index of receipts, and the right that each takes."""
    return _OF_INDEXES
