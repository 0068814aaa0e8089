"""The one task of the doctor: finds out what a route may do in its places and with its queues."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_bridge.stage_failure import failing_plainly
from airflow_bridge.stage_runner import StageRunner
from operators.transfer_report import RETURN_KEY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from skyferry.doctor.findings import Diagnosis
    from skyferry.doctor.flow_report import ProbeSent

ROUTE_PARAM = "id"
ACTION_PARAM = "action"
TOKEN_PARAM = "token"  # noqa: S105 - the name of a parameter
EXAMINE, PUT, REMOVE = "examine", "put", "remove"


class ExamineRouteOperator(BaseOperator):
    """Tries what the route of the parameter `id` does; fails if anything is wrong, and its result says what.

    The actions `put` and `remove` are about one object, whose name and content follow from the route and `token`.

    Everything comes from the route's file: nobody who may start this task can name another place or connection.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._runner: StageRunner | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Do what `action` says; raises `StageFailed`, already logged, when anything is wrong."""
        with failing_plainly(self.log):
            is_examination = context["params"][ACTION_PARAM] == EXAMINE
            return self._examine(context) if is_examination else self._send(context)

    def on_kill(self) -> None:
        """Stop: what was written to try it is deleted before the task ends."""
        if self._runner is not None:
            self._runner.stop()

    def _send(self, context: Context) -> dict[str, Any]:
        from skyferry.errors import PermanentError

        params = context["params"]
        found = _sent(str(params[ROUTE_PARAM]), str(params[TOKEN_PARAM]), str(params[ACTION_PARAM]), self._run)
        for url in (found.source,) if found.written_at else found.removed:
            self.log.info("%s: %s", found.action, url)
        if found.state != "success":
            context["ti"].xcom_push(key=RETURN_KEY, value=found.to_json())
            wrong = [found.problem, *(one.text for one in found.findings), *(f"left: {one}" for one in found.left)]
            raise PermanentError("; ".join(text for text in wrong if text))
        return found.to_json()

    def _examine(self, context: Context) -> dict[str, Any]:
        found = _examined(str(context["params"][ROUTE_PARAM]), self._run)
        for one in found.findings:
            if one.is_wrong:
                self.log.warning("%s", one.text)
            else:
                self.log.info("%s %s: %s is %s %s", one.where, one.url, one.right, one.state, one.why)
        if found.state != "success":
            # A task that fails has no result; it must be there all the same.
            context["ti"].xcom_push(key=RETURN_KEY, value=found.to_json())
        found.raise_if_anything_is_wrong()
        return found.to_json()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        self._runner = StageRunner()
        return self._runner.run(coroutine)


def _examined(route_id: str, run: Any) -> Diagnosis:
    """Return the diagnosis; that nothing could be found out is one too, so that it is shown to who asked."""
    from airflow_bridge.route_doctor import examine_route
    from skyferry.doctor.findings import Diagnosis
    from skyferry.errors import TransferError

    try:
        return examine_route(route_id, run)
    except TransferError as error:
        return Diagnosis(route=route_id, state="failed", findings=(), problem=str(error))


def _sent(route_id: str, token: str, action: str, run: Any) -> ProbeSent:
    """Return what was done about the probe; that nothing could be done is shown to who asked, too."""
    from airflow_bridge.flow_doctor import send_flow_probe
    from skyferry.doctor.flow_report import ProbeSent
    from skyferry.errors import TransferError

    try:
        return send_flow_probe(route_id, token, action=action, run=run)
    except TransferError as error:
        return ProbeSent(route=route_id, action=action, problem=str(error))
