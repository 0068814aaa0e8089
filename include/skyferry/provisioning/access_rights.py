"""The least rights a route needs, one document for each of its connections, in the words of its store.

Objects are named down to the prefix. Listing is granted for the whole bucket: a condition on `s3:prefix` would make S3
answer 403 instead of 404 when the engine looks whether a single object exists, because that request has no prefix.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from skyferry.provisioning.route_needs import PlaceNeed, QueueNeed, RouteNeeds, partition_of

_READ = ("s3:GetObject", "s3:GetObjectVersion")
_TAGS = ("s3:GetObjectTagging", "s3:GetObjectVersionTagging")
_WRITE = ("s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_S3_ACTIONS = {
    "source": (*_READ, *_TAGS),
    "destination": (*_READ, *_TAGS, *_WRITE, "s3:DeleteObject"),
    "state": (*_READ, "s3:PutObject", "s3:DeleteObject"),
}
_CONSUME = ("sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage")
_DEAD_LETTER = ("sqs:GetQueueUrl", "sqs:SendMessage")
_INDEX = ("dynamodb:BatchWriteItem", "dynamodb:Query", "dynamodb:DescribeTable")
_KMS = {"source": ("kms:Decrypt",), "destination": ("kms:GenerateDataKey", "kms:Decrypt")}

_AZURE_SAS = {"source": "rl", "destination": "rlcwdt", "state": "rlcwd"}
_AZURE_READER = "Storage Blob Data Reader"
_AZURE_WRITER = "Storage Blob Data Contributor"
_AZURE_OWNER = "Storage Blob Data Owner"
_GCS_READ = ("storage.objects.list", "storage.objects.get")
_GCS_WRITE = (*_GCS_READ, "storage.objects.create", "storage.objects.delete")


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
    statements += [_statement("ReceiptsIndex", _INDEX, table.arn(region=region)) for table in tables]
    return ConnectionRights(
        conn_id=conn_id,
        store="aws",
        used_for=(*(one.what for one in places), *(one.what for one in queues), *(one.what for one in tables)),
        document={"Version": "2012-10-17", "Statement": statements},
    )


def _place_statements(place: PlaceNeed, partition: str) -> Iterator[dict[str, Any]]:
    bucket, what = f"arn:{partition}:s3:::{place.location.bucket}", place.what.title()
    yield _statement(f"List{what}", ("s3:ListBucket", *(("s3:CreateBucket",) if place.creates else ())), bucket)
    moves = ("s3:DeleteObject",) if place.what == "source" and place.deletes else ()
    yield _statement(
        f"Objects{what}", (*_S3_ACTIONS[place.what], *moves), f"{bucket}/{literal(place.location.prefix)}*"
    )
    if place.kms_key:
        yield _statement(f"Key{what}", _KMS[place.what], place.kms_key)


def _queue_statements(queue: QueueNeed, region: str) -> Iterator[dict[str, Any]]:
    arn = queue.arn(region=region)
    actions = _CONSUME if queue.is_consumed else ("sqs:SendMessage",)
    if queue.creates:
        actions = tuple(dict.fromkeys((*actions, "sqs:GetQueueAttributes", "sqs:CreateQueue")))
    yield _statement(f"Queue{queue.what.title()}", actions, arn)
    if queue.is_consumed:
        yield _statement("DeadLetters", _DEAD_LETTER, queue.arn(queue.dead_letter_name, region=region))


def _statement(sid: str, actions: Iterable[str], resource: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _azure_document(places: list[PlaceNeed]) -> dict[str, Any]:
    return {
        "role_assignments": [
            {
                "role": _azure_role(place),
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


def _azure_role(place: PlaceNeed) -> str:
    # Only owners may write tags; without the right to read them, a source is copied without its tags.
    if place.what == "destination":
        return _AZURE_OWNER
    return _AZURE_READER if place.what == "source" and not place.deletes else _AZURE_WRITER


def _azure_letters(place: PlaceNeed) -> str:
    return _AZURE_SAS[place.what] + ("d" if place.what == "source" and place.deletes else "")


def _gcs_document(places: list[PlaceNeed]) -> dict[str, Any]:
    bindings = [
        {
            "bucket": place.location.bucket,
            "role": "roles/storage.objectViewer" if _only_reads(place) else "roles/storage.objectUser",
            "or_permissions": [
                *(_GCS_READ if place.what == "source" else _GCS_WRITE),
                *(("storage.objects.delete",) if place.what == "source" and place.deletes else ()),
            ],
        }
        for place in places
    ]
    if any(place.creates for place in places):
        # A bucket that is not there yet has no rights of its own.
        creating = ["storage.buckets.create"]
        bindings.append({"project": "<project>", "role": "roles/storage.admin", "or_permissions": creating})
    return {"bindings": bindings}


def _only_reads(place: PlaceNeed) -> bool:
    return place.what == "source" and not place.deletes
