"""The least rights a route needs, one document for each of its connections, in the words of its store.

Objects are named down to the prefix. Listing is granted for the whole bucket: a condition on `s3:prefix` would make S3
answer 403 instead of 404 when the engine looks whether a single object exists, because that request has no prefix.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from skyferry.provisioning.abilities import (
    DEAD_LETTER_ABILITIES,
    Ability,
    abilities_of,
    index_rights,
    queue_abilities,
    queue_rights,
    rights_for,
)
from skyferry.provisioning.route_needs import PlaceNeed, QueueNeed, RouteNeeds, partition_of

_AZURE_LETTERS = "rlcwdt"
"""The order in which the letters of a SAS are shown."""

_AZURE_READER = "Storage Blob Data Reader"
_AZURE_WRITER = "Storage Blob Data Contributor"
_AZURE_OWNER = "Storage Blob Data Owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRights:
    """What one connection of a route must be allowed to do.

    Attributes:
        store: `aws`, `azure` or `gcs`.
        used_for: Places and queues, as `source`.
        document: An IAM policy; or role assignments and letters of a SAS; or roles and permissions.
    """

    conn_id: str
    store: str
    used_for: tuple[str, ...]
    document: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the rights as plain JSON values."""
        return {
            "conn_id": self.conn_id,
            "store": self.store,
            "used_for": list(self.used_for),
            "document": self.document,
        }


def rights_of(needs: RouteNeeds, *, region: str = "") -> tuple[ConnectionRights, ...]:
    """Return the rights of every connection of a route; local folders need none.

    Args:
        region: Of the buckets, for the partition in their ARNs; empty for that of the queue, or the standard partition.
    """
    region = region or next((queue.region for queue in needs.queues), "")
    aws = dict.fromkeys(
        [place.conn_id for place in needs.places if place.location.kind == "s3"]
        + [queue.conn_id for queue in needs.queues]
        + ([needs.index.conn_id] if needs.index else [])
    )
    found = [_aws_rights(needs, conn_id, region) for conn_id in aws]
    for kind, store, document in (("az", "azure", _azure_document), ("gs", "gcs", _gcs_document)):
        places = [place for place in needs.places if place.location.kind == kind]
        for conn_id in dict.fromkeys(place.conn_id for place in places):
            own = [place for place in places if place.conn_id == conn_id]
            used_for = tuple(place.what for place in own)
            found.append(ConnectionRights(conn_id=conn_id, store=store, used_for=used_for, document=document(own)))
    return tuple(found)


def literal(text: str) -> str:
    """Return a text that stands for itself in a resource of a policy, where `*`, `?` and `${` are special.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    return "".join(f"${{{character}}}" if character in "*?$" else character for character in text)


def _aws_rights(needs: RouteNeeds, conn_id: str, region: str) -> ConnectionRights:
    places = [place for place in needs.places if (place.location.kind, place.conn_id) == ("s3", conn_id)]
    queues = [queue for queue in needs.queues if queue.conn_id == conn_id]
    partition = partition_of(region)
    statements = [statement for place in places for statement in _place_statements(place, partition)]
    statements += [statement for queue in queues for statement in _queue_statements(queue, region)]
    tables = [needs.index] if needs.index and needs.index.conn_id == conn_id else []
    statements += [_statement("ReceiptsIndex", index_rights().values(), table.arn(region=region)) for table in tables]
    return ConnectionRights(
        conn_id=conn_id,
        store="aws",
        used_for=(*(one.what for one in places), *(one.what for one in queues), *(one.what for one in tables)),
        document={"Version": "2012-10-17", "Statement": statements},
    )


def _place_statements(place: PlaceNeed, partition: str) -> Iterator[dict[str, Any]]:
    what, abilities = place.what.title(), abilities_of(place)
    creating = (Ability.CREATE,) if place.creates else ()
    with_objects = [one for one in abilities if one not in (Ability.LIST, Ability.USE_KEY)]
    groups = (("List", (Ability.LIST, *creating)), ("Objects", with_objects))
    for name, group in groups:
        yield _statement(f"{name}{what}", _all_rights(place, group), place_resource(place, group[0], partition))
    if Ability.USE_KEY in abilities:
        yield _statement(f"Key{what}", rights_for(place, Ability.USE_KEY), place.kms_key)


def place_resource(place: PlaceNeed, ability: Ability, partition: str = "aws") -> str:
    """Return what a right on S3 is given for, as policies name it."""
    if ability is Ability.USE_KEY:
        return place.kms_key
    bucket = f"arn:{partition}:s3:::{place.location.bucket}"
    return bucket if ability in (Ability.LIST, Ability.CREATE) else f"{bucket}/{literal(place.location.prefix)}*"


def _all_rights(place: PlaceNeed, abilities: Iterable[Ability]) -> list[str]:
    return list(dict.fromkeys(right for ability in abilities for right in rights_for(place, ability)))


def _queue_statements(queue: QueueNeed, region: str) -> Iterator[dict[str, Any]]:
    creating = (Ability.LOOK, Ability.CREATE) if queue.creates else ()
    abilities = dict.fromkeys((*queue_abilities(queue), *creating))
    actions = [right for ability in abilities for right in queue_rights(ability)]
    yield _statement(f"Queue{queue.what.title()}", actions, queue.arn(region=region))
    if queue.is_consumed:
        actions = [right for ability in DEAD_LETTER_ABILITIES for right in queue_rights(ability)]
        yield _statement("DeadLetters", actions, queue.arn(queue.dead_letter_name, region=region))


def _statement(sid: str, actions: Iterable[str], resource: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _azure_document(places: list[PlaceNeed]) -> dict[str, Any]:
    return {
        "role_assignments": [
            {
                "role": azure_role(place),
                "scope": "/subscriptions/<subscription>/resourceGroups/<group>/providers/Microsoft.Storage"
                f"/storageAccounts/<account>/blobServices/default/containers/{place.location.bucket}",
            }
            for place in places
        ],
        "or_sas": [
            {"container": place.location.bucket, "permissions": _azure_letters(place), "signed_resource": "c"}
            for place in places
        ],
    }


def azure_role(place: PlaceNeed) -> str:
    """Return the built-in role that is enough for a place."""
    # Only owners may write tags; without the right to read them, a source is copied without its tags.
    if place.what == "destination":
        return _AZURE_OWNER
    return _AZURE_READER if place.what == "source" and not place.deletes else _AZURE_WRITER


def _azure_letters(place: PlaceNeed) -> str:
    letters = _all_rights(place, abilities_of(place))
    return "".join(letter for letter in _AZURE_LETTERS if letter in letters)


def _gcs_document(places: list[PlaceNeed]) -> dict[str, Any]:
    bindings = [
        {
            "bucket": place.location.bucket,
            "role": gcs_role(place),
            "or_permissions": _all_rights(place, abilities_of(place)),
        }
        for place in places
    ]
    if any(place.creates for place in places):
        # A bucket that is not there yet has no rights of its own.
        creating = list(rights_for(places[0], Ability.CREATE))
        bindings.append({"project": "<project>", "role": "roles/storage.admin", "or_permissions": creating})
    return {"bindings": bindings}


def gcs_role(place: PlaceNeed) -> str:
    """Return the predefined role that is enough for a place."""
    is_read_only = place.what == "source" and not place.deletes
    return "roles/storage.objectViewer" if is_read_only else "roles/storage.objectUser"
