"""What putting and getting one file costs, by its size, beside `rclone copyto`.

    python -m bench.verbs                  # 1 MB to 1.5 GB, each kind of store, three turns; about 20 minutes
    python -m bench.verbs --quick          # 1 and 10 MB, one turn, for a first look; nothing is written
    python -m bench.verbs --kinds s3 az    # only these stores

The stores are the sink, which keeps no content that is put. Both programs verify: ours as every copy is, rclone by the
checksum it compares after each transfer. They work in turns, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.contenders import BASE_ENVIRONMENT, Place, Start, Work, rclone_start
from bench.grounds import Ground, Grounds, ask_sink
from bench.memory import RESULTS
from bench.process_cost import ProcessCost, ProgramFailedError, run_program

KINDS = ("s3", "az", "gs")
VERBS = ("put", "get")
SIZES = (1_000_000, 10_000_000, 100_000_000, 750_000_000, 1_500_000_000)
QUICK_SIZES = SIZES[:2]
TURNS = 3
_SOURCE_KEY = "objects/000000"
_COMPARED_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One file, put to a kind of store or got from it."""

    verb: str
    kind: str
    size_bytes: int

    @property
    def work(self) -> Work:
        """The same as work between stores, which says where it lies."""
        source, destination = ("file", self.kind) if self.verb == "put" else (self.kind, "file")
        return Work(source=source, destination=destination, count=1, size_bytes=self.size_bytes)


def ours(errand: Errand, place: Place) -> Start:
    """Return the start of the library's verb."""
    if errand.verb == "put":
        names = {"source": str(_local_source(errand, place)), "destination": f"{errand.kind}://destination/file"}
    else:
        source = f"{errand.kind}://{errand.work.bucket}/{_SOURCE_KEY}"
        names = {"source": source, "destination": str(_got(place))}
    endpoints = {**place.endpoints, "s3-source": place.source_endpoint}
    case = json.dumps({"verb": errand.verb, "endpoints": endpoints, **names})
    return Start(arguments=(sys.executable, "-m", "bench.verb_case", case), environment=BASE_ENVIRONMENT)


def rclone(errand: Errand, place: Place) -> Start:
    """Return the start of `rclone copyto`."""
    if errand.verb == "put":
        names = str(_local_source(errand, place)), f"{errand.kind}:destination/file"
    else:
        names = f"{errand.kind}:{errand.work.bucket}/{_SOURCE_KEY}", str(_got(place))
    return rclone_start(("copyto", *names), place)


CONTENDERS: Mapping[str, Callable[[Errand, Place], Start]] = {"ours": ours, "rclone": rclone}


def main() -> int:
    """Measure, print and keep the report; 1 when a contender failed."""
    options = _options()
    sizes, turns = (QUICK_SIZES, 1) if options.quick else (SIZES, TURNS)
    load = os.getloadavg()
    with (
        tempfile.TemporaryDirectory(prefix="skyferry-bench-") as folder,
        Grounds(Path(folder), delay_seconds=0) as grounds,
    ):
        rows = []
        for size_bytes in sizes:
            for kind in options.kinds:
                for verb in VERBS:
                    rows.append(measure(Errand(verb=verb, kind=kind, size_bytes=size_bytes), grounds, turns=turns))
                    print(json.dumps(rows[-1]), flush=True)
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "load": load},
        "turns": turns,
        "figures": rows,
    }
    if not options.quick:
        file = RESULTS / f"verbs-{datetime.now(UTC).date()}.json"
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    else:
        print(markdown(report))
    return int(any(row["failed"] for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put and get of one file, by size, beside rclone copyto.")
    parser.add_argument("--quick", action="store_true", help="1 and 10 MB, one turn; nothing is written")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    return parser.parse_args()


def measure(errand: Errand, grounds: Grounds, *, turns: int) -> dict[str, Any]:
    """Let both contenders run one errand in turns, and return the medians; who fails once has none."""
    ground = grounds.sink()
    grounds.fill(ground, errand.work)
    costs: dict[str, list[ProcessCost]] = {name: [] for name in CONTENDERS}
    failed: dict[str, str] = {}
    for _ in range(turns):
        for name, start in CONTENDERS.items():
            if name not in failed:
                try:
                    costs[name].append(_run(start, errand, grounds.prepare_run(ground)))
                except ProgramFailedError as error:
                    failed[name] = str(error)
    figures = {name: _medians(costs[name], errand) for name in CONTENDERS if name not in failed}
    identity = {"verb": errand.verb, "kind": errand.kind, "size_bytes": errand.size_bytes}
    return {**identity, **figures, "failed": failed}


def _run(start: Callable[[Errand, Place], Start], errand: Errand, ground: Ground) -> ProcessCost:
    started = start(errand, ground.place)
    cost = run_program(started.arguments, environment=started.environment)
    if errand.verb == "put":
        arrived = ask_sink(ground, "stats", bucket="destination")["objects"]
        if arrived != 1:
            raise ProgramFailedError(f"{arrived} of 1 objects arrived")
    else:
        _require_content(errand, ground)
    return cost


def _require_content(errand: Errand, ground: Ground) -> None:
    """Compare what was got with what plain requests read from the sink, at both ends of the file."""
    got = _got(ground.place)
    size_bytes = got.stat().st_size if got.exists() else 0
    if size_bytes != errand.size_bytes:
        raise ProgramFailedError(f"{size_bytes:,} of {errand.size_bytes:,} bytes arrived")
    address = f"{ground.place.source_endpoint}/{errand.work.bucket}/{_SOURCE_KEY}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with got.open("rb") as file:
        for start_byte in (0, max(0, size_bytes - _COMPARED_BYTES)):
            span = f"bytes={start_byte}-{min(start_byte + _COMPARED_BYTES, size_bytes) - 1}"
            request = urllib.request.Request(address, headers={"Range": span})  # noqa: S310 - the sink's address
            file.seek(start_byte)
            with opener.open(request, timeout=60) as answer:
                if answer.read() != file.read(_COMPARED_BYTES):
                    raise ProgramFailedError(f"other bytes arrived, from byte {start_byte:,}")


def _medians(costs: list[ProcessCost], errand: Errand) -> dict[str, float]:
    wall_seconds = statistics.median(cost.wall_seconds for cost in costs)
    working_seconds = statistics.median(float(cost.told.get("seconds", cost.wall_seconds)) for cost in costs)
    return {
        "wall_seconds": round(wall_seconds, 3),
        "working_seconds": round(working_seconds, 3),
        "cpu_seconds": round(statistics.median(cost.cpu_seconds for cost in costs), 3),
        "peak_mib": round(statistics.median(cost.peak_bytes for cost in costs) / 2**20, 1),
        "mb_per_second": round(errand.size_bytes / 1e6 / wall_seconds, 1),
    }


def _local_source(errand: Errand, place: Place) -> Path:
    return place.local_sources / errand.work.bucket / "000000"


def _got(place: Place) -> Path:
    return place.folder / "got"


def markdown(report: dict[str, Any]) -> str:
    """Return the report for people."""
    machine, day = report["machine"], report["measured_at"][:10]
    measures = ("wall_seconds", "cpu_seconds", "peak_mib")
    titles = ("verb", "store", "MB", "s", "rclone, s", "CPU s", "rclone, CPU s", "MiB", "rclone, MiB", "working, s")
    lines = [
        f"# Put and get of one file by its size, measured {day}",
        "",
        f"Python {machine['python']}, {machine['cores']} shared cores, load before: {machine['load'][0]:.1f}.",
        f"The library's verbs beside `rclone copyto`, on the sink; medians of {report['turns']}, a process each.",
        "Seconds are from its start to its end; `working` is without the start of Python and the imports.",
        "Made by `python -m bench.verbs`.",
        "",
        f"| {' | '.join(titles)} |",
        f"|---|---|{'---:|' * 8}",
    ]
    for row in report["figures"]:
        figures = [row[name][measure] if name in row else "failed" for measure in measures for name in CONTENDERS]
        figures.append(row["ours"]["working_seconds"] if "ours" in row else "failed")
        cells = (row["verb"], row["kind"], f"{row['size_bytes'] / 1e6:,.0f}", *map(str, figures))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
