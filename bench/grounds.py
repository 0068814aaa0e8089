"""Where contenders compete: servers started for the time of a benchmark, filled, and emptied before every run.

Four grounds: the `sink`; the `slow sink`, which is the sink behind a delay line; the `emulators`: `rclone serve s3` as
the source, moto, Azurite and fake-gcs-server; and the `slow emulators`, each behind a delay line of its own.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from bench.contenders import Place, Work, tool
from stack.components import component
from stack.environment import AZURITE_ACCOUNT, azurite_connection_string
from stack.health import free_port
from stack.running import running

_BUCKET_PREFIX = "objects/"
_DIRECTORY_CACHE_SECONDS = 1
_PIECE_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Stores ready for one kind of work.

    Attributes:
        sink_url: Where the sink counts requests; empty where there is no sink.
    """

    place: Place
    sink_url: str = ""


class Grounds:
    """Starts what is asked for, once, and stops everything at the end of the `with` block.

    Args:
        folder: For data and logs.
        delay_seconds: How long the slow grounds hold each request back.
    """

    def __init__(self, folder: Path, *, delay_seconds: float) -> None:
        self._folder = folder
        self._delay_seconds = delay_seconds
        self._stack = ExitStack()
        self._sink_port = 0
        self._emulators: dict[str, int] = {}
        self._runs = 0

    def __enter__(self) -> Self:
        self._sink_port = self._start("bench.sink")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sink(self) -> Ground:
        """Return the sink without any delay."""
        return self._on_sink(self._sink_port)

    def slow_sink(self) -> Ground:
        """Return the sink behind a delay line."""
        return self._on_sink(self._start("bench.delay_line", str(self._sink_port), str(self._delay_seconds)))

    def _on_sink(self, port: int) -> Ground:
        url = f"http://127.0.0.1:{port}"
        place = Place(
            endpoints={"s3": url, "az": f"{url}/{AZURITE_ACCOUNT}", "gs": url},
            source_endpoint=url,
            folder=self._folder,
            destination_prefix="",
            local_sources=self._folder / "local",
        )
        return Ground(place=place, sink_url=f"http://127.0.0.1:{self._sink_port}")

    def emulators(self, work: Work) -> Ground:
        """Return emulators, with the objects of a piece of work at their source."""
        return self._with_emulators(self._start_emulators(work))

    def slow_emulators(self, work: Work) -> Ground:
        """Return emulators behind delay lines, with the objects of a piece of work at their source."""
        return self._with_emulators(
            {
                name: self._start("bench.delay_line", str(port), str(self._delay_seconds))
                for name, port in self._start_emulators(work).items()
            }
        )

    def _start_emulators(self, work: Work) -> dict[str, int]:
        """Return the emulators' ports by name; `source` is the S3 that is read. Started once for all grounds."""
        served = self._folder / "served"
        fill_folder(served / work.bucket / _BUCKET_PREFIX, work)
        if self._emulators:
            time.sleep(2 * _DIRECTORY_CACHE_SECONDS)
        else:
            source_port = free_port()
            command = (
                "serve",
                "s3",
                str(served),
                "--addr",
                f"127.0.0.1:{source_port}",
                "--dir-cache-time",
                f"{_DIRECTORY_CACHE_SECONDS}s",
            )
            self._stack.enter_context(_process([str(tool("rclone")), *command]))
            ports = {
                name: self._stack.enter_context(running(component(name), self._folder / name)).port
                for name in ("azurite", "fake-gcs-server", "moto")
            }
            make_containers(ports)
            self._emulators = {**ports, "source": source_port}
        return self._emulators

    def _with_emulators(self, ports: Mapping[str, int]) -> Ground:
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        place = Place(
            endpoints={"s3": urls["moto"], "az": f"{urls['azurite']}/{AZURITE_ACCOUNT}", "gs": urls["fake-gcs-server"]},
            source_endpoint=urls["source"],
            folder=self._folder,
            destination_prefix="",
            local_sources=self._folder / "local",
        )
        return Ground(place=place)

    def fill(self, ground: Ground, work: Work) -> None:
        """Put the objects of a piece of work where they are read."""
        if work.source == "file":
            fill_folder(ground.place.local_sources / work.bucket, work)
        elif ground.sink_url:
            wanted = {"prefix": _BUCKET_PREFIX, "count": work.count, "size_bytes": work.size_bytes}
            ask_sink(ground, "fill", bucket=work.bucket, **wanted)

    def prepare_run(self, ground: Ground) -> Ground:
        """Return the ground with an empty scratch folder and a prefix nobody wrote to; the sink is emptied as well."""
        self._runs += 1
        folder = self._folder / f"run-{self._runs}"
        shutil.rmtree(self._folder / f"run-{self._runs - 1}", ignore_errors=True)
        folder.mkdir()
        if ground.sink_url:
            ask_sink(ground, "empty", bucket="destination")
        place = replace(ground.place, folder=folder, destination_prefix=folder.name)
        return replace(ground, place=place)

    def _start(self, module: str, *arguments: str) -> int:
        """Start a server of ours, which prints its port."""
        process = self._stack.enter_context(_process([sys.executable, "-m", module, *arguments]))
        assert process.stdout is not None
        return int(process.stdout.readline())


def ask_sink(ground: Ground, call: str, **arguments: Any) -> dict[str, Any]:
    """Make one of the sink's own calls and return its answer: requests by method, CPU seconds, objects in a bucket."""
    request = urllib.request.Request(f"{ground.sink_url}/_sink/{call}", json.dumps(arguments).encode(), method="POST")  # noqa: S310
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def fill_folder(folder: Path, work: Work) -> None:
    """Write the objects of a piece of work as files, once."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    numbers = random.Random(work.count)  # noqa: S311 - content to copy, not a secret
    for number in range(work.count):
        with (folder / f"{number:06d}").open("wb") as file:
            for start in range(0, work.size_bytes, _PIECE_BYTES):
                file.write(numbers.randbytes(min(_PIECE_BYTES, work.size_bytes - start)))


def make_containers(ports: Mapping[str, int]) -> None:
    """Create the destination's bucket in every emulator."""
    import boto3
    from azure.storage.blob import BlobServiceClient

    s3 = {"region_name": "us-east-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{ports['moto']}", **s3).create_bucket(Bucket="destination")
    azurite = azurite_connection_string(f"http://127.0.0.1:{ports['azurite']}/{AZURITE_ACCOUNT}")
    with BlobServiceClient.from_connection_string(azurite) as client:
        client.create_container("destination")
    body = json.dumps({"name": "destination"}).encode()
    address = f"http://127.0.0.1:{ports['fake-gcs-server']}/storage/v1/b?project=bench"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()


@contextmanager
def _process(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a server as long as the block lasts."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)
