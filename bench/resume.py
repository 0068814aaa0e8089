"""What is sent again when a worker is killed in the middle of one large object, and how long the rest takes.

    python -m bench.resume                    # 1 GiB to each kind of destination, killed at 10, 50 and 90 %
    python -m bench.resume --size-mib 100     # for a first look; nothing is written

The sink counts every byte of an upload that reaches it, also those of a part that breaks off; for a folder the kernel
tells what the process wrote. The process is stopped, counted and killed -9 when so much has arrived. A second process
then transfers the same object with the same state folder, as the next attempt of a task does on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.contenders import Work
from bench.grounds import Ground, Grounds, ask_sink
from bench.memory import RESULTS
from skyferry.object_transfer import SMALL_OBJECT_BYTES as PART_BYTES
from skyferry.part_sender import PARTS_IN_FLIGHT

SIZE_MIB = 1024
SHARES = (0.1, 0.5, 0.9)
KINDS = ("s3", "az", "gs", "file")
_ARRIVAL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One object on its way from the sink's S3 to a destination of some kind."""

    ground: Ground
    kind: str
    size_bytes: int

    def start(self) -> subprocess.Popen[str]:
        """Start a transfer of it."""
        place = self.ground.place
        case = {
            "conf": {
                "source": "s3://source-large/objects/",
                "destination": f"file://{place.folder}/arrived/"
                if self.kind == "file"
                else f"{self.kind}://destination/",
                "create_destination": True,
            },
            "endpoints": {**place.endpoints, "s3-source": place.source_endpoint},
            "state": str(place.folder / "state"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "bench.engine_case", json.dumps(case)], stdout=subprocess.PIPE, text=True
        )

    def sent_bytes(self, process: subprocess.Popen[str]) -> int:
        """Return how much was sent so far: by all processes to a store, by this one to a folder."""
        if self.kind != "file":
            return int(ask_sink(self.ground, "stats")["upload_bytes"])
        written = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
        return int(written["wchar"])


def main() -> int:
    """Measure, print and keep the report; 1 when more was sent again than was in flight."""
    parser = argparse.ArgumentParser(description="What is sent again after kill -9.")
    parser.add_argument("--size-mib", type=int, default=SIZE_MIB)
    options = parser.parse_args()
    work = Work(source="s3", destination="s3", count=1, size_bytes=options.size_mib * 2**20)
    load = os.getloadavg()
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        Grounds(Path(folder), delay_seconds=0) as grounds,
    ):
        sink = grounds.sink()
        ask_sink(sink, "fill", bucket="source-large", prefix="objects/", count=1, size_bytes=work.size_bytes)
        for kind in KINDS:
            for share in SHARES:
                crossing = Crossing(ground=grounds.prepare_run(sink), kind=kind, size_bytes=work.size_bytes)
                rows.append(measure(crossing, share))
                print(json.dumps(rows[-1]), flush=True)
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "load": load},
        "size_bytes": work.size_bytes,
        "figures": rows,
    }
    if options.size_mib == SIZE_MIB:
        file = RESULTS / f"resume-{datetime.now(UTC).date()}.json"
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    return 0 if all(row["met"] for row in rows) else 1


def measure(crossing: Crossing, share: float) -> dict[str, Any]:
    """Kill one transfer when a share of the object has arrived, let another one go on, and return what that cost."""
    first = crossing.start()
    wait_until(lambda: crossing.sent_bytes(first) >= share * crossing.size_bytes)
    os.kill(first.pid, signal.SIGSTOP)
    written_bytes = crossing.sent_bytes(first)
    first.kill()
    first.communicate()
    if first.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the transfer to {crossing.kind} came to its end before it was killed")
    time.sleep(_ARRIVAL_SECONDS)  # what was under way reaches the sink
    before_bytes = written_bytes if crossing.kind == "file" else crossing.sent_bytes(first)

    started = time.monotonic()
    second = crossing.start()
    output, _ = second.communicate(timeout=900)
    seconds = time.monotonic() - started
    if second.returncode:
        raise RuntimeError(f"the second transfer to {crossing.kind} failed: {output}")
    receipt = last_receipt(crossing.ground.place.folder / "state")
    resumed_bytes = receipt["resumed_bytes"]
    if crossing.kind == "file":
        again_bytes = max(0, before_bytes - resumed_bytes)
    else:
        again_bytes = crossing.sent_bytes(second) - crossing.size_bytes
    return {
        "destination": crossing.kind,
        "killed_at_bytes": before_bytes,
        "resumed_bytes": resumed_bytes,
        "sent_again_bytes": again_bytes,
        "rest_seconds": round(seconds, 2),
        "verified_by": receipt["verified_by"],
        "met": resumed_bytes > 0 and again_bytes <= PARTS_IN_FLIGHT * PART_BYTES,
    }


def wait_until(has_come: Callable[[], bool], *, timeout_seconds: float = 300) -> None:
    """Look every few milliseconds.

    Raises:
        TimeoutError: It has not come.
    """
    deadline = time.monotonic() + timeout_seconds
    while not has_come():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {timeout_seconds:.0f} s")
        time.sleep(0.005)


def last_receipt(state: Path) -> dict[str, Any]:
    """Return the receipt that was written last."""
    names = sorted(state.rglob("receipts/*/*.ndjson"), key=lambda path: path.stat().st_mtime_ns)
    receipt: dict[str, Any] = json.loads(names[-1].read_text().splitlines()[-1])
    return receipt


def markdown(report: dict[str, Any]) -> str:
    """Return the report for people."""
    machine, mib = report["machine"], 2**20
    titles = ("destination", "killed after, MiB", "not sent again, MiB", "sent again, MiB", "rest, s", "verified by")
    size, day = f"{report['size_bytes'] // mib:,} MiB", report["measured_at"][:10]
    lines = [
        f"# An object of {size} goes on after kill -9, measured {day}",
        "",
        f"Python {machine['python']}, {machine['cores']} shared cores, load before: {machine['load'][0]:.1f}.",
        "From the sink's S3 to the sink and to a folder. Made by `python -m bench.resume`.",
        f"In flight are at most {PARTS_IN_FLIGHT} parts of {PART_BYTES // mib} MiB: no more may be sent again.",
        "",
        f"| {' | '.join(titles)} |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in report["figures"]:
        sizes = (row[name] for name in ("killed_at_bytes", "resumed_bytes", "sent_again_bytes"))
        cells = (row["destination"], *(f"{size / mib:.0f}" for size in sizes), row["rest_seconds"], row["verified_by"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
