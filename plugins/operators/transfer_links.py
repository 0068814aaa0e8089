"""The ways from a task in Airflow's web UI to its transfer on the Transfers page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

_PAGE = "transfer/v1/page/"


class TransferLink(BaseOperatorLink):
    """Leads to the run: source and destination, numbers, problems, and where its records are."""

    @property
    def name(self) -> str:
        """The text of the button."""
        return "Transfer"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address on the server that shows the button, so that it needs no host."""
        return _run_address(ti_key)


class ObjectsLink(BaseOperatorLink):
    """Leads to what the manifest and the receipts say of each object."""

    @property
    def name(self) -> str:
        """The text of the button."""
        return "Objects"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address on the server that shows the button, so that it needs no host."""
        return _run_address(ti_key) + "?at=objects"


def _run_address(ti_key: TaskInstanceKey) -> str:
    from airflow.configuration import conf

    path = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{path}/{_PAGE}#/runs/{quote(ti_key.dag_id, safe='')}/{quote(ti_key.run_id, safe='')}"
