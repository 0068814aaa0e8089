"""The programs that are compared: how each is started for a piece of work, with settings that favour it.

Every contender verifies: rclone compares the checksum of each object after its transfer, as it does unless told
otherwise; ours proves every object; s5cmd and the stock operators rely on what the store checks on arrival.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.environment import AZURITE_ACCOUNT, AZURITE_KEY, azurite_connection_string

TOOLS = Path(__file__).parents[1] / ".venv-bench" / "bin"
"""Where `make bench` installs the rivals, in an environment of their own."""

BASE_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Objects of one size, from one kind of store to another."""

    source: str
    destination: str
    count: int
    size_bytes: int

    @property
    def bucket(self) -> str:
        """Name of the source's bucket or folder."""
        return f"source-{self.count}x{self.size_bytes}"

    @property
    def pair(self) -> str:
        """The pair in words."""
        return f"{_KINDS[self.source]} -> {_KINDS[self.destination]}"


_CURL_STREAMS = 8
_KINDS = {"s3": "S3", "az": "Azure", "gs": "GCS", "file": "local"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the work is done.

    Attributes:
        endpoints: Base URL by kind of store; Azure's ends in the account.
        source_endpoint: Of the S3 that is read.
        folder: Scratch folder of one run; holds nothing when the run begins.
        destination_prefix: Where in the bucket `destination` the copies go; holds nothing either.
        local_sources: Folder of the folders that are read.
    """

    endpoints: Mapping[str, str]
    source_endpoint: str
    folder: Path
    destination_prefix: str
    local_sources: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A program with its arguments and environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def ours(work: Work, place: Place) -> Start:
    """Return the start of one transfer by the library, without Airflow."""
    source = f"file://{place.local_sources / work.bucket}" if work.source == "file" else f"s3://{work.bucket}/objects/"
    case = {
        "conf": {"source": source, "destination": f"{work.destination}://destination/{place.destination_prefix}/"},
        "endpoints": {**place.endpoints, "s3-source": place.source_endpoint},
        "state": str(place.folder / "state"),
    }
    local_roots = {"SKYFERRY_LOCAL_ROOTS": f"{place.local_sources}"}
    arguments = (sys.executable, "-m", "bench.engine_case", json.dumps(case))
    return Start(arguments=arguments, environment=BASE_ENVIRONMENT | local_roots)


def rclone(work: Work, place: Place, *, transfers: int) -> Start:
    """Return the start of `rclone copy`, spared every request it can do without while still verifying."""
    source = str(place.local_sources / work.bucket) if work.source == "file" else f"source:{work.bucket}/objects"
    destination = f"{work.destination}:destination/{place.destination_prefix}"
    flags = ("--transfers", str(transfers), "--checkers", str(transfers), "--fast-list", "--use-server-modtime")
    return rclone_start(("copy", source, destination, *flags), place)


def rclone_start(arguments: tuple[str, ...], place: Place) -> Start:
    """Return the start of an rclone command whose remotes `source`, `s3`, `az` and `gs` are the place's stores."""
    s3 = {"TYPE": "s3", "PROVIDER": "Other", "REGION": "us-east-1", "ACCESS_KEY_ID": "t", "SECRET_ACCESS_KEY": "t"}
    remotes: dict[str, dict[str, str]] = {
        # A remote of its own, or rclone would let the store copy for it.
        "SOURCE": {**s3, "ENDPOINT": place.source_endpoint},
        "S3": {**s3, "ENDPOINT": place.endpoints["s3"]},
        "AZ": {
            "TYPE": "azureblob",
            "ACCOUNT": AZURITE_ACCOUNT,
            "KEY": AZURITE_KEY,
            "ENDPOINT": place.endpoints["az"],
        },
        "GS": {
            "TYPE": "googlecloudstorage",
            "ANONYMOUS": "true",
            "ENDPOINT": f"{place.endpoints['gs']}/storage/v1/",
            "BUCKET_POLICY_ONLY": "true",
        },
    }
    configuration = {
        f"RCLONE_CONFIG_{remote}_{name}": value for remote, values in remotes.items() for name, value in values.items()
    }
    no_checks = ("--s3-no-check-bucket", "--gcs-no-check-bucket", "--azureblob-no-check-container")
    return Start(
        arguments=(str(tool("rclone")), *arguments, *no_checks, "--retries", "1", "--stats", "0"),
        environment=BASE_ENVIRONMENT | configuration | {"RCLONE_CONFIG": os.devnull},
    )


def s5cmd(work: Work, place: Place) -> Start:
    """Return the start of `s5cmd cp` of a local folder."""
    credentials = {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_REGION": "us-east-1"}
    return Start(
        arguments=(
            str(tool("s5cmd")),
            *("--endpoint-url", place.endpoints["s3"], "--numworkers", "64"),
            *("cp", f"{place.local_sources / work.bucket}/", f"s3://destination/{place.destination_prefix}/"),
        ),
        environment=BASE_ENVIRONMENT | credentials,
    )


def stock(work: Work, place: Place) -> Start:
    """Return the start of the provider's operator for the pair."""
    case = {
        "source": work.source,
        "destination": work.destination,
        "bucket": work.bucket,
        "prefix": place.destination_prefix,
        "folder": str(place.local_sources / work.bucket),
    }
    s3_endpoint = place.source_endpoint if work.source == "s3" else place.endpoints["s3"]
    connections: dict[str, dict[str, object]] = {
        "aws_default": {
            "conn_type": "aws",
            "login": "testing",
            "password": "testing",
            "extra": {"endpoint_url": s3_endpoint, "region_name": "us-east-1"},
        },
        "wasb_default": {
            "conn_type": "wasb",
            "login": AZURITE_ACCOUNT,
            "extra": {"connection_string": azurite_connection_string(place.endpoints["az"])},
        },
        "google_cloud_default": {
            "conn_type": "google_cloud_platform",
            "extra": {"is_anonymous": True, "project": "bench"},
        },
    }
    environment = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
    environment |= {"STORAGE_EMULATOR_HOST": place.endpoints["gs"], "AIRFLOW_HOME": str(place.folder / "airflow")}
    return Start(
        arguments=(sys.executable, "-m", "bench.stock_case", json.dumps(case)),
        environment=BASE_ENVIRONMENT | environment,
    )


def plain_curl(work: Work, place: Place) -> Start:
    """Return the start of a copy of one object by parallel `curl` alone, which shows what the ground can do."""
    streams, step = _CURL_STREAMS, -(-work.size_bytes // _CURL_STREAMS)
    file = place.local_sources / work.bucket / "000000"
    read = (
        f"dd if={shlex.quote(str(file))} bs={step} skip=$i count=1 iflag=fullblock status=none"
        if work.source == "file"
        else f"curl -sf -r $((i*{step}))-$((i*{step}+{step}-1)) {place.source_endpoint}/{work.bucket}/objects/000000"
    )
    write = f"curl -sf -H Expect: -T - {place.endpoints['s3']}/destination/{place.destination_prefix}/$i"
    script = f"set -eo pipefail; for i in $(seq 0 {streams - 1}); do {{ {read} | {write}; }} & done; wait"
    return Start(arguments=("bash", "-c", script), environment=BASE_ENVIRONMENT)


CONTENDERS: Mapping[str, Callable[[Work, Place], Start]] = {
    "ours": ours,
    "rclone, 64 transfers": lambda work, place: rclone(work, place, transfers=64),
    "rclone, 256 transfers": lambda work, place: rclone(work, place, transfers=256),
    "s5cmd": s5cmd,
    "stock operator": stock,
    "plain curl": plain_curl,
}
"""Every contender by the name it has in the report."""


def tool(name: str) -> Path:
    """Return the program of a rival itself, not the script in Python that its wheel puts before it.

    Raises:
        FileNotFoundError: It is not installed; `make bench` does that.
    """
    places = [*TOOLS.parent.glob(f"lib/python*/site-packages/{name}/bin"), TOOLS]
    found = shutil.which(name, path=os.pathsep.join(str(place) for place in places))
    if found is None:
        raise FileNotFoundError(f"there is no {name} in {TOOLS.parent}; make bench installs it")
    return Path(found)
