"""The buckets a connection reaches, as the folders a listing of `s3://`, `az://` or `gs://` shows.

Whoever knows connections (the Airflow bridge) lists them: an entry point of the group `skyferry.bucket_listers`, a
function as `BucketLister` describes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, cast

from skyferry.request import DEFAULT_CONN_IDS
from skyferry.storage.listing import Entry
from skyferry.storage.opening import installed
from skyferry.urls import KINDS, Kind

LISTERS_GROUP = "skyferry.bucket_listers"


class BucketLister(Protocol):
    """Lists the buckets of the account or project a connection signs in to."""

    def __call__(self, kind: Kind, conn_id: str) -> AsyncIterator[str]:
        """Yield their names.

        Raises:
            ConnectionConfigError: There is no such connection, or it is of no use for this.
            AccessDeniedError: It may not list buckets.
        """


def kind_alone(url: str) -> Kind | None:
    """Return the kind of store a URL names that names nothing else, as `s3://` does; None for every other URL."""
    return next((kind for kind in KINDS if kind != "file" and url == f"{kind}://"), None)


async def every_bucket(kind: Kind, *, conn_id: str, lister: BucketLister | None) -> AsyncIterator[Entry]:
    """Yield every bucket as a folder.

    Args:
        conn_id: Empty for the default connection of the kind.
        lister: By default the installed one.
    """
    list_names = lister or cast("BucketLister", installed(LISTERS_GROUP, f"{kind}://"))
    async for name in list_names(kind, conn_id or DEFAULT_CONN_IDS[kind]):
        yield Entry(url=f"{kind}://{name}/", name=f"{name}/", info=None)
