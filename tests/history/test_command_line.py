"""`transfer` against a real Airflow, as people and programs use it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from skyferry.cli.documents import documents_schema
from skyferry.history.airflow_api import AirflowApi
from skyferry.history.transfer_run import TransferRun
from tests.history.conftest import Transfer
from tests.history.pausing import pause
from tests.local_airflow import LocalAirflow

pytestmark = pytest.mark.slow

Folders = Callable[[int], tuple[Path, Path]]


def document(done: subprocess.CompletedProcess[str], command: str) -> Any:
    """The JSON a command wrote, once it is known to be as documented."""
    found = json.loads(done.stdout)
    schema = documents_schema()
    jsonschema.validate(found, {**schema["properties"][command], "$defs": schema["$defs"]})
    return found


def places(folders: tuple[Path, Path]) -> list[str]:
    source, destination = folders
    return ["--source", f"file://{source}/", "--destination", f"file://{destination}/", "--create-destination"]


def test_without_a_command_it_starts_a_transfer(transfer: Transfer, folders: Folders) -> None:
    source, destination = folders(2)
    done = transfer(
        "--id", "Dummy transfer", *places((source, destination)), "--data", "file-0.bin", "--copy", "False", "--wait"
    )
    assert done.returncode == 0, done.stderr
    assert '"Dummy transfer" is read as dummy_transfer' in done.stderr
    assert re.search(r"^copied +1 \(10 B\)", done.stdout, re.MULTILINE)
    assert [path.name for path in destination.iterdir()] == ["file-0.bin"]
    assert [path.name for path in source.iterdir()] == ["file-1.bin"]


def test_run_status_and_statistic_say_the_same(transfer: Transfer, folders: Folders) -> None:
    done = transfer("run", "--id", "same", *places(folders(4)), "--wait", "--json")
    assert done.returncode == 0, done.stderr
    ran = document(done, "transfer run")
    shown = document(transfer("status", "--run", ran["run_id"], "--json"), "transfer status --run")
    assert shown == ran
    listed = document(transfer("status", "--id", "same", "--json"), "transfer status")["runs"]
    assert listed == [ran]
    found = document(transfer("statistic", "--id", "same", "--by", "route", "--json"), "transfer statistic")
    numbers = found["total"]["numbers"]
    report = ran["report"]
    for name in ("objects_planned", "objects_copied", "objects_skipped", "bytes_copied", "verified_by", "retries"):
        assert numbers[name] == report[name], name
    assert numbers["duration_seconds"]["p50"] == report["duration_seconds"] == ran["duration_seconds"]
    assert numbers["throughput_bytes_per_second"]["max"] == report["throughput_bytes_per_second"]
    assert found["groups"][0]["numbers"] | {"name": "total"} == numbers
    assert (numbers["objects_copied"], numbers["bytes_copied"], found["total"]["success_rate"]) == (4, 40, 1.0)


def test_people_get_tables_and_pictures(transfer: Transfer, folders: Folders, tmp_path: Path) -> None:
    transfer("run", "--id", "tables", *places(folders(3)), "--wait")
    runs = transfer("status", "--id", "tables").stdout
    assert runs.split()[:6] == ["route", "run", "outcome", "began", "took", "copied"]
    assert "success" in runs
    assert "30 B" in runs
    text = transfer("statistic", "--id", "tables", "--by", "pair", "--since", "1h").stdout
    picture = tmp_path / "tables.svg"
    drawn = transfer("statistic", "--id", "tables", "--plot", str(picture))
    assert (drawn.returncode, drawn.stderr) == (0, f"drew {picture}\n")
    assert "bytes copied: 30 B" in picture.read_text()
    for words in ("1 success (100.0% of those that ended)", "3 (30 B)", "3 readback", "file to file", "████████████"):
        assert words in text


def test_a_transfer_that_fails_is_exit_code_1_and_is_retried(transfer: Transfer, folders: Folders) -> None:
    source, destination = folders(2)
    destination.mkdir()
    (destination / "file-0.bin").write_bytes(b"of somebody else")
    done = transfer("run", "--id", "fails", *places((source, destination)), "--on-conflict", "fail", "--wait", "--json")
    assert done.returncode == 1
    ran = document(done, "transfer run")
    assert (ran["outcome"], ran["report"]["objects_refused"]) == ("failed", 1)
    assert ran["report"]["refused_by_reason"] == {"conflict": 1}
    shown = transfer("status", "--run", ran["run_id"])
    assert shown.returncode == 1
    assert re.search(r"^refused +1 \(1 conflict\)", shown.stdout, re.MULTILINE)
    assert "problem: " in shown.stderr
    assert "of somebody else" not in shown.stderr
    assert ran["run_id"] in transfer("status", "--failed").stdout
    (destination / "file-0.bin").unlink()
    again = transfer("retry", ran["run_id"], "--wait", "--json")
    assert again.returncode == 0, again.stderr
    assert document(again, "transfer retry")["report"]["objects_copied"] == 2
    nothing = transfer("retry", ran["run_id"], "--failed-only")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "nothing failed in run" in nothing.stderr
    assert ran["run_id"] not in transfer("status", "--failed").stdout


def test_the_objects_of_a_run_are_listed_to_the_last(transfer: Transfer, folders: Folders) -> None:
    source, destination = folders(230)
    hostile = "a\x1b[31m\nb <b>.bin"
    (source / hostile).write_bytes(b"0123456789")
    destination.mkdir()
    for name in ("file-7.bin", "file-9.bin"):
        (destination / name).write_bytes(b"of somebody else")
    (destination / "file-8.bin").write_bytes(b"0123456789")
    done = transfer(
        "run", "--id", "listed", *places((source, destination)), "--on-conflict", "fail", "--batch-objects", "40",
        "--wait", "--json",
    )  # fmt: skip
    run_id = document(done, "transfer run")["run_id"]

    shown = transfer("status", "--run", run_id, "--objects", "--json")
    found = document(shown, "transfer status --run --objects")
    assert (shown.returncode, found["run_id"], found["outcome"]) == (1, run_id, "failed")
    outcomes = {each["key"]: each["outcome"] for each in found["objects"]}
    assert len(found["objects"]) == len(outcomes) == 231
    assert set(outcomes) == {hostile, *(f"file-{number}.bin" for number in range(230))}
    assert {key for key, outcome in outcomes.items() if outcome == "refused"} == {"file-7.bin", "file-9.bin"}
    assert outcomes["file-8.bin"] == "skipped"
    assert {each["verified_by"] for each in found["objects"] if each["outcome"] == "copied"} == {"readback"}

    text = transfer("status", "--run", run_id, "--objects")
    assert text.stdout.count(".bin") - text.stdout.count("exists with other content") == 231
    assert "a\\x1b[31m\\nb <b>.bin" in text.stdout
    assert "\x1b" not in text.stdout
    assert text.stderr == "231 objects\n"

    failed = document(
        transfer("status", "--run", run_id, "--objects", "--failed", "--json"), "transfer status --run --objects"
    )
    assert {each["key"] for each in failed["objects"]} == {"file-7.bin", "file-9.bin"}
    assert all("and on_conflict is fail" in each["reason"] for each in failed["objects"])


def test_a_run_is_cancelled(transfer: Transfer, waiting_run: TransferRun) -> None:
    done = transfer("cancel", waiting_run.run_id, "--json")
    assert done.returncode == 0, done.stderr
    assert document(done, "transfer cancel")["state"] == "failed"
    assert transfer("cancel", waiting_run.run_id).returncode == 2
    shown = transfer("status", "--run", waiting_run.run_id)
    assert shown.returncode == 1
    assert "cancelled by admin" in shown.stdout
    assert "the run left no report" in shown.stderr


def test_the_id_of_a_run_is_all_that_a_script_gets(
    transfer: Transfer, folders: Folders, until_over: Any, api: AirflowApi
) -> None:
    done = transfer("run", *places(folders(1)))
    assert done.returncode == 0
    run = api.run("transfer", done.stdout.strip())
    watched = transfer("status", "--run", run.run_id, "--watch")
    assert watched.returncode == 0
    assert until_over(run).state == "success"


def test_a_paused_dag_is_told_of_and_unpaused_when_that_is_harmless(
    transfer: Transfer, api: AirflowApi, folders: Folders
) -> None:
    pause(api)
    done = transfer("run", *places(folders(1)), "--wait")
    assert done.returncode == 0, done.stderr
    assert not next(dag for dag in api.dags() if dag.dag_id == "transfer").is_paused


def test_an_unknown_route_or_run_is_one_line_and_exit_code_2(transfer: Transfer) -> None:
    cases: Mapping[tuple[str, ...], str] = {
        ("run", "--id", "orders_to_lak"): 'Airflow knows no route "orders_to_lak"; did you mean "orders_to_lake"?',
        ("status", "--run", "nope"): 'no run "nope" in http://127.0.0.1:',
        ("cancel", "nope"): 'no run "nope"',
        ("run", "--source", "ftp://x", "--destination", "s3://a-bucket"): "ftp://x",
    }
    for arguments, message in cases.items():
        done = transfer(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_an_audit_confirms_what_is_there_and_names_what_is_not(transfer: Transfer, folders: Folders) -> None:
    source, destination = folders(3)
    done = transfer("run", "--id", "audited", *places((source, destination)), "--wait", "--json")
    ran = document(done, "transfer run")
    good = transfer("audit", ran["run_id"])
    assert good.returncode == 0, good.stderr
    assert re.search(r"^confirmed +3 \(3 readback\)", good.stdout, re.MULTILINE)
    (destination / "file-0.bin").unlink()
    (destination / "file-1.bin").write_bytes(b"9876543210")
    bad = transfer("audit", ran["run_id"], "--json")
    assert bad.returncode == 1
    found = document(bad, "transfer audit")
    assert (found["state"], found["objects_audited"], found["objects_confirmed"]) == ("failed", 3, 1)
    assert found["differences_by_kind"] == {"missing": 1, "other_content": 1}
    assert any(f"file://{destination}/file-0.bin was copied by this run" in text for text in found["differences"])
    listed = document(transfer("status", "--limit", "100", "--json"), "transfer status")["runs"]
    assert "audit" not in {run["dag_id"] for run in listed}, "an audit is no transfer"
    unknown = transfer("audit", "nope")
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_what_a_route_needs_is_planned_made_and_left(transfer: Transfer, airflow_services: LocalAirflow) -> None:
    planned = document(transfer("provision", "--id", "orders", "--dry-run", "--json"), "transfer provision")
    folder = f"folder file://{airflow_services.exchange}/lake/"
    assert (planned["action"], planned["dry_run"], planned["state"]) == ("provision", True, "success")
    assert folder in {step["thing"] for step in planned["steps"]}
    made = transfer("provision", "--id", "orders")
    assert made.returncode == 0, made.stderr
    assert (airflow_services.exchange / "lake").is_dir()
    again = transfer("provision", "--id", "orders")
    assert again.stderr.strip() == "nothing to do"
    removed = transfer("deprovision", "--id", "orders")
    assert removed.returncode == 0, removed.stderr
    assert "folders are never removed" in removed.stdout
    well = transfer("doctor", "--id", "orders")
    assert well.returncode == 0, well.stderr
    folder = f"file://{airflow_services.exchange}/lake/"
    assert re.search(rf"^ *ok +destination {folder} +writing in the folder", well.stdout, re.MULTILINE)
    found = document(transfer("doctor", "--id", "orders", "--json"), "transfer doctor")
    assert {one["state"] for one in found["findings"]} == {"ok"}
    rings = document(transfer("provision", "--id", "orders", "--with-lambda", "--json"), "transfer provision")
    assert 'route "orders" says nothing about a Lambda function' in rings["problem"]
    guarded = document(transfer("provision", "--id", "orders", "--with-gateway", "--json"), "transfer provision")
    assert 'route "orders" says nothing about an API Gateway' in guarded["problem"]
    unknown = transfer("provision", "--id", "ordres", "--json")
    assert unknown.returncode == 1
    found = document(unknown, "transfer provision")
    assert 'no route "ordres"; did you mean "orders"?' in found["problem"]


def test_a_probe_goes_through_a_route_that_the_doctor_starts(
    transfer: Transfer, airflow_services: LocalAirflow
) -> None:
    source, copies = (airflow_services.exchange / name for name in ("probed", "probed-copied"))
    source.mkdir(exist_ok=True)
    (source / "of-somebody.csv").write_bytes(b"waits for its own run")
    before = sorted(path.name for folder in (source, copies) if folder.is_dir() for path in folder.iterdir())
    done = transfer("doctor", "--id", "probed", "--send-probe", "--timeout", "20m", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = document(done, "transfer doctor --send-probe")
    assert [one["step"] for one in found["steps"]] == ["written", "begun", "planned", "copied", "reported"]
    assert (found["state"], found["problem"], found["left"]) == ("success", "", [])
    assert found["run"].startswith("transfer__probed/")
    assert found["removed"] == [found["source"], found["destination"]]
    after = sorted(path.name for folder in (source, copies) if folder.is_dir() for path in folder.iterdir())
    assert after == before
    (source / "of-somebody.csv").unlink()


def test_a_probe_that_cannot_be_sent_says_why(transfer: Transfer) -> None:
    unknown = transfer("doctor", "--id", "ordres", "--send-probe")
    assert unknown.returncode == 1
    assert 'no route "ordres"; did you mean "orders"?' in unknown.stderr
    wrong = transfer("doctor", "--id", "orders", "--send-probe", "--timeout", "soon")
    assert wrong.returncode == 2
    assert "expected for example 90s, 5m or 2h" in wrong.stderr
