"""What the steps behind a transfer have in common: the report they act on, and when there is nothing to act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from operators.transfer_stage import REPORT_TASK_ID

if TYPE_CHECKING:
    from airflow.sdk import Context


class ThenStepMixin:
    """For operators that act on the report of the transfer before them; they run only when that was successful.

    Nothing is templated: reports hold names of objects, and those are data, never code.

    Attributes:
        route_id: The route of the step.
        is_share: The run serves several routes, and the step is about one of them.
        only_if_copied: Skip the step when nothing was copied.
    """

    route_id: str
    is_share: bool
    only_if_copied: bool

    def report_of(self, context: Context) -> dict[str, Any]:
        """Return the report, or the route's share of it.

        Raises:
            AirflowSkipException: The run copied nothing, only rehearsed, or reported on nothing at all.
        """
        report = context["ti"].xcom_pull(task_ids=REPORT_TASK_ID)
        if report is None:
            raise AirflowSkipException("the run had nothing to report on")
        if self.is_share:
            shares = report.pop("by_route")
            report |= {"route": self.route_id, **shares[self.route_id]}
        if report["dry_run"]:
            raise AirflowSkipException("the run was a rehearsal (dry_run)")
        if self.only_if_copied and not report["objects_copied"]:
            raise AirflowSkipException("nothing was copied (only_if_copied)")
        return dict(report)

    def idempotency_key(self, context: Context) -> str:
        """Return what stays the same over all attempts of this step in this run."""
        ti = context["ti"]
        return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}"
