"""`transfer ls`, `stat`, `find`, `du` and `cat`, on every kind of store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skyferry.keys import refusal
from tests.airflow_home import PROJECT
from tests.declared_entry_points import declared_path
from tests.e2e.buckets import Bucket
from tests.faults.proxy import answer
from tests.storage.conftest import Fronts

Transfer = Callable[..., Any]

FILES = {
    "top.txt": b"top",
    "orders/may.csv": b"order,amount\n",
    "orders/2026/june.csv": b"x" * 2000,
    "orders-old/a": b"a",
}


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for key, body in FILES.items():
        bucket.put(key, body)
    return bucket


def names(done: Any) -> list[str]:
    return [entry["name"] for entry in done.json["entries"]]


def test_ls_shows_one_level_with_folders(filled: Bucket, transfer: Transfer) -> None:
    done = transfer("ls", filled.url)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["orders-old/", "orders/", "top.txt"]
    assert done.stderr == "1 objects (3 B), 2 folders\n"


def test_ls_of_a_name_without_a_slash_is_the_folder_of_exactly_that_name(filled: Bucket, transfer: Transfer) -> None:
    assert names(transfer("ls", f"{filled.url}orders", "--json")) == ["2026/", "may.csv"]
    assert names(transfer("ls", f"{filled.url}orders/may.csv", "--json")) == ["may.csv"]


def test_ls_recursive_and_globs(filled: Bucket, transfer: Transfer) -> None:
    assert names(transfer("ls", filled.url, "-r", "--json")) == sorted(FILES)
    assert names(transfer("ls", f"{filled.url}orders*", "--json")) == ["orders-old/", "orders/"]
    assert names(transfer("find", f"{filled.url}**/*.csv", "--json")) == ["orders/2026/june.csv", "orders/may.csv"]


def test_ls_of_a_kind_alone_lists_the_buckets(
    remote: Bucket, new_bucket: Callable[..., Bucket], transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_bridge import listed_buckets

    monkeypatch.setattr(listed_buckets, "_PAGE_BUCKETS", 1)
    kind = remote.url.partition("/")[0]
    other = new_bucket(kind.removesuffix(":"))
    done = transfer("ls", f"{kind}//")
    assert done.returncode == 0, done.stderr
    found = [line.split()[-1] for line in done.stdout.splitlines()]
    assert {bucket.url.removeprefix(f"{kind}//") for bucket in (remote, other)} <= set(found)
    assert len(found) == len(set(found))
    assert done.stderr == f"{len(found)} buckets\n"
    entries = transfer("ls", f"{kind}//", "--json").json["entries"]
    assert {(remote.url, True, None), (other.url, True, None)} <= {
        (entry["url"], entry["is_folder"], entry["size_bytes"]) for entry in entries
    }


def test_buckets_that_must_not_be_listed_are_named_with_the_right_it_takes(
    remote: Bucket, transfer: Transfer, fronts: Fronts
) -> None:
    kind = remote.url.partition("/")[0]
    fronts.proxies[kind.removesuffix(":")].inject(answer(403))
    done = transfer("ls", f"{kind}//")
    assert (done.returncode, done.stdout) == (2, "")
    needs = {"s3:": "s3:ListAllMyBuckets", "az:": "account SAS", "gs:": "storage.buckets.list"}
    assert f"listing the {'containers' if kind == 'az:' else 'buckets'} of {kind}//" in done.stderr
    assert needs[kind] in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_connection_that_is_missing_lists_no_buckets(transfer: Transfer) -> None:
    for kind in ("s3", "az", "gs"):
        done = transfer("ls", f"{kind}://", "--conn", "nowhere")
        assert (done.returncode, done.stdout) == (2, "")
        assert 'there is no Airflow connection "nowhere"' in done.stderr


def test_ls_tells_sizes_exactly_to_programs(filled: Bucket, transfer: Transfer) -> None:
    by_name = {entry["name"]: entry for entry in transfer("ls", f"{filled.url}orders/", "--json").json["entries"]}
    assert by_name["may.csv"]["size_bytes"] == 13
    assert by_name["may.csv"]["url"] == f"{filled.url}orders/may.csv"
    assert (by_name["2026/"]["is_folder"], by_name["2026/"]["size_bytes"]) == (True, None)


def test_an_empty_bucket_lists_as_nothing(bucket: Bucket, transfer: Transfer) -> None:
    done = transfer("ls", bucket.url)
    assert (done.returncode, done.content, done.stderr) == (0, b"", "0 objects (0 B)\n")
    assert transfer("ls", bucket.url, "--json").json == {"url": bucket.url, "entries": []}


@pytest.mark.parametrize("verb", ["ls", "stat", "find", "du", "cat"])
def test_what_is_not_there_is_exit_code_1_and_named(verb: str, filled: Bucket, transfer: Transfer) -> None:
    done = transfer(verb, f"{filled.url}order")
    assert (done.returncode, done.content) == (1, b"")
    assert f"there is nothing at {filled.url}order; " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["ls", "stat", "find", "du", "cat"])
def test_a_bucket_that_is_not_there_is_exit_code_2(verb: str, new_bucket: Any, transfer: Transfer) -> None:
    for kind in ("s3", "az", "gs"):
        missing = new_bucket(kind, create=False)
        done = transfer(verb, f"{missing.url}key")
        assert done.returncode in (1, 2), done.stderr
        assert missing.url.rstrip("/") in done.stderr
        assert done.stderr.count("\n") == 1


def test_an_unknown_connection_is_named_with_what_to_do(new_bucket: Any, transfer: Transfer) -> None:
    done = transfer("ls", new_bucket("s3").url, "--conn", "aws_defualt")
    assert done.returncode == 2
    assert 'did you mean "aws_default"?' in done.stderr
    assert "AIRFLOW_CONN_AWS_DEFUALT" in done.stderr


def test_find_by_name_size_and_time(filled: Bucket, transfer: Transfer) -> None:
    def found(*options: str) -> list[str]:
        done = transfer("find", filled.url, *options)
        assert done.returncode == 0, done.stderr
        return [line.removeprefix(filled.url) for line in done.stdout.splitlines()]

    assert found("--name", "*.csv") == ["orders/2026/june.csv", "orders/may.csv"]
    assert found("--name", "a", "--name", "t*") == ["orders-old/a", "top.txt"]
    assert found("--larger", "13", "--smaller", "1K") == ["orders/may.csv"]
    assert found("--exclude", "orders*/**") == ["top.txt"]
    assert found("--newer", "1h") == sorted(FILES)
    assert found("--older", "1h") == []
    assert found("--newer", "2035-01-01") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["find", "file:///tmp", "--larger", "big"], '"big" is no size; expected for example 500, 64K'),
        (["find", "file:///tmp", "--newer", "soon"], '"soon" is no length of time'),
        (["ls", "shop/orders"], "has no scheme"),
        (["cat", "s3://key:secret@bucket/x"], "holds a user name or password"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], message: str, transfer: Transfer) -> None:
    done = transfer(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "secret" not in done.stderr


def test_du_sums_each_folder_and_the_total(filled: Bucket, transfer: Transfer) -> None:
    found = transfer("du", filled.url, "--depth", "1", "--json").json
    assert found["total"] == {"url": filled.url, "objects": 4, "size_bytes": 2017}
    assert [(one["url"].removeprefix(filled.url), one["size_bytes"]) for one in found["folders"]] == [
        ("orders-old/", 1),
        ("orders/", 2013),
    ]
    assert transfer("du", f"{filled.url}orders/", "--json").json["total"]["objects"] == 2


def test_cat_writes_bytes_in_order_and_ranges_of_them(filled: Bucket, transfer: Transfer) -> None:
    body = bytes(range(256)) * 40_000  # three pieces
    filled.put("large.bin", body)
    assert transfer("cat", f"{filled.url}large.bin").content == body
    assert (
        transfer("cat", f"{filled.url}large.bin", "--offset", "4194300", "--count", "10").content
        == body[4_194_300:4_194_310]
    )
    assert transfer("cat", f"{filled.url}large.bin", "--offset", "1G").content == b""
    both = transfer("cat", f"{filled.url}top.txt", f"{filled.url}orders/*.csv")
    assert (both.returncode, both.content) == (0, b"toporder,amount\n")


def test_cat_says_when_the_content_is_not_what_was_stored(new_bucket: Any, transfer: Transfer, fronts: Fronts) -> None:
    from tests.faults.proxy import flip_reply_byte

    for kind in ("s3", "az", "gs"):
        bucket = new_bucket(kind)
        bucket.put("a.txt", b"0123456789")
        place = "alt=media" if kind == "gs" else "a.txt"
        fronts.proxies[kind].inject(flip_reply_byte(3), method="GET", target_contains=place, times=1)
        done = transfer("cat", f"{bucket.url}a.txt")
        fronts.proxies[kind].clear()
        assert done.returncode == 1, kind
        assert "do not use what was written" in done.stderr


def test_stat_shows_checksums_headers_and_metadata(new_bucket: Any, transfer: Transfer) -> None:
    bucket = new_bucket("s3")
    bucket.client.put_object(
        Bucket=bucket.name,
        Key="a.csv",
        Body=b"abc",
        ContentType="text/csv",
        Metadata={"origin": "till 7"},
        Tagging="team=a",
    )
    found = transfer("stat", f"{bucket.url}a.csv", "--json").json
    assert found["checksums"]["md5"] == "900150983cd24fb0d6963f7d28e17f72"
    assert (found["metadata"]["content_type"], found["metadata"]["user"]) == ("text/csv", {"origin": "till 7"})
    assert found["metadata"]["tags"] == {"team": "a"}
    text = transfer("stat", f"{bucket.url}a.csv").stdout
    for part in ("3 bytes", "900150983cd24fb0d6963f7d28e17f72", "text/csv", "till 7", "tag team"):
        assert part in text


def test_hostile_keys_are_escaped_for_people_and_exact_for_programs(
    bucket: Bucket, transfer: Transfer, corpora: Path
) -> None:
    kind = bucket.url.partition(":")[0]
    entries = json.loads((corpora / "object-keys" / "keys.json").read_text(encoding="utf-8"))["keys"]
    keys = [
        key
        for entry in entries
        if (key := entry.get("key"))
        and not refusal(f"k/{key}", kind)
        and not (kind == "s3" and any(character in key for character in "\r\n"))
    ][:80]
    if kind == "file":  # a file and a folder cannot share a name
        keys = [key for key in keys if "/" not in key]
    for key in keys:
        bucket.put(f"k/{key}", b"x")
    found = transfer("ls", f"{bucket.url}k/", "-r", "--json")
    assert set(names(found)) == set(keys)
    shown = transfer("ls", f"{bucket.url}k/", "-r")
    assert shown.stdout.count("\n") == len(set(keys))
    assert "\x1b" not in shown.stdout
    for key in ("a?b#c", "[x]*{y}"):
        bucket.put(f"odd/{key}", b"odd")
        assert transfer("cat", f"{bucket.url}odd/", "--key", key).content == b"odd"


def test_a_process_of_its_own_finds_the_connections_by_the_entry_point(new_bucket: Any, fronts: Fronts) -> None:
    """As a person has it: nothing is imported yet, the opener is found by the installed package's metadata."""
    bucket = new_bucket("s3")
    bucket.put("a.csv", b"abc")
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'include'}:{PROJECT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", "from skyferry.cli import main; main()", "cat", f"{bucket.url}a.csv"],
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"abc", b"")


def test_whatever_airflow_logs_standard_output_is_the_json_alone(new_bucket: Any, tmp_path: Path) -> None:
    bucket = new_bucket("s3")
    bucket.put("a.csv", b"abc")
    environment = {**os.environ, "PYTHONPATH": declared_path(tmp_path), "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}
    for verb in (("ls", bucket.url), ("ls", "s3://"), ("presign", f"{bucket.url}a.csv")):
        done = subprocess.run(
            [sys.executable, "-c", "from skyferry.cli import main; main()", *verb, "--json"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout), dict)
        assert "botocore" in done.stderr, "at this level clients tell everything they do"


def test_without_airflow_local_folders_work_and_stores_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("abc")
    hide = "import sys; sys.modules['airflow_bridge'] = None; sys.modules['airflow'] = None; "
    code = f"{hide}from skyferry.cli import main; main()"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": f"{PROJECT / 'include'}:{PROJECT / 'plugins'}"}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert run("cat", f"file://{tmp_path}/a.csv").stdout == "abc"
    refused = run("ls", "s3://shop/")
    assert refused.returncode == 2
    assert "run the command with the Python that Airflow is installed for" in refused.stderr
