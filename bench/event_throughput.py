"""Messages a second of one and of two consumers, each a process of its own, and their memory while they work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.event_stack import aws_client, tell_queue

_BODY_BYTES = 1024
_SAMPLE_SECONDS = 0.5


def throughput(
    folder: Path, environment: Mapping[str, str], moto_url: str, *, messages: int, slots: int
) -> dict[str, Any]:
    """Fill a queue by putting objects into a bucket that tells it, then consume it."""
    name = f"bench-{slots}-slots"
    _fill(moto_url, name, messages)
    folder = folder / name
    folder.mkdir()
    request = {
        "id": "bench",
        "source": f"s3://{name}/in/",
        "destination": f"file://{folder}/out",
        "create_destination": True,
    }
    queue_url = f"{moto_url}/123456789012/{name}"
    arguments = [sys.executable, "-m", "bench.consume_case", json.dumps(request), queue_url, str(folder / "state")]
    processes = [
        subprocess.Popen([*arguments, str(slot)], env=environment, stdout=subprocess.PIPE, text=True)
        for slot in range(slots)
    ]
    samples = [_resident_bytes_until_end(process) for process in processes[:1]]
    results = []
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a consumer ended with {process.returncode}")
        results.append(json.loads(output.splitlines()[-1]))
    copied = sum(result["objects_copied"] for result in results)
    arrived = sum(1 for path in (folder / "out").rglob("*") if path.is_file())
    assert (copied, arrived) == (messages, messages), (copied, arrived)
    # Consumers wait a while for more before they end, so the last receipt is the end.
    seconds = _last_commit(folder / "state") - min(result["started_at"] for result in results)
    return {
        "slots": slots,
        "messages": messages,
        "seconds": round(seconds, 2),
        "messages_per_second": round(messages / seconds, 1),
        "consumers": results,
        "memory": _memory(samples[0]),
    }


def _fill(moto_url: str, name: str, messages: int) -> None:
    s3, sqs = aws_client("s3", moto_url), aws_client("sqs", moto_url)
    s3.create_bucket(Bucket=name)
    sqs.create_queue(QueueName=name)
    tell_queue(s3, name, name, prefix="in/")

    def put(number: int) -> None:
        s3.put_object(
            Bucket=name, Key=f"in/{number // 1000:03d}/{number:06d}", Body=number.to_bytes(8) * (_BODY_BYTES // 8)
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(messages)))


def _last_commit(state: Path) -> float:
    rows = (line for path in state.glob("**/receipts/**/*.ndjson") for line in path.read_text("utf-8").splitlines())
    return max(datetime.fromisoformat(json.loads(row)["finished_at"]).timestamp() for row in rows)


def _resident_bytes_until_end(process: subprocess.Popen[str]) -> list[int]:
    """Return the resident memory of a process, every half second until it ends."""
    samples = []
    while process.poll() is None:
        try:
            fields = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            break
        samples.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE"))
        time.sleep(_SAMPLE_SECONDS)
    return [sample for sample in samples if sample]


def _memory(samples: list[int]) -> dict[str, Any]:
    """Return the highest memory in each tenth of the time, which shows whether it grows with the messages consumed."""
    tenth = max(len(samples) // 10, 1)
    tenths = [max(samples[start : start + tenth]) for start in range(0, len(samples), tenth)]
    return {"peak_bytes": max(samples), "peak_bytes_by_tenth": tenths[:10]}
