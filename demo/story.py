"""The demo from beginning to end: files, buckets, one DAG run after the other, and a check after each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from demo.arrivals import ArrivalStage
from demo.checks import (
    Check,
    check_bucket,
    check_empty,
    check_report,
    check_untouched,
    shortened,
)
from demo.display import Display, Row
from demo.files import DemoError, Original, choose_files, installed_files, write_files
from demo.parallel import run_parallel
from demo.receipts import ReceiptReader
from demo.runs import DAG_ID, POLL_SECONDS, AirflowRuns, RunStatus
from demo.scenario import ARRIVALS, FOLDER, STEPS, Arrival, Step
from demo.vendor_buckets import S3Bucket, Stored, VendorBucket

RUN_DEADLINE_SECONDS: Final = 600.0


@dataclass(slots=True)
class Story:
    """The demo on one running stack.

    Args:
        buckets: By the names the scenario has for them; all are emptied first.
        folder: Where the files are put, below a local root of the stack.
        state: The folder in which the stack's runs keep their records.
        events: One of the buckets: it tells a queue of what is put into it.
    """

    display: Display
    runs: AirflowRuns
    source: S3Bucket
    buckets: Mapping[str, VendorBucket]
    folder: Path
    state: Path
    events: S3Bucket
    originals: dict[str, Original] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def tell(self) -> bool:
        """Run the demo; returns whether every object of every transfer is accounted for."""
        self.prepare()
        acts: tuple[Step | Arrival, ...] = (*STEPS, *ARRIVALS)
        for number, act in enumerate(acts, 1):
            self.display.say(f"\n{number} of {len(acts)}: {act.title}")
            if not (self.play(act) if isinstance(act, Step) else self.await_arrivals(act)):
                break
        self.display.say()
        self.display.show_table(self.rows)
        return len(self.rows) == len(acts) and all(row.is_good for row in self.rows)

    def prepare(self) -> None:
        """Put the files into the folder and into S3, and wait until Airflow is ready to move them."""
        with self.display.activity("finding files of this installation") as activity:
            chosen = choose_files(installed_files())
            activity.show(0, sum(each.size_bytes for each in chosen), f"{len(chosen):,} chosen")
        with self.display.activity("copying them, and making a large one of them", objects=len(chosen) + 1) as activity:
            self.originals = write_files(chosen, self.folder, progress=activity.advance)
        with self.display.activity("emptying the demo's buckets", objects=len(self.buckets)) as activity:
            for bucket in self.buckets.values():
                bucket.remove()
                activity.advance(1)
        self._upload()
        with self.display.activity("waiting for Airflow to know the DAG"):
            self.runs.prepare_dag()

    def _upload(self) -> None:
        self.source.create()
        self.events.create()
        with self.display.activity(f"putting them into {self.source.url}", objects=len(self.originals)) as activity:

            def upload(key: str) -> None:
                self.source.put(key, self.originals[key].path, progress=lambda sent: activity.advance(0, sent))
                activity.advance(1)

            for _ in run_parallel(upload, sorted(self.originals)):
                pass

    def play(self, step: Step) -> bool:
        """Run one transfer and check it; returns whether all is well."""
        watched = [self.buckets[name] for name in step.untouched if name in self.buckets]
        before = [(bucket, bucket.objects()) for bucket in watched]
        conf = step.conf({name: bucket.url for name, bucket in self.buckets.items()} | {FOLDER: self._folder_url})
        run_id = self.runs.start(f"{step.id}_{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}", conf)
        self.display.say(f"  {self.runs.page(run_id)}")
        status = self._watch(step, run_id)
        report: dict[str, Any] = self.runs.xcom(run_id, "report") or {}
        check = self._check(step, report, before)
        self.rows.append(_row(step, report, check))
        if check.problems:
            self._explain(run_id, status, check.problems)
        return not check.problems

    def await_arrivals(self, arrival: Arrival) -> bool:
        """Put objects where a route notices them; returns whether all of them arrive by themselves."""
        stage = ArrivalStage(
            display=self.display,
            runs=self.runs,
            buckets=self.buckets,
            events=self.events,
            folder=self.folder.parent / "demo-dropped",
            state=self.state,
        )
        self.rows.append(stage.play(arrival, self.originals))
        return self.rows[-1].is_good

    @property
    def _folder_url(self) -> str:
        return f"file://{self.folder}/"

    def _watch(self, step: Step, run_id: str) -> RunStatus:
        """Show the run until it has ended.

        Raises:
            DemoError: It has not ended after ten minutes.
        """
        receipts = ReceiptReader(self.state, dag_id=DAG_ID, run_id=run_id)
        deadline = time.monotonic() + RUN_DEADLINE_SECONDS
        objects = 0 if step.repeats else len(self.originals)
        with self.display.activity(step.title, objects=objects) as activity, self.runs.stopped_early(run_id):
            while True:
                status = self.runs.status(run_id)
                activity.show(*receipts.copied(), status.text)
                if status.is_over:
                    return status
                if time.monotonic() > deadline:
                    raise DemoError(
                        f"the run has not ended after {RUN_DEADLINE_SECONDS:.0f} seconds: {self.runs.page(run_id)}"
                    )
                time.sleep(POLL_SECONDS)

    def _check(
        self, step: Step, report: Mapping[str, Any], before: list[tuple[VendorBucket, dict[str, Stored]]]
    ) -> Check:
        with self.display.activity("checking every object, reading some") as activity:
            check = check_bucket(self.buckets[step.destination], self.originals, progress=activity.reach)
            # The run's own words first: they say why, and the rest only follows from that.
            check.problems[:0] = check_report(report, self.originals, copies=not step.repeats, moves=step.moves)
            for bucket, stored in before:
                check.problems += check_untouched(bucket, stored)
            if step.moves:
                check.problems += check_empty(self.buckets[step.source])
        return check

    def _explain(self, run_id: str, status: RunStatus, problems: list[str]) -> None:
        self.display.say(f"  {len(problems):,} problems; the run ended as {status.state}:")
        self.display.complain(shortened(problems))
        for log in self.runs.log_files(run_id, status):
            self.display.say(f"  log: {log}")


def _row(step: Step, report: Mapping[str, Any], check: Check) -> Row:
    copied, skipped = report.get("objects_copied", 0), report.get("objects_skipped", 0)
    verified = ", ".join(f"{count:,} {way}" for way, count in report.get("verified_by", {}).items())
    facts = [check.text, "source empty" if step.moves else "", "untouched" if step.repeats else ""]
    good = ", ".join(fact for fact in facts if fact)
    return Row(
        title=step.title,
        objects=f"{copied:,} copied" if copied or not skipped else f"{skipped:,} skipped",
        size_bytes=report.get("bytes_copied", 0),
        verified_by=verified or "-",
        seconds=report.get("duration_seconds", 0.0),
        checked=f"{len(check.problems):,} problems" if check.problems else good,
        is_good=not check.problems,
    )
