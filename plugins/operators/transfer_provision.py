"""The one task of the provisioning: brings what a route has around it into being, or removes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_bridge.stage_failure import failing_plainly
from operators.transfer_report import RETURN_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from skyferry.provisioning.surroundings_plan import Surroundings

ROUTE_PARAM = "id"
ACTION_PARAM = "action"
DRY_RUN_PARAM = "dry_run"
WITH_LAMBDA_PARAM = "with_lambda"
WITH_GATEWAY_PARAM = "with_gateway"
PROVISION = "provision"
DEPROVISION = "deprovision"


class ProvisionRouteOperator(BaseOperator):
    """Provides or removes what the route of the parameter `id` has around it; its result says what was done.

    Everything comes from the route's file: nobody who may start this task can name another bucket, queue or connection.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and unless it is a dry run do it; raises `StageFailed`, already logged, for what was foreseen."""
        with failing_plainly(self.log):
            return self._settle(context)

    def _settle(self, context: Context) -> dict[str, Any]:
        found = _settled(context["params"])
        self._log_steps(found)
        if found.state != "success":
            # A task that fails has no result; it must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=found.to_json())
        found.raise_if_failed()
        return found.to_json()

    def _log_steps(self, found: Surroundings) -> None:
        for step in found.steps:
            done = "done" if step.is_done else "planned" if step.doing.is_change else "nothing to do"
            self.log.info("%s: %s (%s), because %s", step.thing, step.doing, done, step.why)


def _settled(params: Mapping[str, Any]) -> Surroundings:
    """Return what was done; a plan that could not be made is a problem as well, so that it is shown to who asked."""
    from airflow_bridge.provision_route import settle_route
    from skyferry.errors import TransferError
    from skyferry.provisioning.surroundings_plan import Surroundings

    route_id, action, dry_run = str(params[ROUTE_PARAM]), str(params[ACTION_PARAM]), bool(params[DRY_RUN_PARAM])
    try:
        return settle_route(
            route_id,
            removes=action == DEPROVISION,
            dry_run=dry_run,
            with_lambda=bool(params.get(WITH_LAMBDA_PARAM)),
            with_gateway=bool(params.get(WITH_GATEWAY_PARAM)),
        )
    except TransferError as error:
        text = f"the plan could not be made, and nothing was changed: {error}"
        return Surroundings(route=route_id, action=action, dry_run=dry_run, state="failed", steps=(), problem=text)
