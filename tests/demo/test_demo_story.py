"""The demo as a whole, with runs that lie or fail: it must not be fooled, and must say where to look."""

from __future__ import annotations

import io
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo.display import Display, Row
from demo.files import digested
from demo.receipts import ReceiptReader
from demo.runs import RunStatus
from demo.scenario import STEPS, Step
from demo.story import Story
from demo.vendor_buckets import S3Bucket
from skyferry.records import Outcome, Receipt
from skyferry.state import Run
from stack.running import Endpoint

_STEP = Step(title="S3 to S3", source="s3", destination="other")


@dataclass
class _Runs:
    """Stands for Airflow: every run ends at once, copies what it is told to, and reports what it is told to."""

    source: S3Bucket
    destination: S3Bucket
    copies: int
    report: Mapping[str, Any] | None
    state: str = "success"
    stopped: list[str] = field(default_factory=list)

    def start(self, run_id: str, conf: Mapping[str, Any]) -> str:
        self.destination.remove()
        self.destination.create()
        for key in sorted(self.source.objects())[: self.copies]:
            self.destination._client.copy({"Bucket": self.source._name, "Key": key}, self.destination._name, key)
        return run_id

    def status(self, run_id: str) -> RunStatus:
        failed = (("copy", 2, 1), ("report", -1, 1)) if self.state == "failed" else ()
        return RunStatus(state=self.state, tasks=Counter({("copy", self.state): 1}), failed_tasks=failed)

    def xcom(self, run_id: str, task_id: str) -> Any:
        return self.report

    @contextmanager
    def stopped_early(self, run_id: str) -> Iterator[None]:
        yield

    def page(self, run_id: str) -> str:
        return f"http://airflow/{run_id}"

    def log_files(self, run_id: str, status: RunStatus) -> list[Path]:
        return [Path(f"/logs/{task}/{index}/{attempt}.log") for task, index, attempt in status.failed_tasks]


@pytest.fixture
def buckets(moto: Endpoint) -> tuple[S3Bucket, S3Bucket]:
    name = f"story-{secrets.token_hex(4)}"
    source = S3Bucket(name, endpoint_url=moto.url)
    source.create()
    return source, S3Bucket(f"{name}-copy", endpoint_url=moto.url)


def _told(
    tmp_path: Path,
    buckets: tuple[S3Bucket, S3Bucket],
    *,
    copies: int,
    report: Mapping[str, Any] | None,
    state: str = "success",
    step: Step = _STEP,
) -> tuple[bool, str]:
    """Play one step with three files; returns what the demo makes of it, and what it says."""
    source, destination = buckets
    originals = {}
    for key in ("a", "b", "c"):
        (tmp_path / key).write_text(key)
        originals[key] = digested(tmp_path / key)
        source.put(key, tmp_path / key, progress=lambda sent: None)
    output = io.StringIO()
    story = Story(
        display=Display(Console(file=output, width=200)),
        runs=_Runs(source, destination, copies, report, state),  # type: ignore[arg-type]
        source=source,
        buckets={"s3": source, "other": destination},
        folder=tmp_path,
        state=tmp_path / "state",
        events=source,
        originals=originals,
    )
    is_good = story.play(step)
    story.display.show_table(story.rows)
    return is_good, output.getvalue()


def _report(**changes: Any) -> dict[str, Any]:
    report = {"state": "success", "objects_planned": 3, "objects_copied": 3, "objects_skipped": 0, "bytes_copied": 3}
    report |= {"objects_refused": 0, "objects_failed": 0, "objects_deleted_at_source": 0, "duration_seconds": 1.5}
    return report | {"verified_by": {"md5": 3}, "problems": []} | changes


def test_a_good_run_is_good(tmp_path: Path, buckets: tuple[S3Bucket, S3Bucket]) -> None:
    is_good, said = _told(tmp_path, buckets, copies=3, report=_report())
    assert is_good
    assert "3 copied" in said
    assert "3 md5, 3 read" in said
    assert "http://airflow/demo_s3_to_s3_" in said


def test_a_run_that_lies_is_found_out(tmp_path: Path, buckets: tuple[S3Bucket, S3Bucket]) -> None:
    is_good, said = _told(tmp_path, buckets, copies=2, report=_report())
    assert not is_good
    assert "c is missing" in said
    assert "1 problems" in said


def test_a_failed_run_shows_the_problems_of_its_report_and_the_logs(
    tmp_path: Path, buckets: tuple[S3Bucket, S3Bucket]
) -> None:
    report = _report(state="failed", objects_copied=2, objects_failed=1, problems=["s3://b/c was never tried"])
    is_good, said = _told(tmp_path, buckets, copies=2, report=report, state="failed")
    assert not is_good
    assert "the run ended as failed" in said
    assert "s3://b/c was never tried" in said
    assert "log: /logs/copy/2/1.log" in said
    assert "log: /logs/report/-1/1.log" in said


def test_a_run_without_a_report_is_a_failure(tmp_path: Path, buckets: tuple[S3Bucket, S3Bucket]) -> None:
    is_good, said = _told(tmp_path, buckets, copies=3, report=None)
    assert not is_good
    assert "the report says state None; expected 'success'" in said


def test_a_move_that_leaves_the_sources_is_found_out(tmp_path: Path, buckets: tuple[S3Bucket, S3Bucket]) -> None:
    step = Step(title="moved", source="s3", destination="other", moves=True)
    report = _report(objects_deleted_at_source=3)
    is_good, said = _told(tmp_path, buckets, copies=3, report=report, step=step)
    assert not is_good
    assert "a is still there after it was moved" in said


def test_the_scenario_has_every_kind_of_store_a_move_and_a_repetition() -> None:
    first, last = STEPS[0], STEPS[-1]
    assert (last.source, last.destination, last.repeats) == (first.source, first.destination, True)
    assert sum(step.moves for step in STEPS) == 1
    assert {name.split("-")[0] for step in STEPS for name in (step.source, step.destination)} == {
        "s3",
        "azure",
        "gcs",
        "folder",
    }
    # Nothing empties or refills what a later step counts on.
    moved = {step.source for step in STEPS if step.moves}
    assert not moved & {last.source, last.destination}
    assert len({step.id for step in STEPS}) == len(STEPS)


def test_receipts_are_counted_once_and_only_copies(tmp_path: Path) -> None:
    run = Run(dag_id="transfer", run_id="demo_1:2", route="", started_at="")
    folder = tmp_path / run.folder / "plan-0001" / "receipts" / "00000"
    folder.mkdir(parents=True)
    reader = ReceiptReader(tmp_path, dag_id="transfer", run_id="demo_1:2")
    assert reader.copied() == (0, 0)
    _write_receipts(folder / "try-01-00000.ndjson", ("a", Outcome.COPIED, 5), ("b", Outcome.FAILED, 7))
    assert reader.copied() == (1, 5)
    assert reader.copied() == (1, 5)
    _write_receipts(folder / "try-02-00000.ndjson", ("a", Outcome.COPIED, 5), ("b", Outcome.COPIED, 7))
    assert reader.copied() == (2, 12)


def _write_receipts(path: Path, *rows: tuple[str, Outcome, int]) -> None:
    receipts = [
        Receipt(key=key, destination_key=key, outcome=outcome, reason="", size_bytes=size, source_etag="")
        for key, outcome, size in rows
    ]
    path.write_text("".join(json.dumps(receipt.to_json()) + "\n" for receipt in receipts), encoding="utf-8")


def test_without_a_terminal_there_is_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.display._LINE_SECONDS", 0.01)
    output = io.StringIO()
    with Display(Console(file=output, width=200)).activity("copying", objects=10) as activity:
        activity.advance(4, 2_000_000)
        _wait_for(output, "copying: 4 of 10, 2.0 MB, 0 s ...")
        activity.show(9, 3_000_000, "copy 1 running")
        _wait_for(output, "copying: 9 of 10, 3.0 MB, 0 s, copy 1 running ...")
    assert output.getvalue().splitlines()[-1] == "  copying: 9 of 10, 3.0 MB, 0 s, copy 1 running"


def _wait_for(output: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 5
    while text not in output.getvalue():
        assert time.monotonic() < deadline, output.getvalue()
        time.sleep(0.01)


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=200))
    display.complain(["s3://b/[red]key[/red] is missing"])
    row = Row(
        title="x", objects="1", size_bytes=1, verified_by="-", seconds=1, checked="[bold]1 problems", is_good=False
    )
    display.show_table([row])
    assert "s3://b/[red]key[/red] is missing" in output.getvalue()
    assert "[bold]1 problems" in output.getvalue()
