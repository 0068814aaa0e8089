"""`transfer put`, `get`, `rm`, `mb`, `rb` and `mkdir`, on every kind of store."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_home import PROJECT
from tests.e2e.buckets import Bucket
from tests.faults.proxy import delay
from tests.storage.conftest import Fronts

Transfer = Callable[..., Any]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of files to put."""
    folder = tmp_path / "here"
    for name, body in {"a.csv": b"a", "2026/b.csv": b"bb", "2026/c.txt": b"ccc", "odd [1]?#.csv": b"odd"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def test_a_file_is_put_under_the_name_of_the_url_or_its_own(bucket: Bucket, here: Path, transfer: Transfer) -> None:
    assert transfer("put", here / "a.csv", f"{bucket.url}new/name.csv").returncode == 0
    assert transfer("put", here / "a.csv", f"{bucket.url}in/").returncode == 0
    assert transfer("put", here / "a.csv", bucket.url).returncode == 0
    assert transfer("put", here / "odd [1]?#.csv", bucket.url, "--key", "x?y#z").returncode == 0
    expected = {"new/name.csv": b"a", "in/a.csv": b"a", "a.csv": b"a", "x?y#z": b"odd"}
    assert bucket.content() == expected


def test_a_folder_or_a_glob_is_put_into_a_folder(bucket: Bucket, here: Path, transfer: Transfer) -> None:
    refused = transfer("put", here, f"{bucket.url}all")
    assert refused.returncode == 2
    assert "add --recursive" in refused.stderr
    done = transfer("put", here, f"{bucket.url}all", "--recursive", "--json").json
    assert (done["objects"], done["copied"], done["bytes_copied"], done["failed"]) == (4, 4, 9, 0)
    assert sum(done["verified_by"].values()) == 4
    assert transfer("put", f"{here}/**/*.txt", f"{bucket.url}texts/").returncode == 0
    assert transfer("put", here, f"{bucket.url}csv", "-r", "--include", "*.csv", "--exclude", "odd*").returncode == 0
    names = {"a.csv", "2026/b.csv", "2026/c.txt", "odd [1]?#.csv"}
    assert set(bucket.content()) == {f"all/{name}" for name in names} | {"texts/2026/c.txt", "csv/a.csv"}


def test_nothing_is_overwritten_unless_asked(bucket: Bucket, here: Path, transfer: Transfer) -> None:
    bucket.put("a.csv", b"other")
    done = transfer("put", here / "a.csv", f"{bucket.url}a.csv")
    assert done.returncode == 1
    assert f"{bucket.url}a.csv exists with other content" in done.stderr
    assert bucket.content() == {"a.csv": b"other"}
    assert transfer("put", here / "a.csv", f"{bucket.url}a.csv", "--on-conflict", "skip").returncode == 0
    assert bucket.content() == {"a.csv": b"other"}
    assert (
        transfer("put", here / "a.csv", f"{bucket.url}a.csv", "--on-conflict", "replace_if_different").returncode == 0
    )
    assert bucket.content() == {"a.csv": b"a"}
    again = transfer("put", here / "a.csv", f"{bucket.url}a.csv", "--json")
    assert (again.returncode, again.json["copied"], again.json["skipped"]) == (0, 0, 1)


def test_a_dry_run_writes_nothing(bucket: Bucket, here: Path, transfer: Transfer) -> None:
    done = transfer("put", here, f"{bucket.url}all/", "-r", "--dry-run", "--json").json
    assert (done["is_dry_run"], done["objects"], done["copied"]) == (True, 4, 0)
    assert bucket.content() == {}


def test_standard_input_is_put(bucket: Bucket, transfer: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"x" * 3_000_000)

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Stdin())
    assert transfer("put", "-", f"{bucket.url}piped.bin").returncode == 0
    assert bucket.content() == {"piped.bin": b"x" * 3_000_000}
    assert transfer("put", "-", bucket.url).returncode == 2
    assert transfer("get", f"{bucket.url}piped.bin", "-").content == b"x" * 3_000_000


def test_large_files_go_in_parts_and_come_back(bucket: Bucket, tmp_path: Path, transfer: Transfer) -> None:
    body = os.urandom(1_000_000) * 21
    (tmp_path / "large.bin").write_bytes(body)
    assert transfer("put", tmp_path / "large.bin", bucket.url).returncode == 0
    assert transfer("get", f"{bucket.url}large.bin", tmp_path / "back.bin").returncode == 0
    assert (tmp_path / "back.bin").read_bytes() == body


def test_get_an_object_a_folder_and_a_glob(bucket: Bucket, tmp_path: Path, transfer: Transfer) -> None:
    for key, body in {"top.txt": b"top", "d/may.csv": b"may", "d/e/june.csv": b"june"}.items():
        bucket.put(key, body)
    there = tmp_path / "there"
    assert transfer("get", f"{bucket.url}top.txt", f"{there}/").returncode == 0
    assert transfer("get", f"{bucket.url}top.txt", there / "renamed.txt").returncode == 0
    assert transfer("get", f"{bucket.url}d/", there).returncode == 2
    assert transfer("get", f"{bucket.url}d", there / "d", "-r").returncode == 0
    assert transfer("get", f"{bucket.url}**/j*.csv", there / "found").returncode == 0
    found = {str(file.relative_to(there)): file.read_bytes() for file in there.rglob("*") if file.is_file()}
    assert found == {
        "top.txt": b"top",
        "renamed.txt": b"top",
        "d/may.csv": b"may",
        "d/e/june.csv": b"june",
        "found/d/e/june.csv": b"june",
    }
    missing = transfer("get", f"{bucket.url}nothing", there / "x")
    assert missing.returncode == 1
    assert f"there is nothing at {bucket.url}nothing" in missing.stderr


def test_a_bucket_that_is_missing_says_how_to_create_it(new_bucket: Any, here: Path, transfer: Transfer) -> None:
    for kind in ("s3", "az", "gs"):
        missing = new_bucket(kind, create=False)
        done = transfer("put", here / "a.csv", missing.url)
        assert done.returncode == 2, done.stderr
        assert "transfer mb" in done.stderr


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_a_put_that_is_stopped_leaves_nothing_at_the_key(
    with_signal: signal.Signals, new_bucket: Any, tmp_path: Path, fronts: Fronts
) -> None:
    bucket = new_bucket("s3")
    (tmp_path / "large.bin").write_bytes(b"x" * 30_000_000)
    fronts.proxies["s3"].inject(delay(30), method="PUT", target_contains="partNumber=2")
    code = "import sys; sys.argv[0] = 'transfer'; from skyferry.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "put", str(tmp_path / "large.bin"), f"{bucket.url}key"],
        env={**os.environ, "PYTHONPATH": f"{PROJECT / 'include'}:{PROJECT / 'plugins'}"},
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 120
        while not fronts.proxies["s3"].count("PUT", "partNumber=2") and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(with_signal)
        process.communicate(timeout=60)
    finally:
        process.kill()
        fronts.proxies["s3"].clear()
    assert process.returncode == (130 if with_signal is signal.SIGINT else -signal.SIGKILL)
    assert bucket.content() == {}
    if with_signal is signal.SIGINT:
        assert "Uploads" not in bucket.client.list_multipart_uploads(Bucket=bucket.name)


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_programs_are_told_of_every_object(kind: str, new_bucket: Any, tmp_path: Path, transfer: Transfer) -> None:
    bucket = new_bucket(kind)
    here = tmp_path / "many"
    here.mkdir()
    for number in range(120):
        (here / f"{number:03d}").write_bytes(b"mine!")
    for number in range(110):
        bucket.put(f"{number:03d}", b"other")
    bucket.put("110", b"mine!")
    planned = transfer("put", here, bucket.url, "-r", "--json", "--dry-run").json
    assert sorted(planned, key=list(planned).index)[:2] == ["is_dry_run", "rows"]
    assert sum(row["outcome"] == "planned" for row in planned["rows"]) == 9
    done = transfer("put", here, bucket.url, "-r", "--json")
    assert done.returncode == 1
    rows = {row["destination"].removeprefix(bucket.url): row for row in done.json["rows"]}
    assert len(rows) == len(done.json["rows"]) == done.json["objects"] == 120
    assert [row["outcome"] for _, row in sorted(rows.items())] == ["refused"] * 110 + ["skipped"] + ["copied"] * 9
    assert all("exists with other content" in rows[f"{number:03d}"]["reason"] for number in range(110))
    assert rows["119"]["url"] == f"file://{here}/119"
    assert rows["119"]["verified_by"]
    got = transfer("get", bucket.url, tmp_path / "back", "-r", "--json").json
    assert {(row["outcome"], row["size_bytes"]) for row in got["rows"]} == {("copied", 5)}
    assert [row["outcome"] for row in transfer("rm", bucket.url, "-r", "--dry-run", "--json").json["rows"]] == [
        "planned"
    ] * 120
    removed = transfer("rm", bucket.url, "-r", "--yes", "--json").json
    assert {row["url"] for row in removed["rows"]} == {f"{bucket.url}{number:03d}" for number in range(120)}
    assert (removed["removed"], {row["outcome"] for row in removed["rows"]}) == (120, {"removed"})


# Removing


def test_rm_takes_one_object_a_glob_or_a_folder(bucket: Bucket, transfer: Transfer) -> None:
    for key in ("a.csv", "b.csv", "d/c.csv", "d/e/f.csv", "d-old"):
        bucket.put(key, b"x")
    assert transfer("rm", f"{bucket.url}a.csv").stdout == "removed 1 of 1 objects\n"
    assert transfer("rm", f"{bucket.url}d/").returncode == 2
    folder = transfer("rm", f"{bucket.url}d")
    assert (folder.returncode, "is a folder" in folder.stderr, "add --recursive" in folder.stderr) == (2, True, True)
    dry = transfer("rm", f"{bucket.url}d/", "-r", "--dry-run")
    assert "would remove 2 objects (2 B)" in dry.stdout
    assert len(bucket.content()) == 4
    done = transfer("rm", f"{bucket.url}d", "-r", "--json").json
    assert (done["objects"], done["removed"], done["failed"]) == (2, 2, 0)
    assert transfer("rm", f"{bucket.url}*.csv").returncode == 0
    assert set(bucket.content()) == {"d-old"}
    assert transfer("rm", f"{bucket.url}a.csv").returncode == 1


def test_rm_of_many_on_s3_takes_one_request(new_bucket: Any, transfer: Transfer, fronts: Fronts) -> None:
    bucket = new_bucket("s3")
    keys = [f"k/{number:04d} <&>\x01" if number % 100 == 0 else f"k/{number:04d} <&> \t\"'" for number in range(300)]
    for key in keys:
        bucket.put(key, b"x")
    fronts.proxies["s3"].clear()
    assert transfer("rm", f"{bucket.url}k/", "-r", "-y").stdout == "removed 300 of 300 objects\n"
    assert bucket.content() == {}
    assert fronts.proxies["s3"].count("POST", "delete") == 1
    assert fronts.proxies["s3"].count("DELETE") == 3  # what XML cannot hold


def test_rm_leaves_an_object_that_was_replaced_since_it_was_counted(remote: Bucket, fronts: Fronts) -> None:
    import asyncio

    from skyferry.storage import Storage

    for key in ("k/kept", "k/gone"):
        remote.put(key, b"old")

    async def remove() -> Any:
        async with Storage() as storage, storage.removal(f"{remote.url}k/") as removal:
            if remote.url.startswith("az"):
                await asyncio.to_thread(lambda: remote.client.upload_blob("k/kept", b"newer", overwrite=True))  # type: ignore[attr-defined]
            else:
                await asyncio.to_thread(remote.put, "k/kept", b"newer")
            await removal.remove_all(max_in_flight=4)
            return removal.outcome

    outcome = asyncio.run(remove())
    assert (outcome.removed, outcome.failed) == (1, 1)
    assert f"{remote.url}k/kept" in outcome.problems[0]
    assert remote.content() == {"k/kept": b"newer"}


# Buckets and folders


def test_mb_and_rb(new_bucket: Any, transfer: Transfer) -> None:
    for kind in ("s3", "az", "gs", "file"):
        bucket = new_bucket(kind, create=False)
        assert transfer("mb", bucket.url).returncode == 0
        assert transfer("mb", bucket.url).returncode == 0
        assert bucket.exists()
        bucket.put("d/a", b"x")
        refused = transfer("rb", bucket.url)
        assert refused.returncode == 2, kind
        assert f"{bucket.url} is not empty" in refused.stderr
        assert bucket.content() == {"d/a": b"x"}
        assert transfer("rb", bucket.url, "--force").returncode == 0
        assert not bucket.exists()
        assert transfer("rb", bucket.url).returncode == 0
        assert transfer("rb", f"{bucket.url}folder/").returncode in (0, 2)


def test_mkdir_makes_a_folder_or_the_consoles_marker(new_bucket: Any, transfer: Transfer) -> None:
    for kind in ("s3", "az", "gs", "file"):
        bucket = new_bucket(kind)
        done = transfer("mkdir", f"{bucket.url}incoming/2026")
        assert done.returncode == 0, done.stderr
        assert transfer("mkdir", f"{bucket.url}incoming/2026/").returncode == 0
        expected = {} if kind == "file" else {"incoming/2026/": b""}
        assert bucket.content() == expected
        assert transfer("ls", f"{bucket.url}incoming/").stdout.endswith("2026/\n")
