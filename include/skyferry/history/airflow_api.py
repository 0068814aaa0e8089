"""The calls of Airflow's REST v2 that are needed here, with its official client; answers as our own values.

This is the one module that knows the client. Whatever goes wrong is one of our errors, and no message holds a token.
Safe to use from several threads.
"""

from __future__ import annotations

import base64
import itertools
import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ParamSpec, TypeVar

import urllib3
from airflow_client.client import ApiClient, ApiException, Configuration
from airflow_client.client.api.asset_api import AssetApi
from airflow_client.client.api.connection_api import ConnectionApi
from airflow_client.client.api.dag_api import DAGApi
from airflow_client.client.api.dag_run_api import DagRunApi
from airflow_client.client.api.task_instance_api import TaskInstanceApi
from airflow_client.client.api.x_com_api import XComApi
from airflow_client.client.models.clear_task_instances_body import ClearTaskInstancesBody
from airflow_client.client.models.clear_task_instances_body_task_ids_inner import ClearTaskInstancesBodyTaskIdsInner
from airflow_client.client.models.connection_body import ConnectionBody
from airflow_client.client.models.dag_collection_response import DAGCollectionResponse
from airflow_client.client.models.dag_patch_body import DAGPatchBody
from airflow_client.client.models.dag_run_clear_body import DAGRunClearBody
from airflow_client.client.models.dag_run_mutable_states import DagRunMutableStates
from airflow_client.client.models.dag_run_patch_body import DAGRunPatchBody
from airflow_client.client.models.dag_run_response import DAGRunResponse
from airflow_client.client.models.dag_run_state import DagRunState
from airflow_client.client.models.dag_runs_batch_body import DAGRunsBatchBody
from airflow_client.client.models.task_instance_collection_response import TaskInstanceCollectionResponse
from airflow_client.client.models.trigger_dag_run_post_body import TriggerDAGRunPostBody
from pydantic import ValidationError

from skyferry.errors import (
    AirflowAccessError,
    AirflowRefusedError,
    AirflowUnreachableError,
    TransferError,
    UnknownRunError,
)
from skyferry.history.airflow_access import AirflowAccess
from skyferry.history.transfer_run import (
    ON_DEMAND_DAG_ID,
    QUEUE_DAG_PREFIX,
    REPORT_TASK_ID,
    REPORTED_ASSET,
    RESULT_KEY,
    TAG,
    TransferRun,
    is_transfer_dag,
    route_of,
)
from skyferry.provisioning.access_keys import AccessKey, KnownConnection

PAGE_RUNS = 100
"""Airflow's default `[api] maximum_page_limit`; more is cut to that."""

OBJECTS_API = "/transfer/v1/transfers"
"""Where the REST API of Skyferry, a plugin of the API server, has the runs."""

MAX_REQUESTS_AT_ONCE = 4
"""An API server of one process answers more of them at once no sooner."""
_WAIT_SECONDS = 1.0
_STORE_FAILED = 502
"""What that API answers when a store refuses, or does not answer."""

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_TIMEOUT = (_CONNECT_SECONDS, _ANSWER_SECONDS)
_MAX_DETAIL_CHARACTERS = 600

_Answer = TypeVar("_Answer")
_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferDagInfo:
    """A DAG whose runs are transfers.

    Attributes:
        schedule: As Airflow shows it; empty if the DAG only runs when it is started.
        is_stale: Its file is gone; its runs are still there.
    """

    dag_id: str
    is_paused: bool
    is_stale: bool
    schedule: str
    description: str
    next_run_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """One task instance of a run.

    Attributes:
        name: What the UI shows for a mapped instance, as `batch 2 of 7 (...)`; empty for others.
        state: Airflow's, or `none` before it is scheduled.
        try_number: From 1; 0 before the first.
        ended_at: When the last try ended; None while it has not.
    """

    task_id: str
    map_index: int
    name: str
    state: str
    try_number: int
    ended_at: datetime | None = None

    @property
    def address(self) -> str | list[object]:
        """What Airflow calls it where several are named: an instance of a mapped task by its index, too."""
        return self.task_id if self.map_index < 0 else [self.task_id, self.map_index]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Some runs of a listing.

    Attributes:
        total: How many the listing has altogether.
        entries: How many of them the page holds, those of other DAGs included.
        last_at: When its last run was to begin; None for a page without one.
        answered_at: The server's clock.
    """

    runs: tuple[TransferRun, ...]
    total: int
    entries: int
    last_at: datetime | None
    answered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedReports:
    """Some of the reports that asset events carry.

    Attributes:
        reports: DAG id, run id and report, without the sentences of `problems`.
        entries: How many events the page holds, those without a report included.
        last_at: When its last event came; None for a page without one.
    """

    reports: tuple[tuple[str, str, Mapping[str, Any]], ...]
    entries: int
    last_at: datetime | None


class AirflowApi:
    """One Airflow, as one login sees it.

    Args:
        access: A token is got with user and password when there is none.

    Raises (every method):
        AirflowUnreachableError: No answer, or not one of Airflow's; try again later.
        AirflowAccessError: The login is refused.
        AirflowRefusedError: The login may not do that, or Airflow does not accept it; its own words are in the message.
    """

    def __init__(self, access: AirflowAccess) -> None:
        self.access = access
        configuration = Configuration(
            host=access.url,
            access_token=access.token or self._new_token(),
            connection_pool_maxsize=MAX_REQUESTS_AT_ONCE,
            proxy=_proxy_for(access.url),
        )
        client = ApiClient(configuration)
        self._dags, self._runs = DAGApi(client), DagRunApi(client)
        self._tasks, self._xcoms, self._assets = TaskInstanceApi(client), XComApi(client), AssetApi(client)
        self._connections = ConnectionApi(client)
        self._client = client
        self._token = str(configuration.access_token)

    @property
    def user(self) -> str:
        """The name in the token, as far as it can be read; tells caches apart and is no proof of anything."""
        try:
            payload = self._token.split(".")[1]
            return str(json.loads(_from_base64(payload))["sub"])
        except (IndexError, KeyError, ValueError, TypeError):
            return self.access.user

    def dags(self) -> list[TransferDagInfo]:
        """Return the DAGs of transfers, those included whose file is gone; one request for each hundred."""
        found: list[TransferDagInfo] = []
        for offset in itertools.count(0, PAGE_RUNS):
            page = self._call(self._dag_page, offset)
            found += [_dag_info(each) for each in page.dags if is_transfer_dag(each.dag_id)]
            if offset + PAGE_RUNS >= page.total_entries:
                break
        return found

    def dag(self, dag_id: str) -> TransferDagInfo | None:
        """Return one DAG, whether or not its runs are transfers; None when there is none that this login may see."""
        try:
            found = self._call(self._dags.get_dag, dag_id, _request_timeout=_TIMEOUT)
        except AirflowRefusedError as error:
            if isinstance(error.__cause__, ApiException) and error.__cause__.status == 404:
                return None
            raise
        return _dag_info(found)

    def _dag_page(self, offset: int) -> DAGCollectionResponse:
        return self._dags.get_dags(
            tags=[TAG], exclude_stale=False, limit=PAGE_RUNS, offset=offset, _request_timeout=_TIMEOUT
        )

    def list_runs(
        self,
        dag_ids: Sequence[str],
        *,
        since: datetime | None = None,
        states: Sequence[str] = (),
        newest_first: bool = False,
        offset: int = 0,
        limit: int = PAGE_RUNS,
    ) -> RunPage:
        """Return one page of the runs of these DAGs, without their reports, the oldest first.

        Args:
            since: Only runs that were to begin then or later.
        """
        body = DAGRunsBatchBody(
            dag_ids=list(dag_ids),
            run_after_gte=since,
            states=[DagRunState(state) for state in states] or None,
            order_by="-run_after" if newest_first else "run_after",
            page_offset=offset,
            page_limit=limit,
        )
        return _page(
            self._call(self._runs.get_list_dag_runs_batch_with_http_info, "~", body, _request_timeout=_TIMEOUT)
        )

    def changed_runs(self, *, since: datetime, offset: int = 0) -> RunPage:
        """Return one page of the runs that changed since then, without their reports."""
        answer = self._call(
            self._runs.get_dag_runs_with_http_info,
            "~",
            dag_id_prefix_pattern=f"{ON_DEMAND_DAG_ID}|{QUEUE_DAG_PREFIX}",
            updated_at_gte=since,
            order_by=["id"],
            limit=PAGE_RUNS,
            offset=offset,
            _request_timeout=_TIMEOUT,
        )
        return _page(answer)

    def runs_of_id(self, run_id: str) -> list[TransferRun]:
        """Return the transfer runs of exactly this id; run ids are unique within a DAG only."""
        page = self._call(
            self._runs.get_dag_runs_with_http_info,
            "~",
            run_id_prefix_pattern=run_id,
            limit=PAGE_RUNS,
            _request_timeout=_TIMEOUT,
        )
        return [run for run in _page(page).runs if run.run_id == run_id]

    def run(self, dag_id: str, run_id: str) -> TransferRun:
        """Return a run without its report.

        Raises:
            UnknownRunError: There is none.
        """
        return _run(self._found(run_id, self._runs.get_dag_run, dag_id, run_id, _request_timeout=_TIMEOUT))

    def conf(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return the parameters a run was started with."""
        run = self._found(run_id, self._runs.get_dag_run, dag_id, run_id, _request_timeout=_TIMEOUT)
        return dict(run.conf or {})

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return all task instances of a run; one request for each hundred."""
        found: list[TaskState] = []
        for offset in itertools.count(0, PAGE_RUNS):
            page = self._found(run_id, self._task_page, dag_id, run_id, offset)
            found += [_task(each) for each in page.task_instances]
            if len(page.task_instances) < PAGE_RUNS:
                break
        return found

    def _task_page(self, dag_id: str, run_id: str, offset: int) -> TaskInstanceCollectionResponse:
        return self._tasks.get_task_instances(
            dag_id, run_id, limit=PAGE_RUNS, offset=offset, order_by=["map_index"], _request_timeout=_TIMEOUT
        )

    def result(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, key: str = RESULT_KEY) -> Any:
        """Return what a task left as its XCom; None if it left nothing."""
        # The client's model of an XCom is left out: a union of types, which takes longer to settle than the request.
        body = self._call(self._xcom, dag_id, task_id, run_id, key, map_index)
        if body is None:
            return None
        try:
            return json.loads(body)["value"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._strange() from error

    def _xcom(self, dag_id: str, task_id: str, run_id: str, key: str, map_index: int) -> bytes | None:
        response = self._xcoms.get_xcom_entry_without_preload_content(
            dag_id, task_id, run_id, key, map_index=map_index, _request_timeout=_TIMEOUT
        )
        return _checked(response, may_be_missing=True)

    def report(self, dag_id: str, run_id: str) -> Mapping[str, Any] | None:
        """Return the report of a finished run; None if it left none, or runs again.

        Asks the endpoint that waits for a run, which answers at once for one that is over. With SQLite, Airflow reads
        its whole table of task instances for one XCom: half a second with 10,000 runs, where this takes milliseconds.
        The endpoint is marked as experimental; an Airflow without it is asked for the XCom.
        """
        line = self._call(self._end_of_run, dag_id, run_id)
        try:
            if line is None:
                found = self.result(dag_id, run_id, REPORT_TASK_ID)
            else:
                found = json.loads(line).get("results", {}).get(REPORT_TASK_ID)
        except (ValueError, AttributeError) as error:
            raise self._strange() from error
        return found if isinstance(found, Mapping) else None

    def _end_of_run(self, dag_id: str, run_id: str) -> bytes | None:
        response: Any = self._runs.wait_dag_run_until_finished_without_preload_content(
            dag_id, run_id, interval=_WAIT_SECONDS, result=[REPORT_TASK_ID], _request_timeout=_TIMEOUT
        )
        if response.status != 200:
            return _checked(response, may_be_missing=True)
        line = b""
        for some in response.stream():
            line += some
            if line.endswith(b"\n"):
                # What follows is the end, or, for a run that runs again, a line each second until it is over.
                break
        if b'"results"' in line:
            response.drain_conn()
        response.close()
        return line

    def announced_reports(self, *, since: datetime, offset: int = 0) -> AnnouncedReports:
        """Return one page of the reports that runs left as asset events, the oldest first."""
        body = self._call(self._event_page, since, offset)
        try:
            page = json.loads(body)
            reports = tuple(
                (str(event["source_dag_id"]), str(event["source_run_id"]), event["extra"])
                for event in page["asset_events"]
                if _is_whole_report(event)
            )
            times = [datetime.fromisoformat(event["timestamp"]) for event in page["asset_events"][-1:]]
            return AnnouncedReports(
                reports=reports, entries=len(page["asset_events"]), last_at=times[0] if times else None
            )
        except (ValueError, KeyError, TypeError) as error:
            raise self._strange() from error

    def _event_page(self, since: datetime, offset: int) -> bytes:
        response = self._assets.get_asset_events_without_preload_content(
            source_task_id=REPORT_TASK_ID,
            timestamp_gte=since,
            order_by=["timestamp"],
            limit=PAGE_RUNS,
            offset=offset,
            _request_timeout=_TIMEOUT,
        )
        return _checked(response) or b""

    def objects(self, dag_id: str, run_id: str, *, cursor: str, limit: int, outcome: str = "") -> dict[str, Any]:
        """Return one page of the objects of a run as the REST API of Skyferry, in that Airflow, has it.

        Args:
            cursor: `next_cursor` of the page before; that of the first page is `skyferry.run_objects.BEGINNING`.
            outcome: Only objects that ended so.

        Raises:
            UnknownRunError: There is no such run.
            AirflowRefusedError: The records cannot be read, or that Airflow has no REST API of Skyferry.
        """
        query = {"cursor": cursor, "limit": limit, **({"outcome": outcome} if outcome else {})}
        body = self._found(run_id, self._object_page, dag_id, run_id, query)
        try:
            page = json.loads(body)
            if isinstance(page["objects"], list) and isinstance(page["next_cursor"], str | None):
                return dict(page)
        except (ValueError, KeyError, TypeError):
            pass
        raise AirflowRefusedError(
            f"Airflow at {self.access.text} has no REST API of Skyferry of this version",
            hint=f"expected it at {OBJECTS_API}; see that its plugins folder is Skyferry's, and restart the API server",
        )

    def _object_page(self, dag_id: str, run_id: str, query: Mapping[str, Any]) -> bytes:
        place = "/".join(urllib.parse.quote(part, safe="") for part in (dag_id, run_id))
        response: Any = self._client.call_api(
            "GET",
            f"{self.access.url}{OBJECTS_API}/{place}/objects?{urllib.parse.urlencode(query)}",
            header_params={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
            _request_timeout=_TIMEOUT,
        )
        response.read()
        if response.status == _STORE_FAILED:
            error = ApiException(status=response.status, body=response.data.decode(errors="replace"))
            raise AirflowRefusedError(f"the records of the run cannot be read: {_detail(error)}")
        return _checked(response) or b""

    def start(self, dag_id: str, conf: Mapping[str, Any], *, run_id: str | None = None) -> TransferRun:
        """Start a run and return it.

        Raises:
            AirflowRefusedError: Airflow knows no such DAG, or does not accept the conf.
        """
        body = TriggerDAGRunPostBody(logical_date=None, dag_run_id=run_id, conf=dict(conf))
        return _run(self._call(self._runs.trigger_dag_run, dag_id, body, _request_timeout=_TIMEOUT))

    def unpause(self, dag_id: str) -> None:
        """Let the runs of a DAG begin, scheduled ones included."""
        body = DAGPatchBody(is_paused=False)
        self._call(self._dags.patch_dag, dag_id, body, _request_timeout=_TIMEOUT)

    def fail_run(self, dag_id: str, run_id: str, *, note: str) -> TransferRun:
        """Mark a run as failed: Airflow ends its tasks."""
        body = DAGRunPatchBody(state=DagRunMutableStates.FAILED, note=note)
        return _run(self._found(run_id, self._runs.patch_dag_run, dag_id, run_id, body, _request_timeout=_TIMEOUT))

    def clear_run(self, dag_id: str, run_id: str, *, note: str) -> None:
        """Let all tasks of a run be run again."""
        body = DAGRunClearBody(dry_run=False, only_failed=False, note=note)
        self._found(run_id, self._cleared, dag_id, run_id, body)

    def _cleared(self, dag_id: str, run_id: str, body: DAGRunClearBody) -> None:
        _checked(self._runs.clear_dag_run_without_preload_content(dag_id, run_id, body, _request_timeout=_TIMEOUT))

    def clear_tasks(self, dag_id: str, run_id: str, tasks: Iterable[TaskState], *, note: str) -> None:
        """Let these task instances of a run be run again, and all that come after them."""
        body = ClearTaskInstancesBody(
            dag_run_id=run_id,
            task_ids=[ClearTaskInstancesBodyTaskIdsInner(task.address) for task in tasks],
            include_downstream=True,
            only_failed=False,
            dry_run=False,
        )
        self._found(run_id, self._tasks_cleared, dag_id, body)
        noted = DAGRunPatchBody(note=note)
        self._found(run_id, self._runs.patch_dag_run, dag_id, run_id, noted, _request_timeout=_TIMEOUT)

    def _tasks_cleared(self, dag_id: str, body: ClearTaskInstancesBody) -> None:
        _checked(self._tasks.post_clear_task_instances_without_preload_content(dag_id, body, _request_timeout=_TIMEOUT))

    def connection(self, conn_id: str) -> KnownConnection | None:
        """Return what may be seen of a connection; None if there is none."""
        body = self._call(self._connection, conn_id)
        if body is None:
            return None
        try:
            found = json.loads(body)
            return KnownConnection(login=found["login"] or "", description=found["description"] or "")
        except (ValueError, KeyError, TypeError) as error:
            raise self._strange() from error

    def _connection(self, conn_id: str) -> bytes | None:
        response = self._connections.get_connection_without_preload_content(conn_id, _request_timeout=_TIMEOUT)
        return _checked(response, may_be_missing=True)

    def write_connection(self, conn_id: str, key: AccessKey, *, description: str, is_new: bool) -> None:
        """Create a connection for AWS with this key, or give one that is there this key and leave the rest of it.

        No error holds the secret, or has a cause that holds it: Airflow repeats what it refuses.
        """
        try:
            self._call(self._connection_written, conn_id, key, description, is_new=is_new)
        except TransferError as error:
            raise type(error)(str(error).replace(key.secret, "***")) from None

    def _connection_written(self, conn_id: str, key: AccessKey, description: str, *, is_new: bool) -> None:
        body = ConnectionBody(
            connection_id=conn_id,
            conn_type="aws",
            description=description,
            login=key.key_id,
            password=key.secret,
            extra=json.dumps(dict(key.extra)),
        )
        # Answers without the client's models, which writes those that it reads to its log.
        if is_new:
            answer = self._connections.post_connection_without_preload_content(body, _request_timeout=_TIMEOUT)
        else:
            answer = self._connections.patch_connection_without_preload_content(
                conn_id, body, update_mask=["login", "password"], _request_timeout=_TIMEOUT
            )
        if not 200 <= answer.status < 300:
            raise ApiException(status=answer.status, reason=answer.reason, body=_plain_detail(answer.data))

    def page_url(self, dag_id: str, run_id: str) -> str:
        """Return the address of a run in Airflow's web UI."""
        return f"{self.access.url}/dags/{dag_id}/runs/{urllib.parse.quote(run_id, safe='')}"

    def _found(
        self, run_id: str, call: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        try:
            return self._call(call, *args, **kwargs)
        except AirflowRefusedError as error:
            if isinstance(error.__cause__, ApiException) and error.__cause__.status == 404:
                raise UnknownRunError(f'no run "{run_id[:200]}" in {self.access.url}') from error
            raise

    def _call(
        self, call: Callable[_Arguments, _Answer], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Answer:
        try:
            return call(*args, **kwargs)
        except ApiException as error:
            raise self._refusal(error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        except (ValidationError, ValueError) as error:
            raise self._strange() from error

    def _refusal(self, error: ApiException) -> Exception:
        what = _detail(error)
        if not error.status or error.status < 400:
            return self._strange()
        # Airflow answers 403 to a token it cannot read, and to one that is too old.
        if error.status == 401 or (error.status == 403 and "token" in what.lower()):
            return AirflowAccessError(
                f"Airflow at {self.access.text} refuses the login ({what})",
                hint="get a new token, or check the password",
            )
        if error.status == 403:
            return AirflowRefusedError(
                f"Airflow at {self.access.url} does not let this login do that ({what})",
                hint="ask for the permission, or use another login",
            )
        if error.status >= 500:
            return AirflowUnreachableError(f"Airflow at {self.access.text} answers with a fault of its own: {what}")
        return AirflowRefusedError(f"Airflow refuses: {what}")

    def _unreachable(self, error: Exception) -> AirflowUnreachableError:
        hint = "start the local stack with `make up`" if ".stack" in self.access.found_in else "try again later"
        return AirflowUnreachableError(f"Airflow is unreachable at {self.access.text}: {_cause(error)}", hint=hint)

    def _strange(self) -> AirflowUnreachableError:
        return AirflowUnreachableError(
            f"what answers at {self.access.text} is no Airflow 3, or not its API server", hint="check the address"
        )

    def _new_token(self) -> str:
        body = json.dumps({"username": self.access.user, "password": self.access.password})
        pool = _pool(self.access.url)
        try:
            response = pool.request(
                "POST",
                f"{self.access.url}/auth/token",
                body=body,
                headers={"Content-Type": "application/json"},
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS),
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        if response.status not in {200, 201}:
            if response.status in {401, 403}:
                raise AirflowAccessError(
                    f'Airflow at {self.access.text} refuses user "{self.access.user}"', hint="check user and password"
                )
            raise self._strange()
        try:
            return str(json.loads(response.data)["access_token"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._strange() from error


def _pool(url: str) -> urllib3.PoolManager:
    proxy = _proxy_for(url)
    return urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()


def _proxy_for(url: str) -> str | None:
    """Return the proxy the environment names for a URL; none for this machine itself."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if host in {"localhost", "127.0.0.1", "::1"} or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _checked(response: Any, *, may_be_missing: bool = False) -> bytes | None:
    """Return the body of an answer; None for one that says that there is no such thing."""
    body: bytes = response.data
    if response.status == 404 and may_be_missing:
        return None
    if not 200 <= response.status < 300:
        raise ApiException(status=response.status, reason=response.reason, body=body.decode(errors="replace"))
    return body


def _plain_detail(body: bytes) -> str:
    """Return an answer that refuses, if it does so in words; lists and objects repeat what was sent."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return ""
    return json.dumps({"detail": detail}) if isinstance(detail, str) else ""


def _is_whole_report(event: Mapping[str, Any]) -> bool:
    """Tell whether an asset event holds the report of a run, and not one route's share of it."""
    dag_id = event["source_dag_id"] or ""
    is_share = dag_id.startswith(QUEUE_DAG_PREFIX) and event["name"] != REPORTED_ASSET
    return is_transfer_dag(dag_id) and not is_share and isinstance(event["extra"], Mapping)


def _page(answer: Any) -> RunPage:
    date = {name.lower(): value for name, value in (answer.headers or {}).items()}.get("date")
    answered_at = parsedate_to_datetime(date) if date else datetime.now(UTC)
    listed = answer.data.dag_runs
    return RunPage(
        runs=tuple(_run(each) for each in listed if is_transfer_dag(each.dag_id)),
        total=answer.data.total_entries,
        entries=len(listed),
        last_at=listed[-1].run_after if listed else None,
        answered_at=answered_at,
    )


def _run(run: DAGRunResponse) -> TransferRun:
    return TransferRun(
        dag_id=run.dag_id,
        run_id=run.dag_run_id,
        route=route_of(run.dag_id, run.conf, None),
        state=run.state.value,
        run_type=run.run_type.value,
        run_after=run.run_after,
        queued_at=run.queued_at,
        started_at=run.start_date,
        ended_at=run.end_date,
        note=run.note or "",
    )


def _dag_info(dag: Any) -> TransferDagInfo:
    return TransferDagInfo(
        dag_id=dag.dag_id,
        is_paused=dag.is_paused,
        is_stale=dag.is_stale,
        schedule=dag.timetable_summary or "",
        description=dag.description or "",
        next_run_after=dag.next_dagrun_run_after,
    )


def _task(task: Any) -> TaskState:
    return TaskState(
        task_id=task.task_id,
        map_index=task.map_index,
        name=task.rendered_map_index or "",
        state=task.state.value if task.state else "none",
        try_number=task.try_number,
        ended_at=task.end_date,
    )


def _detail(error: ApiException) -> str:
    """Return what Airflow said, without the headers and the HTTP around it."""
    try:
        detail = json.loads(error.body or "")["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
    # A parameter that fails its schema is followed by the whole schema.
    return str(detail).split("\n\n", 1)[0][:_MAX_DETAIL_CHARACTERS]


def _cause(error: Exception) -> str:
    """Return why there was no answer, in a few words."""
    reason = getattr(error, "reason", None) or error
    text = str(reason)
    for words in ("Connection refused", "timed out", "Name or service not known", "certificate verify failed"):
        if words in text:
            return words.lower()
    return type(reason).__name__


def _from_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
