"""The names of what a transfer reads and writes, as OpenLineage's specification gives them.

Source: https://openlineage.io/docs/spec/naming


A data set is a folder, never a single object: a run of 100,000 objects names two. The names are built from parsed
locations; no credential or query can be in them.
"""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from skyferry.urls import Location

if TYPE_CHECKING:
    from openlineage.client.naming.dataset import DatasetNaming


def dataset_name(location: Location, *, account_name: str) -> tuple[str, str] | None:
    """Return namespace and name of a location; None when they cannot be known yet.

    Args:
        account_name: The Azure storage account, which only the connection knows; not used for the other stores.
    """
    if location.kind == "az" and not account_name:
        return None
    naming = _naming(location, account_name)
    return naming.get_namespace(), naming.get_name()


def queue_dataset_name(queue_url: str) -> tuple[str, str]:
    """Return namespace and name of an SQS queue.

    The specification has no rule for SQS; this follows its rule for topics of other brokers.
    """
    url = urllib.parse.urlsplit(queue_url)
    return f"sqs://{url.hostname}", url.path.strip("/")


def _naming(location: Location, account_name: str) -> DatasetNaming:
    from openlineage.client.naming.dataset import GCS, S3, WASBS, LocalFileSystem

    name = location.prefix.rstrip("/") or "/"
    match location.kind:
        case "file":
            return LocalFileSystem(location.bucket)
        case "az":
            return WASBS(location.bucket, account_name, name)
        case "gs":
            return GCS(location.bucket, name)
        case _:
            return S3(location.bucket, name)
