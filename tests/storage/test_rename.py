"""`transfer rename`, on every kind of store."""

from __future__ import annotations

import asyncio
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
from tests.faults.proxy import answer, delay, drop_reply
from tests.storage.conftest import Fronts

Transfer = Callable[..., Any]


def test_an_object_gets_the_name_of_the_url_or_keeps_its_own(bucket: Bucket, transfer: Transfer) -> None:
    for key in ("a.csv", "in/b.csv", "c.csv"):
        bucket.put(key, key.encode())
    done = transfer("rename", f"{bucket.url}a.csv", f"{bucket.url}new/name.csv")
    assert (done.returncode, done.stdout) == (0, "renamed 1 of 1 objects\n"), done.stderr
    assert transfer("rename", f"{bucket.url}in/b.csv", bucket.url).returncode == 0
    assert transfer("rename", f"{bucket.url}c.csv", f"{bucket.url}in2/").returncode == 0
    assert bucket.content() == {"new/name.csv": b"a.csv", "b.csv": b"in/b.csv", "in2/c.csv": b"c.csv"}


def test_a_folder_or_what_a_glob_takes_goes_into_a_folder(bucket: Bucket, transfer: Transfer) -> None:
    for key in ("d/a.csv", "d/e/b.csv", "d/e/c.txt", "d-old"):
        bucket.put(key, key.encode())
    refused = transfer("rename", f"{bucket.url}d", f"{bucket.url}z")
    assert (refused.returncode, "is a folder; add --recursive" in refused.stderr) == (2, True)
    assert transfer("rename", f"{bucket.url}d/", f"{bucket.url}z").returncode == 2
    assert transfer("rename", f"{bucket.url}d/**/*.txt", f"{bucket.url}texts").returncode == 0
    done = transfer("rename", f"{bucket.url}d", f"{bucket.url}z", "-r", "--json")
    assert done.returncode == 0, done.stderr
    rows = done.json.pop("rows")
    assert done.json["renamed"] == 2
    assert {(row["url"], row["destination"], row["outcome"]) for row in rows} == {
        (f"{bucket.url}d/a.csv", f"{bucket.url}z/a.csv", "renamed"),
        (f"{bucket.url}d/e/b.csv", f"{bucket.url}z/e/b.csv", "renamed"),
    }
    expected = {"z/a.csv": b"d/a.csv", "z/e/b.csv": b"d/e/b.csv", "texts/e/c.txt": b"d/e/c.txt", "d-old": b"d-old"}
    assert bucket.content() == expected
    assert transfer("ls", f"{bucket.url}d").returncode == 1


def test_include_exclude_and_dry_run(bucket: Bucket, transfer: Transfer) -> None:
    for key in ("d/a.csv", "d/b.csv", "d/c.txt"):
        bucket.put(key, b"x")
    picked = ("--include", "*.csv", "--exclude", "b*")
    dry = transfer("rename", f"{bucket.url}d", f"{bucket.url}z", "-r", "--dry-run", *picked)
    assert dry.stdout == "would rename 1 objects (1 B)\n"
    rows = transfer("rename", f"{bucket.url}d", f"{bucket.url}z", "-r", "--dry-run", *picked, "--json").json["rows"]
    assert [(row["destination"], row["outcome"]) for row in rows] == [(f"{bucket.url}z/a.csv", "planned")]
    assert set(bucket.content()) == {"d/a.csv", "d/b.csv", "d/c.txt"}
    assert transfer("rename", f"{bucket.url}d", f"{bucket.url}z", "-r", *picked).returncode == 0
    assert set(bucket.content()) == {"z/a.csv", "d/b.csv", "d/c.txt"}


def test_nothing_is_overwritten_unless_asked_and_one_costs_the_others_nothing(
    bucket: Bucket, transfer: Transfer
) -> None:
    for key, body in {"d/a": b"mine", "d/b": b"b", "z/a": b"theirs!"}.items():
        bucket.put(key, body)
    done = transfer("rename", f"{bucket.url}d/", f"{bucket.url}z/", "-r")
    assert done.returncode == 1
    assert f"{bucket.url}z/a exists with other content or metadata; {bucket.url}d/a was left as it is" in done.stderr
    assert done.stdout == "renamed 1 of 2 objects, 1 have their old name\n"
    assert bucket.content() == {"d/a": b"mine", "z/a": b"theirs!", "z/b": b"b"}
    assert transfer("rename", f"{bucket.url}d/", f"{bucket.url}z/", "-r", "--overwrite").returncode == 0
    assert bucket.content() == {"z/a": b"mine", "z/b": b"b"}


def test_equal_content_with_other_metadata_is_not_taken_for_the_copy(remote: Bucket, transfer: Transfer) -> None:
    remote.put("a", b"same", content_type="text/csv")
    remote.put("b", b"same", content_type="text/plain")
    assert transfer("rename", f"{remote.url}a", f"{remote.url}b").returncode == 1
    assert set(remote.content()) == {"a", "b"}


def test_what_makes_no_sense_is_refused_before_anything_happens(
    bucket: Bucket, new_bucket: Any, transfer: Transfer
) -> None:
    bucket.put("d/a", b"x")
    within = transfer("rename", f"{bucket.url}d/", f"{bucket.url}d/e/", "-r")
    assert (within.returncode, "which lies in it" in within.stderr) == (2, True)
    same = transfer("rename", f"{bucket.url}d/a", f"{bucket.url}d/")
    assert (same.returncode, "has this name already" in same.stderr) == (2, True)
    glob = transfer("rename", f"{bucket.url}d/a", f"{bucket.url}d/*")
    assert (glob.returncode, "holds a glob" in glob.stderr) == (2, True)
    missing = transfer("rename", f"{bucket.url}nothing", f"{bucket.url}new")
    assert (missing.returncode, f"there is nothing at {bucket.url}nothing" in missing.stderr) == (1, True)
    if not bucket.url.startswith("file"):
        elsewhere = transfer("rename", f"{bucket.url}d/a", f"{new_bucket('s3').url}a")
        assert (elsewhere.returncode, "a rename stays in one" in elsewhere.stderr) == (2, True)
    assert bucket.content() == {"d/a": b"x"}


def test_an_object_no_url_can_name_gets_a_better_name(new_bucket: Any, transfer: Transfer) -> None:
    for kind in ("s3", "gs", "az", "file"):
        bucket = new_bucket(kind)
        bucket.put("d/what?#\x1b[31m" if kind != "az" else "d/what?#", b"x")
        key = "what?#\x1b[31m" if kind != "az" else "what?#"
        done = transfer("rename", f"{bucket.url}d/", f"{bucket.url}d/plain", "--key", key)
        assert done.returncode == 0, done.stderr
        assert bucket.content() == {"d/plain": b"x"}


# Being stopped


@pytest.mark.parametrize("kind", ["s3", "az"])
def test_killed_between_copy_and_deletion_both_are_there_and_the_same_command_goes_on(
    kind: str, new_bucket: Any, fronts: Fronts, transfer: Transfer
) -> None:
    bucket = new_bucket(kind)
    for number in range(5):
        bucket.put(f"d/{number}", str(number).encode() * 1000)
    fronts.proxies[kind].inject(delay(60), method="DELETE")
    code = "import sys; sys.argv[0] = 'transfer'; from skyferry.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "rename", f"{bucket.url}d", f"{bucket.url}z", "-r"],
        env={**os.environ, "PYTHONPATH": f"{PROJECT / 'include'}:{PROJECT / 'plugins'}"},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while fronts.proxies[kind].count("DELETE") < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    finally:
        process.kill()
        fronts.proxies[kind].clear()
    expected = {f"z/{number}": str(number).encode() * 1000 for number in range(5)}
    assert bucket.content() == expected | {key.replace("z", "d"): body for key, body in expected.items()}
    done = transfer("rename", f"{bucket.url}d", f"{bucket.url}z", "-r", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["reason"] for row in done.json["rows"]} == {"an earlier attempt had copied it"}
    assert bucket.content() == expected
    assert fronts.proxies[kind].count("PUT") == 0


@pytest.mark.parametrize("kind", ["s3", "az"])
def test_a_lost_answer_to_the_copy_is_no_conflict(
    kind: str, new_bucket: Any, fronts: Fronts, transfer: Transfer
) -> None:
    bucket = new_bucket(kind)
    bucket.put("a", b"x" * 100)
    fronts.proxies[kind].inject(drop_reply(), method="PUT", times=1)
    done = transfer("rename", f"{bucket.url}a", f"{bucket.url}b")
    assert done.returncode == 0, done.stderr
    assert bucket.content() == {"b": b"x" * 100}


def test_an_object_that_cannot_be_deleted_is_there_twice_and_named(
    new_bucket: Any, fronts: Fronts, transfer: Transfer
) -> None:
    bucket = new_bucket("s3")
    bucket.put("a", b"x")
    denied = b"<Error><Code>AccessDenied</Code><Message/></Error>"
    fronts.proxies["s3"].inject(answer(403, body=denied), method="DELETE")
    done = transfer("rename", f"{bucket.url}a", f"{bucket.url}b")
    assert done.returncode == 1
    assert f"access denied deleting {bucket.url}a (AccessDenied); it needs s3:DeleteObject" in done.stderr
    assert bucket.content() == {"a": b"x", "b": b"x"}


def test_what_is_overwritten_meanwhile_keeps_its_name(remote: Bucket, fronts: Fronts) -> None:
    from skyferry.storage import Renamed, Storage
    from skyferry.storage.renaming import Rename, RenameOptions

    remote.put("a", b"old")

    async def rename() -> Renamed:
        async with Storage() as storage:
            info = (await storage.stat(f"{remote.url}a")).info
            assert info is not None
            if remote.url.startswith("az"):
                await asyncio.to_thread(lambda: remote.client.upload_blob("a", b"newer", overwrite=True))  # type: ignore[attr-defined]
            else:
                await asyncio.to_thread(remote.put, "a", b"newer")
            outcome = Renamed()
            store, _ = await storage._find(remote.url)
            await Rename(store, RenameOptions(), outcome).one(info, "b")
            return outcome

    outcome = asyncio.run(rename())
    assert (outcome.renamed, outcome.failed) == (0, 1)
    assert remote.content() == {"a": b"newer"}


def test_many_are_renamed_and_each_is_told(new_bucket: Any, transfer: Transfer) -> None:
    bucket = new_bucket("gs")
    for number in range(150):
        bucket.put(f"d/{number:04d}", b"x")
    done = transfer("rename", f"{bucket.url}d/", f"{bucket.url}e/", "-r", "--json")
    assert (done.returncode, done.json["objects"], len(done.json["rows"])) == (0, 150, 150)
    assert set(bucket.content()) == {f"e/{number:04d}" for number in range(150)}


def test_local_files_are_renamed_from_folder_to_folder(tmp_path: Path, transfer: Transfer) -> None:
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "deep" / "a").write_bytes(b"a")
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    done = transfer("rename", f"file://{tmp_path}/one/deep/a", f"file://{tmp_path}/linked/")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "real" / "a").read_bytes() == b"a"
    assert transfer("rename", f"file://{tmp_path}/real", f"file://{tmp_path}/two/three", "-r").returncode == 0
    assert (tmp_path / "two" / "three" / "a").read_bytes() == b"a"
    assert not (tmp_path / "real").exists()
