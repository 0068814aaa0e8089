"""Buckets as the vendors' own clients see them: what the tests put in and look at, independently of the product."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol


class Bucket(Protocol):
    """One bucket, container or folder of an emulator."""

    url: str

    def create(self) -> None: ...

    def exists(self) -> bool: ...

    def put(self, key: str, body: bytes, *, content_type: str = "text/csv", encoding: str = "") -> None: ...

    def content(self) -> dict[str, bytes]:
        """Return every object, raw."""
        ...


class S3Bucket:
    def __init__(self, name: str, endpoint: str) -> None:
        import boto3

        self.name, self.url = name, f"s3://{name}/"
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            region_name="us-east-1",
        )

    def create(self) -> None:
        self.client.create_bucket(Bucket=self.name)

    def exists(self) -> bool:
        return self.name in {bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]}

    def put(self, key: str, body: bytes, *, content_type: str = "text/csv", encoding: str = "") -> None:
        extra = {"ContentEncoding": encoding} if encoding else {}
        self.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type, **extra)

    def content(self) -> dict[str, bytes]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: self.client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}


class AzureContainer:
    def __init__(self, name: str, connection_string: str) -> None:
        from azure.storage.blob import BlobServiceClient

        self.name, self.url = name, f"az://{name}/"
        self.service = BlobServiceClient.from_connection_string(connection_string)
        self.client = self.service.get_container_client(name)

    def create(self) -> None:
        self.client.create_container()

    def exists(self) -> bool:
        return bool(self.client.exists())

    def put(self, key: str, body: bytes, *, content_type: str = "text/csv", encoding: str = "") -> None:
        from azure.storage.blob import ContentSettings

        settings = ContentSettings(content_type=content_type, content_encoding=encoding or None)
        self.client.upload_blob(key, body, content_settings=settings)

    def content(self) -> dict[str, bytes]:
        names = list(self.client.list_blob_names())
        return {name: self.client.download_blob(name, decompress=False).readall() for name in names}


class GoogleBucket:
    def __init__(self, name: str, endpoint: str) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        self.name, self.url = name, f"gs://{name}/"
        self.client = storage.Client(
            project="skyferry", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
        )
        self.bucket = self.client.bucket(name)

    def create(self) -> None:
        self.client.create_bucket(self.name)

    def exists(self) -> bool:
        return bool(self.bucket.exists())

    def put(self, key: str, body: bytes, *, content_type: str = "text/csv", encoding: str = "") -> None:
        blob = self.bucket.blob(key)
        blob.content_encoding = encoding or None
        blob.upload_from_string(body, content_type=content_type)

    def content(self) -> dict[str, bytes]:
        blobs = self.client.list_blobs(self.name)
        return {blob.name: blob.download_as_bytes(raw_download=True) for blob in blobs}


class Folder:
    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"file://{path}/"

    def create(self) -> None:
        self.path.mkdir(parents=True)

    def exists(self) -> bool:
        return self.path.exists()

    def put(self, key: str, body: bytes, **_: Any) -> None:
        file = self.path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)

    def content(self) -> dict[str, bytes]:
        files = [Path(folder) / name for folder, _, names in os.walk(self.path) for name in names]
        return {str(file.relative_to(self.path)): file.read_bytes() for file in files}
