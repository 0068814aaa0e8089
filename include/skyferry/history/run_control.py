"""What changes runs: start one, cancel one, let one run again. Whether the caller may is for Airflow to say."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from skyferry.errors import AirflowRefusedError, UnknownRouteError
from skyferry.history.airflow_api import AirflowApi, TaskState, TransferDagInfo
from skyferry.history.transfer_run import ON_DEMAND_DAG_ID, REPORT_TASK_ID, ROUTE_DAG_PREFIX, TransferRun
from skyferry.request import request_from_conf

AUDIT_DAG_ID = "audit"
AUDIT_TASK_ID = "audit"
CLEAN_DAG_ID = "maintenance"
CLEAN_TASK_ID = "clean"
PROVISION_DAG_ID = "provision"
PROVISION_TASK_ID = "provision"
DOCTOR_DAG_ID = "doctor"
DOCTOR_TASK_ID = "doctor"


def start_run(
    api: AirflowApi, conf: Mapping[str, Any], *, unpause: bool = False, run_id: str | None = None
) -> TransferRun:
    """Start a transfer and return its run.

    If a route of the conf's `id` has a DAG, that DAG is started, with what else the conf holds in place of the route's
    values. Otherwise the conf must be a whole request, and the DAG `transfer` is started.

    A paused DAG would never begin. One without a schedule is unpaused; one with a schedule only if `unpause` says so,
    because it would then also run by itself.

    Args:
        run_id: Airflow makes one up if there is none; starting with an id that is taken is refused.

    Raises:
        RequestError: A parameter is wrong; nothing was started.
        UnknownRouteError: Airflow knows no such route, and the conf does not say source and destination itself.
        AirflowRefusedError: The DAG is paused, or Airflow refuses a parameter.
    """
    dags = {dag.dag_id: dag for dag in api.dags() if not dag.is_stale}
    route_dag = dags.get(f"{ROUTE_DAG_PREFIX}{conf.get('id', '')}")
    if route_dag is None:
        if not (conf.get("source") and conf.get("destination")):
            raise _unknown_route(str(conf.get("id", "")), list(dags))
        request_from_conf(conf)
    dag = route_dag or dags.get(ON_DEMAND_DAG_ID)
    if dag is None:
        raise AirflowRefusedError(
            f"Airflow at {api.access.text} has no DAG `{ON_DEMAND_DAG_ID}`",
            hint="its DAG processor may not be through yet, or this login may not see it; nothing was started",
        )
    _let_begin(api, dag, unpause=unpause)
    return api.start(dag.dag_id, conf, run_id=run_id)


def cancel_run(api: AirflowApi, run: TransferRun) -> TransferRun:
    """Stop a run: Airflow ends its tasks, and the run is failed. What was copied by then is whole, and stays.

    Raises:
        AirflowRefusedError: The run is over.
    """
    if run.is_finished:
        raise AirflowRefusedError(f'run "{run.run_id}" is over ({run.state})', hint="there is nothing to cancel")
    return api.fail_run(run.dag_id, run.run_id, note=f"cancelled by {api.user or 'transfer cancel'}")


def retry_run(api: AirflowApi, run: TransferRun, *, failed_only: bool) -> TransferRun:
    """Let a run run again under its id, and return it; its report counts each object once.

    Args:
        failed_only: Only the tasks that did not succeed, and what comes after them; the report if all did. Otherwise
            it plans anew.

    Raises:
        AirflowRefusedError: The run is not over, or nothing in it failed.
    """
    if not run.is_finished:
        raise AirflowRefusedError(f'run "{run.run_id}" is not over ({run.state})', hint="cancel it first, or wait")
    if failed_only and run.state == "success":
        raise AirflowRefusedError(
            f'nothing failed in run "{run.run_id}"', hint="run all of it again, and not only what failed"
        )
    who = api.user or "transfer"
    if failed_only:
        tasks = _unfinished(api.tasks(run.dag_id, run.run_id))
        api.clear_tasks(run.dag_id, run.run_id, tasks, note=f"failed tasks run again by {who}")
    else:
        api.clear_run(run.dag_id, run.run_id, note=f"all tasks run again by {who}")
    return api.run(run.dag_id, run.run_id)


def _unfinished(tasks: Sequence[TaskState]) -> list[TaskState]:
    """Return the tasks a failed run needs to have run again.

    Airflow's own choice, clearing what failed, leaves out what was skipped because the run was cancelled: its report
    would be missing then.
    """
    unfinished = [task for task in tasks if task.state not in {"success", "removed"}]
    return unfinished or [task for task in tasks if task.task_id == REPORT_TASK_ID]


def start_audit(api: AirflowApi, run: TransferRun, *, reads_back: bool) -> TransferRun:
    """Start the audit of a finished run, and return the audit's own run; it is no transfer, and counts nowhere.

    Raises:
        AirflowRefusedError: The run is not over, or Airflow has no DAG `audit`.
    """
    if not run.is_finished:
        raise AirflowRefusedError(f'run "{run.run_id}" is not over ({run.state})', hint="audit it when it is")
    api.unpause(AUDIT_DAG_ID)
    conf = {"dag_id": run.dag_id, "run_id": run.run_id, "readback": reads_back}
    return api.start(AUDIT_DAG_ID, conf)


def start_clean(api: AirflowApi, *, route: str, url: str, older_than_seconds: int, dry_run: bool) -> TransferRun:
    """Start a clean, and return its own run; it is no transfer, and counts nowhere.

    Raises:
        AirflowRefusedError: Airflow has no DAG `maintenance`, or somebody has paused it.
    """
    dag = api.dag(CLEAN_DAG_ID)
    if dag is None or dag.is_stale:
        raise AirflowRefusedError(
            f"Airflow at {api.access.text} has no DAG `{CLEAN_DAG_ID}`",
            hint="its DAG processor may not be through yet, or this login may not see it; nothing was started",
        )
    if dag.is_paused:
        raise AirflowRefusedError(
            f"the DAG {CLEAN_DAG_ID} is paused, so the clean would never begin",
            hint="switch it on in Airflow, where it also runs once a week; nothing was started",
        )
    conf: dict[str, str | int] = {"older_than_seconds": older_than_seconds, "dry_run": dry_run}
    conf |= {name: value for name, value in (("id", route), ("url", url)) if value}
    return api.start(CLEAN_DAG_ID, conf)


def start_provisioning(
    api: AirflowApi,
    *,
    route: str,
    removes: bool,
    dry_run: bool,
    with_lambda: bool = False,
    with_gateway: bool = False,
) -> TransferRun:
    """Start the provisioning of a route, and return its own run; it is no transfer, and counts nowhere.

    Raises:
        AirflowRefusedError: Airflow has no DAG `provision`.
    """
    api.unpause(PROVISION_DAG_ID)
    action = "deprovision" if removes else "provision"
    conf = {"id": route, "action": action, "dry_run": dry_run}
    asked = {"with_lambda": with_lambda, "with_gateway": with_gateway}
    return api.start(PROVISION_DAG_ID, conf | {name: True for name, wanted in asked.items() if wanted})


def start_doctor(api: AirflowApi, *, route: str) -> TransferRun:
    """Start the doctor of a route, and return its own run; it is no transfer, and counts nowhere.

    Raises:
        AirflowRefusedError: Airflow has no DAG `doctor`.
    """
    api.unpause(DOCTOR_DAG_ID)
    return api.start(DOCTOR_DAG_ID, {"id": route})


def start_flow_probe(api: AirflowApi, *, route: str, token: str, removes: bool) -> TransferRun:
    """Start putting the probe of a token at the route's source, or removing it and its copy; return the run.

    Raises:
        AirflowRefusedError: Airflow has no DAG `doctor`.
    """
    api.unpause(DOCTOR_DAG_ID)
    return api.start(DOCTOR_DAG_ID, {"id": route, "action": "remove" if removes else "put", "token": token})


def _let_begin(api: AirflowApi, dag: TransferDagInfo, *, unpause: bool) -> None:
    if not dag.is_paused:
        return
    if dag.schedule and not unpause:
        raise AirflowRefusedError(
            f"the DAG {dag.dag_id} is paused, so the run would never begin",
            hint="unpause it (`--unpause`, or over REST `unpause`), after which it also runs by itself"
            f" ({dag.schedule}); nothing was started",
        )
    api.unpause(dag.dag_id)


def _unknown_route(route: str, dag_ids: Sequence[str]) -> UnknownRouteError:
    known = [dag_id.removeprefix(ROUTE_DAG_PREFIX) for dag_id in dag_ids if dag_id.startswith(ROUTE_DAG_PREFIX)]
    listed = ", ".join(sorted(known)[:20]) + (", ..." if len(known) > 20 else "") if known else "none"
    if not route:
        return UnknownRouteError(
            f"the transfer was not started: name a route, or source and destination. Known routes: {listed}"
        )
    close = difflib.get_close_matches(route[:80], known, n=1)
    meant = f'; did you mean "{close[0]}"?' if close else "."
    return UnknownRouteError(
        f'Airflow knows no route "{route[:80]}"{meant} Known routes: {listed}. A new file is found within half a minute'
    )
