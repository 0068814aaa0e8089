"""The demo's buckets, seen through the vendors' own clients; nothing of Skyferry's stores is used here."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from demo.files import READ_BYTES
from demo.parallel import THREADS, run_parallel

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient
    from google.cloud.storage import Client as GcsClient

_DELETED_AT_ONCE: Final = 1_000  # what S3 takes in one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a store says of one object.

    Attributes:
        md5: Lower-case hex; empty where the store has none.
        crc32c: Base64; empty where the store has none.
        version: Changes whenever the object is written again.
    """

    size_bytes: int
    md5: str = ""
    crc32c: str = ""
    version: str = ""


class VendorBucket(Protocol):
    """One bucket of one store."""

    @property
    def url(self) -> str:
        """Its URL as Skyferry spells it."""

    def remove(self) -> None:
        """Delete it with everything in it; harmless when there is none."""

    def create(self) -> None:
        """Create it, empty."""

    def objects(self) -> dict[str, Stored]:
        """Return everything in it, by key; nothing when there is no such bucket."""

    def has(self, key: str) -> bool:
        """Tell whether it shows an object of this key."""

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the content of an object."""


class S3Bucket:
    """A bucket of S3, by boto3."""

    def __init__(self, name: str, *, endpoint_url: str) -> None:
        import boto3
        from botocore.config import Config

        self._name = name
        # Any: boto3 makes its clients while it runs.
        self._client: Any
        self._client, self._queues = (
            boto3.client(
                service,
                endpoint_url=endpoint_url,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",  # noqa: S106 - the emulator takes any
                region_name="us-east-1",
                config=Config(max_pool_connections=2 * THREADS, s3={"addressing_style": "path"}),
            )
            for service in ("s3", "sqs")
        )

    @property
    def url(self) -> str:
        return f"s3://{self._name}/"

    def remove(self) -> None:
        keys = list(self.objects())
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            batch = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            self._client.delete_objects(Bucket=self._name, Delete={"Objects": batch, "Quiet": True})
        if self._exists():
            self._client.delete_bucket(Bucket=self._name)

    def create(self) -> None:
        self._client.create_bucket(Bucket=self._name)

    def objects(self) -> dict[str, Stored]:
        if not self._exists():
            return {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name)
        return {row["Key"]: _s3_stored(row) for page in pages for row in page.get("Contents", ())}

    def has(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.head_object(Bucket=self._name, Key=key)
        except ClientError:
            return False
        return True

    def read(self, key: str) -> Iterator[bytes]:
        yield from self._client.get_object(Bucket=self._name, Key=key)["Body"].iter_chunks(READ_BYTES)

    def put(self, key: str, path: Path, *, progress: Callable[[int], None]) -> None:
        """Upload a file, in parts when it is large; `progress` is told of bytes as they leave."""
        self._client.upload_file(str(path), self._name, key, Callback=progress)

    def send_events_to(self, queue: str) -> str:
        """Let S3 tell a new, empty queue of every object that is put here; returns the queue's URL."""
        url: str = self._queues.create_queue(QueueName=queue)["QueueUrl"]
        # An emulator makes it anew at once; AWS would want a minute in between, and for emptying it too.
        self._queues.delete_queue(QueueUrl=url)
        self._queues.create_queue(QueueName=queue)
        found = self._queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        rule = {"QueueArn": found["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
        self._client.put_bucket_notification_configuration(
            Bucket=self._name, NotificationConfiguration={"QueueConfigurations": [rule]}
        )
        return url

    def _exists(self) -> bool:
        return self._name in {each["Name"] for each in self._client.list_buckets()["Buckets"]}


def _s3_stored(row: dict[str, Any]) -> Stored:
    etag = row["ETag"].strip('"')
    # The etag of an upload in parts is a digest of digests, which says nothing about the content as such.
    md5 = "" if "-" in etag else etag
    return Stored(size_bytes=row["Size"], md5=md5, version=f"{etag} {row['LastModified'].isoformat()}")


class AzureContainer:
    """A container of Azure Blob Storage, by azure-storage-blob."""

    def __init__(self, name: str, *, service: BlobServiceClient) -> None:
        self._name = name
        self._container = service.get_container_client(name)

    @property
    def url(self) -> str:
        return f"az://{self._name}/"

    def remove(self) -> None:
        if self._container.exists():
            self._container.delete_container()

    def create(self) -> None:
        self._container.create_container()

    def objects(self) -> dict[str, Stored]:
        if not self._container.exists():
            return {}
        return {
            blob.name: Stored(
                size_bytes=blob.size,
                md5=bytes(blob.content_settings.content_md5 or b"").hex(),
                version=f"{blob.etag} {blob.last_modified.isoformat()}",
            )
            for blob in self._container.list_blobs()
        }

    def has(self, key: str) -> bool:
        return self._container.get_blob_client(key).exists()

    def read(self, key: str) -> Iterator[bytes]:
        yield from self._container.download_blob(key).chunks()


class GcsBucket:
    """A bucket of Google Cloud Storage, by google-cloud-storage."""

    def __init__(self, name: str, *, client: GcsClient) -> None:
        self._client = client
        self._bucket = client.bucket(name)

    @property
    def url(self) -> str:
        return f"gs://{self._bucket.name}/"

    def remove(self) -> None:
        if self._bucket.exists():
            for _ in run_parallel(self._bucket.delete_blob, list(self.objects())):
                pass
            self._bucket.delete()

    def create(self) -> None:
        self._bucket.create()

    def objects(self) -> dict[str, Stored]:
        if not self._bucket.exists():
            return {}
        return {
            blob.name: Stored(
                size_bytes=blob.size,
                md5=b64decode(blob.md5_hash or "").hex(),
                crc32c=blob.crc32c or "",
                version=str(blob.generation),
            )
            for blob in self._client.list_blobs(self._bucket)
        }

    def has(self, key: str) -> bool:
        return bool(self._bucket.blob(key).exists())

    def read(self, key: str) -> Iterator[bytes]:
        # raw: or the client would unpack what is stored with Content-Encoding gzip.
        with self._bucket.blob(key).open("rb", chunk_size=16 * READ_BYTES, raw_download=True) as stream:
            while block := stream.read(READ_BYTES):
                yield block


def azure_service(connection_string: str) -> BlobServiceClient:
    """A client of one storage account."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient.from_connection_string(connection_string)


def gcs_client(url: str) -> GcsClient:
    """A client of the emulator at that URL."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return Client(project="skyferry", credentials=credentials, client_options={"api_endpoint": url})
