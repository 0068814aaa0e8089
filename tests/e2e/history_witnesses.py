"""What command line and REST say of the runs of this process's Airflow; an API server on its database answers them.

The server is there for reading. It is started once for a session; a command runs in this process, because starting one
would take longer than the run it is asked about.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from skyferry.cli import app
from skyferry.history.transfer_run import is_transfer_dag
from stack.components import component
from stack.health import free_port
from stack.running import running

_USER, _PASSWORD = "witness", "to read only"
_ADDED = ("runs_total", "objects_copied", "bytes_copied")

Sums = Mapping[str, Mapping[str, Any]]
"""The statistics of all runs there are, by who says so."""


@dataclass(frozen=True)
class HistoryWitnesses:
    """Those who read the history.

    Attributes:
        http: Logged in, at the REST API.
        environ: What the command line needs.
    """

    http: httpx.Client
    environ: Mapping[str, str]

    def sums(self) -> Sums:
        """Ask for the statistics; before a run and after it, they differ by what the run did."""
        return {
            "statistic": self._command("statistic", "--json")["total"]["numbers"],
            "statistics_over_http": self._over_http("/statistics", since="999w")["total"],
        }

    def told(
        self, dag_id: str, run_id: str, *, state: str, has_report: bool, before: Sums
    ) -> dict[str, Mapping[str, Any]]:
        """Return what each says of a run that is over, after looking whether it is counted once and as what it is.

        Args:
            has_report: A green run without one is no success.
            before: What the sums were before its first attempt.
        """
        if not is_transfer_dag(dag_id):
            return {}
        outcome = "report_missing" if state == "success" and not has_report else state
        shown = self._command("status", "--run", f"{dag_id}/{run_id}", "--json", exits=int(outcome != "success"))
        http = self._over_http(f"/transfers/{dag_id}/{run_id}")
        assert (shown["outcome"], http["outcome"]) == (outcome, outcome)
        told = {"status": shown["report"], "transfer_over_http": http["numbers"] if has_report else {}}
        for name, after in self.sums().items():
            added = {each: after[each] - before[name][each] for each in _ADDED}
            assert added["runs_total"] == 1, f"{name} counts a run once"
            assert after["runs"][outcome] - before[name]["runs"][outcome] == 1, f"{name} counts it as {outcome}"
            told[name] = added if has_report else {}
        return told

    def _command(self, *arguments: str, exits: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(app, arguments, env=dict(self.environ), catch_exceptions=False)
        assert result.exit_code == exits, result.output
        shown: dict[str, Any] = json.loads(result.stdout)
        return shown

    def _over_http(self, path: str, **query: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.get(path, params=query).raise_for_status().json()
        return answer


@contextmanager
def history_witnesses(folder: Path) -> Iterator[HistoryWitnesses]:
    """Start an API server on the database of AIRFLOW_HOME; it is stopped at the end of the block."""
    port = free_port()
    server = component("api-server")
    url = server.url(port)
    passwords = folder / "passwords.json"
    folder.mkdir(parents=True)
    passwords.write_text(json.dumps({_USER: _PASSWORD}))
    settings = {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{_USER}:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "PYTHONPATH": os.pathsep.join(filter(None, ("include", os.environ.get("PYTHONPATH")))),
    }
    environ = {
        "TRANSFER_AIRFLOW_URL": url,
        "TRANSFER_AIRFLOW_USER": _USER,
        "TRANSFER_AIRFLOW_PASSWORD": _PASSWORD,
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    with (
        running(server, folder, port=port, environment=settings),
        httpx.Client(base_url=f"{url}/transfer/v1", timeout=120, trust_env=False) as http,
    ):
        answer = http.post(f"{url}/auth/token", json={"username": _USER, "password": _PASSWORD})
        http.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
        yield HistoryWitnesses(http, environ)
