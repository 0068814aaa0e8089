"""The main job as a user meets it: `transfer` as DAG runs, looked at with the vendors' own clients."""

from __future__ import annotations

import gzip
import itertools
import json

import pytest

from tests.e2e.conftest import SECRET

KINDS = ("s3", "az", "gs", "file")

CONTENT = {
    "plain.csv": b"a,b\n1,2\n",
    "empty.bin": b"",
    "one": b"x",
    "deep/er/{{ 6*7 }}.csv": b"braces are data",
    "deep/50% off & more+plus #1?.txt": b"reserved characters",
    "deep/grün/naïve café.txt": "é".encode(),
    "large.bin": bytes(range(256)) * 4096,
}

REPORT_FIELDS = {
    "run_id", "route", "state", "source", "destination", "objects_planned", "objects_copied", "objects_skipped",
    "objects_refused", "objects_failed", "objects_deleted_at_source", "bytes_copied", "retries", "verified_by",
    "started_at", "ended_at", "duration_seconds", "throughput_bytes_per_second",
}  # fmt: skip


def put_all(bucket, content):
    for key, body in content.items():
        bucket.put(key, body)


@pytest.mark.parametrize(("source_kind", "destination_kind"), list(itertools.product(KINDS, KINDS)))
def test_every_pair_copies_everything_and_a_second_run_nothing(airflow, buckets, source_kind, destination_kind):
    source, destination = buckets.new(source_kind), buckets.new(destination_kind, create=False)
    put_all(source, CONTENT)
    conf = {"source": source.url, "destination": f"{destination.url}raw/", "create_destination": True}
    if destination_kind == "file":
        conf["destination"] = destination.url  # the folder itself is the place

    first = airflow.run(conf)

    prefix = "" if destination_kind == "file" else "raw/"
    assert destination.content() == {prefix + key: body for key, body in CONTENT.items()}
    assert source.content() == CONTENT
    assert first.state == "success"
    assert set(first.report) >= REPORT_FIELDS
    assert first.report["objects_copied"] == first.report["objects_planned"] == len(CONTENT)
    assert first.report["bytes_copied"] == sum(map(len, CONTENT.values()))
    assert sum(first.report["verified_by"].values()) == len(CONTENT)
    assert all(first.report["verified_by"]), "each copy names what proved it"

    second = airflow.run(conf)

    assert second.state == "success"
    assert (second.report["objects_copied"], second.report["objects_skipped"]) == (0, len(CONTENT))
    assert second.report["skipped_by_reason"] == {"identical": len(CONTENT)}
    assert second.tasks["copy"] == ["skipped"]


def test_a_move_takes_the_source_away(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("az")
    put_all(source, CONTENT)
    ended = airflow.run({"source": source.url, "destination": destination.url, "copy": False})
    assert ended.state == "success"
    assert (source.content(), destination.content()) == ({}, CONTENT)
    assert ended.report["objects_deleted_at_source"] == len(CONTENT)


def test_content_encoding_gzip_arrives_byte_for_byte(airflow, buckets):
    body = gzip.compress(b"0123456789" * 100)
    source, destination = buckets.new("s3"), buckets.new("az")
    source.put("logs.gz", body, encoding="gzip")
    assert airflow.run({"source": source.url, "destination": destination.url}).state == "success"
    assert destination.content() == {"logs.gz": body}
    assert (
        destination.client.get_blob_client("logs.gz").get_blob_properties().content_settings.content_encoding == "gzip"
    )


def test_a_plan_is_cut_into_named_batches_and_no_key_travels_through_airflow(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("s3")
    put_all(source, {f"secret-name-{number:02d}": b"x" * number for number in range(25)})
    ended = airflow.run({"source": source.url, "destination": destination.url, "batch_objects": 10})
    assert ended.tasks == {"plan": ["success"], "copy": ["success"] * 3, "report": ["success"]}
    assert [name.split(",")[0] for name in ended.batch_names] == [
        "batch 1 of 3 (10 objects",
        "batch 2 of 3 (10 objects",
        "batch 3 of 3 (5 objects",
    ]
    assert sum(one["copied"] for one in ended.xcoms["copy", "return_value"]) == 25
    assert "secret-name" not in json.dumps([list(map(list, ended.xcoms)), list(ended.xcoms.values())])


def test_data_that_names_one_object_stays_out_of_xcom(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("gs")
    put_all(source, {"wanted-name.csv": b"1", "other.csv": b"2"})
    ended = airflow.run({"source": source.url, "destination": destination.url, "data": "wanted-name.csv"})
    assert ended.state == "success"
    assert destination.content() == {"wanted-name.csv": b"1"}
    assert "wanted-name" not in json.dumps(list(ended.xcoms.values()))


def test_a_dry_run_shows_the_decisions_and_changes_nothing(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("gs", create=False)
    put_all(source, {"a.csv": b"1", "evil\u001b[31m[red]name": b"22"})
    conf = {"source": source.url, "destination": destination.url, "create_destination": True, "dry_run": True}
    ended = airflow.run(conf)
    assert ended.state == "success"
    assert not destination.exists()
    assert (ended.report["objects_to_copy"], ended.report["objects_copied"]) == (2, 0)
    assert ended.tasks["copy"] == ["skipped"]
    assert "a.csv" in ended.log
    assert r"evil\x1b[31m[red]name" in ended.log
    assert "dry run: 2 objects (3 bytes) would be copied" in ended.log


def test_an_empty_selection_is_a_success_that_says_so(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("az")
    ended = airflow.run({"source": source.url, "destination": destination.url, "data": "**/*.csv"})
    assert ended.state == "success"
    assert ended.report["objects_planned"] == 0
    assert "nothing to do" in ended.log


def test_an_object_that_is_refused_fails_the_run_and_costs_the_others_nothing(airflow, buckets):
    source, destination = buckets.new("s3"), buckets.new("file")
    put_all(source, {"a": b"1", "a/b": b"2", "fine": b"3"})
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert ended.state == "failed"
    assert ended.tasks["report"] == ["failed"]
    assert ended.tasks["copy"] == ["success"]
    report = ended.report
    assert report["state"] == "failed"
    assert report["objects_copied"] + report["objects_refused"] == report["objects_planned"] == 3
    assert "fine" in destination.content()
    assert report["problems"]


def test_a_route_named_by_id_supplies_what_the_conf_leaves_out(airflow, buckets, tmp_path, monkeypatch):
    source, destination = buckets.new("s3"), buckets.new("az", create=False)
    put_all(source, {"kept.csv": b"1", "left-out.txt": b"2"})
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "nightly.yaml").write_text(
        f"id: nightly\nsource: {{url: '{source.url}'}}\ndestination: {{url: '{destination.url}', create: true}}\n"
        "data: '*.csv'\n"
    )
    monkeypatch.setenv("SKYFERRY_CONFIG", str(tmp_path))
    ended = airflow.run({"id": "nightly"})
    assert ended.state == "success"
    assert ended.report["route"] == "nightly"
    assert destination.content() == {"kept.csv": b"1"}
    assert airflow.run({"id": "nightly", "data": None, "dry_run": True}).report["objects_planned"] == 1
    assert airflow.run({"id": "nightly", "data": "*.txt"}).state == "success"
    assert set(destination.content()) == {"kept.csv", "left-out.txt"}


def test_the_secret_of_a_connection_is_nowhere_but_in_it(airflow, buckets, state_folder):
    source, destination = buckets.new("s3"), buckets.new("az")
    put_all(source, {"a.csv": b"1"})
    ended = airflow.run({"source": source.url, "destination": destination.url})
    assert ended.state == "success"
    assert SECRET not in ended.log
    assert SECRET not in json.dumps(list(ended.xcoms.values()))
    records = [file for file in state_folder.rglob("*") if file.is_file()]
    assert records
    assert not [file for file in records if SECRET.encode() in file.read_bytes()]
