"""Messages a second of one and of two consumers, each a process of its own, and their memory while they work.

Queue and objects are the sink's: moto answers no more than a hundred requests a second, and fewer the more messages
wait. The objects are copied to a local folder, where each is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.event_stack import ACCOUNT, REGION, aws_client
from bench.grounds import Grounds, ask_sink

_BODY_BYTES = 1024
_SAMPLE_SECONDS = 0.5
_BATCH = 10
CONN_ID = "aws_default"


def throughputs(folder: Path, *, messages: int) -> list[dict[str, Any]]:
    """Return the figures of one and of two consumers, each with a queue and objects of its own."""
    with ExitStack() as stack:
        ground = stack.enter_context(Grounds(folder, delay_seconds=0)).sink()
        environment = _environment(folder, ground.sink_url)
        rows = []
        for slots in (1, 2):
            bucket = f"bench-{slots}"
            ask_sink(ground, "fill", bucket=bucket, prefix="in/", count=messages, size_bytes=_BODY_BYTES)
            queue_url = f"{ground.sink_url}/{ACCOUNT}/{bucket}"
            _send(aws_client("sqs", ground.sink_url), queue_url, messages)
            rows.append(_consume(folder / bucket, environment, queue_url, messages=messages, slots=slots))
        return rows


def _environment(folder: Path, sink_url: str) -> dict[str, str]:
    """Return the environment of a consumer, with a connection to the sink."""
    plugins = Path(__file__).parents[1] / "plugins"
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": sink_url, "region_name": REGION},
    }
    return {
        **os.environ,
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "PYTHONPATH": f"{plugins}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }


def _send(sqs: Any, queue_url: str, messages: int) -> None:
    """Fill a queue with a message about each object of the bucket of its name, as S3 would send them."""
    bucket = queue_url.rpartition("/")[2]
    for start in range(0, messages, _BATCH):
        entries = [
            {"Id": str(number), "MessageBody": _event(bucket, number)}
            for number in range(start, min(start + _BATCH, messages))
        ]
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
        assert not answer.get("Failed"), answer


def _event(bucket: str, number: int) -> str:
    key = {"key": f"in/{number:06d}", "size": _BODY_BYTES, "sequencer": f"{number:016X}"}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-21T00:00:00.000Z",
        "s3": {"bucket": {"name": bucket}, "object": key},
    }
    return json.dumps({"Records": [record]})


def _consume(
    folder: Path, environment: Mapping[str, str], queue_url: str, *, messages: int, slots: int
) -> dict[str, Any]:
    folder.mkdir()
    request = {
        "id": "bench",
        "source": f"s3://{folder.name}/in/",
        "destination": f"file://{folder}/out",
        "create_destination": True,
    }
    arguments = [sys.executable, "-m", "bench.consume_case", json.dumps(request), queue_url, str(folder / "state")]
    load_before = os.getloadavg()[0]
    processes = [
        subprocess.Popen([*arguments, str(slot)], env=environment, stdout=subprocess.PIPE, text=True)
        for slot in range(slots)
    ]
    samples = _resident_bytes_until_end(processes[0])
    results = []
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a consumer ended with {process.returncode}")
        results.append(json.loads(output.splitlines()[-1]))
    arrived = sum(1 for path in (folder / "out").rglob("*") if path.is_file())
    assert (sum(result["objects_copied"] for result in results), arrived) == (messages, messages)
    # Consumers wait a while for more before they end, so the last receipt is the end.
    seconds = _last_commit(folder / "state") - min(result["started_at"] for result in results)
    return {
        "slots": slots,
        "messages": messages,
        "load_before": load_before,
        "seconds": round(seconds, 2),
        "messages_per_second": round(messages / seconds, 1),
        "consumers": results,
        "memory": _memory(samples),
    }


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
