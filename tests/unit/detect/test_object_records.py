"""Records: every producer's spelling, what must be there, which hints may be missing, and keys decoded exactly once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skyferry.detect.object_records import (
    KeySpelling,
    ObjectRecord,
    RecordError,
    read_eventbridge_event,
    read_notification,
)
from tests.unit.detect.samples import Happening, eventbridge, form_encoded, record, record_of

TIME = datetime(2026, 11, 21, 3, 56, 1, 250000, tzinfo=UTC)
EXPECTED = ObjectRecord(
    index=3,
    kind="created",
    event_name="ObjectCreated:Put",
    bucket="shop-exports",
    key="orders/2026 week 1.csv",
    size_bytes=1024,
    etag="b1946ac92492d2347c6235b4d2611184",
    version_id="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
    sequencer="0C0F6F405D6ED209E1",
    event_time=TIME,
    is_delete_marker=False,
    producer="aws",
)


def read(values: object, keys: KeySpelling = "by_producer") -> ObjectRecord:
    return read_notification(values, 3, keys=keys)


def read_bridge(text: str) -> ObjectRecord:
    return read_eventbridge_event(json.loads(text), 3)


def refusal(values: object) -> str:
    with pytest.raises(RecordError) as refused:
        read(values)
    return str(refused.value)


def test_a_notification_of_s3_is_read_in_full() -> None:
    assert read(record()) == EXPECTED


def test_an_event_of_eventbridge_is_read_in_full() -> None:
    assert read_bridge(eventbridge()) == replace(EXPECTED, event_name="Object Created", producer="eventbridge")


def test_a_notification_of_minio_is_read() -> None:
    values = record(
        Happening(sequencer="147279EAF9F40933"),
        key="orders%2F2026+week+1.csv",
        eventVersion="2.0",
        eventSource="minio:s3",
        eventName="s3:ObjectCreated:Put",
    )
    assert read(values) == replace(EXPECTED, sequencer="147279EAF9F40933", producer="minio")


def test_a_notification_of_ceph_is_read_with_its_key_as_it_is() -> None:
    values = record_of(key="a+b %41", size="1024", versionId="", metadata=[], tags=[])
    values |= {"eventVersion": "2.2", "eventSource": "ceph:s3", "eventTime": "2026-11-21 03:56:01.250000Z"}
    assert read(values) == replace(EXPECTED, key="a+b %41", version_id=None, producer="ceph")


def test_an_event_of_moto_s_eventbridge_is_read() -> None:
    values = json.loads(eventbridge(Happening(etag=None), time="2026-11-21T03:56:01Z"))
    values["detail"]["object"] |= {"eTag": "b1946ac9", "version-id": "null"}
    assert read_eventbridge_event(values, 3) == replace(
        EXPECTED,
        event_name="Object Created",
        etag="b1946ac9",
        version_id="null",
        event_time=TIME.replace(microsecond=0),
        producer="eventbridge",
    )


def test_the_least_that_a_record_needs() -> None:
    values = {"eventName": "ObjectCreated:Copy", "s3": {"bucket": {"name": "abc"}, "object": {"key": "k"}}}
    least = ObjectRecord(index=3, kind="created", event_name="ObjectCreated:Copy", bucket="abc", key="k")
    assert read(values) == least


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Put", "created"),
        ("ObjectCreated:Post", "created"),
        ("ObjectCreated:Copy", "created"),
        ("ObjectCreated:CompleteMultipartUpload", "created"),
        ("ObjectCreated:SomethingNew", "created"),
        ("ObjectSynced:Create", "created"),
        ("ObjectRemoved:Delete", "removed"),
        ("ObjectRemoved:DeleteMarkerCreated", "removed"),
        ("LifecycleExpiration:Delete", "removed"),
        ("LifecycleExpiration:DeleteMarkerCreated", "removed"),
        ("ObjectLifecycle:Expiration:Current", "removed"),
        ("ObjectLifecycle:Expiration:NonCurrent", "other"),
        ("ObjectLifecycle:Expiration:AbortMultipartUpload", "other"),
        ("ObjectRestore:Completed", "restored"),
        ("ObjectRestore:Post", "other"),
        ("ObjectRestore:Delete", "other"),
        ("ObjectTagging:Put", "other"),
        ("ObjectAcl:Put", "other"),
        ("LifecycleTransition", "other"),
        ("Replication:OperationFailedReplication", "other"),
        ("ObjectCreatedSomehow", "other"),
        ("event-type", "other"),
    ],
)
def test_what_happened_is_told_by_the_name(name: str, kind: str) -> None:
    for written in (name, f"s3:{name}"):
        found = read(record(eventName=written))
        assert (found.kind, found.event_name) == (kind, name)
        assert found.is_delete_marker == name.endswith("DeleteMarkerCreated")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Object Created", "created"),
        ("Object Deleted", "removed"),
        ("Object Restore Completed", "restored"),
        ("Object Restore Initiated", "other"),
        ("Object Restore Expired", "other"),
        ("Object Tags Added", "other"),
        ("Object Storage Class Changed", "other"),
    ],
)
def test_what_happened_is_told_by_the_detail_type(name: str, kind: str) -> None:
    assert read_bridge(eventbridge(**{"detail-type": name})).kind == kind


@pytest.mark.parametrize(
    ("deletion_type", "is_marker"), [("Delete Marker Created", True), ("Permanently Deleted", False), (None, False)]
)
def test_eventbridge_tells_delete_markers(deletion_type: str | None, *, is_marker: bool) -> None:
    text = eventbridge(Happening(kind="removed"), detail={"deletion-type": deletion_type})
    assert read_bridge(text).is_delete_marker == is_marker


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2", "2.3", "2.6", "2.10", None])
def test_a_minor_version_is_no_reason_to_refuse(version: str | None) -> None:
    assert read(record(eventVersion=version)) == EXPECTED


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("3.0", "eventVersion has the major version 3; expected 2"),
        ("1.9", "eventVersion has the major version 1; expected 2"),
        ("20.1", "eventVersion has the major version 20; expected 2"),
        ("2", "eventVersion is not a version"),
        ("two", "eventVersion is not a version"),
        ("2.1\n", "eventVersion is not a version"),
        ("\u0662.1", "eventVersion is not a version"),
        (2.1, "eventVersion is not a text"),
    ],
)
def test_another_major_version_is_refused(version: object, reason: str) -> None:
    assert refusal(record(eventVersion=version)) == reason


@pytest.mark.parametrize(("version", "is_read"), [("1.0", True), ("1.7", True), ("2.0", False), ("0", False)])
def test_eventbridge_s_schema_version_is_that_of_the_detail(version: str, *, is_read: bool) -> None:
    text = eventbridge(detail={"event-version": version}, version="7")
    if is_read:
        assert read_bridge(text).key == EXPECTED.key
    else:
        with pytest.raises(RecordError, match="event-version"):
            read_bridge(text)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (5, "the record is not a JSON object"),
        (None, "the record is not a JSON object"),
        ([record()], "the record is not a JSON object"),
        ({}, "eventName is missing"),
        (record(eventName=None), "eventName is missing"),
        (record(eventName=5), "eventName is not a text"),
        (record(eventName=""), "the event's name cannot be one"),
        (record(eventName="ObjectCreated:\x1b[2J"), "the event's name cannot be one"),
        (record(eventName="A" * 101), "the event's name cannot be one"),
        (record(eventSource="aws:dynamodb"), "eventSource is not an S3"),
        (record(eventSource="S3"), "eventSource is not an S3"),
        (record(eventSource=["aws:s3"]), "eventSource is not a text"),
        (record(s3=None), "s3 is missing"),
        (record(s3=[]), "s3 is not a JSON object"),
        (record(s3={"object": {"key": "k"}}), "s3.bucket is missing"),
        (record(s3={"bucket": {}, "object": {"key": "k"}}), "s3.bucket.name is missing"),
        (record(s3={"bucket": {"name": 5}, "object": {"key": "k"}}), "s3.bucket.name is not a text"),
        (record(s3={"bucket": {"name": "abc"}}), "the key is missing"),
        (record(s3={"bucket": {"name": "abc"}, "object": {}}), "the key is missing"),
        (record(s3={"bucket": {"name": "abc"}, "object": "k"}), "s3.object is not a JSON object"),
        (record(key=""), "the key is missing"),
        (record_of(key=7), "s3.object.key is not a text"),
        (record_of(key=None), "s3.object.key is not a text"),
    ],
)
def test_a_record_without_what_it_needs_is_refused(values: object, reason: str) -> None:
    assert refusal(values) == reason


@pytest.mark.parametrize(
    "name", ["{{{bucket}}}", "", "ab", "-abc", "abc-", "a/b", "a b", "a\nbc", "abc\n", "../up", "b" * 256, "ümlaut"]
)
def test_a_name_that_no_bucket_can_have_is_refused(name: str) -> None:
    assert refusal(record(Happening(bucket=name))) == "the bucket's name cannot be one"
    with pytest.raises(RecordError, match="the bucket's name cannot be one"):
        read_bridge(eventbridge(Happening(bucket=name)))


@pytest.mark.parametrize("name", ["abc", "my.bucket-1", "DOC-EXAMPLE-BUCKET1", "legacy_Bucket", "b" * 255])
def test_a_name_that_a_bucket_had_once_is_taken(name: str) -> None:
    assert read(record(Happening(bucket=name))).bucket == name


def test_an_event_about_a_bucket_needs_no_key() -> None:
    found = read(record(eventName="s3:BucketCreated:*", s3={"bucket": {"name": "abc"}}))
    assert (found.kind, found.key) == ("other", "")


@pytest.mark.parametrize("field", ["bucket", "detail"])
def test_an_event_of_eventbridge_without_what_it_needs_is_refused(field: str) -> None:
    values = json.loads(eventbridge())
    del (values if field == "detail" else values["detail"])[field]
    with pytest.raises(RecordError, match=f"{field} is missing"):
        read_eventbridge_event(values, 0)


# Hints: each may be missing or unusable, and costs nothing but itself.


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0),
        (5, 5),
        ("5", 5),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        ("9" * 19, None),
        ("9" * 20, None),
        (-1, None),
        (1.0, None),
        (True, None),
        ("object-size in bytes", None),
        ("\u0665", None),
        ([], None),
    ],
)
def test_an_unusable_size_is_none(size: object, expected: int | None) -> None:
    found = read(record_of(size=size))
    assert found == replace(EXPECTED, size_bytes=expected)
    assert type(found.size_bytes) is type(expected)


@pytest.mark.parametrize(
    ("etag", "expected"), [('"abc"', "abc"), ("abc-2", "abc-2"), ("", None), ('""', None), (5, None), (None, None)]
)
def test_an_etag_has_no_quotes(etag: object, expected: str | None) -> None:
    assert read(record_of(eTag=etag)).etag == expected


@pytest.mark.parametrize(("version", "expected"), [("null", "null"), ("", None), (None, None), (7, None), ("v", "v")])
def test_a_version_id_is_taken_as_it_is(version: object, expected: str | None) -> None:
    assert read(record_of(versionId=version)).version_id == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-21T03:56:01.250Z", TIME),
        ("2026-11-21T04:56:01.250+01:00", TIME),
        ("2026-11-21T03:56:01.250", None),
        ("2026\N{EN DASH}11\N{EN DASH}21T03:56:01.250Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        (1763697361, None),
        (None, None),
    ],
)
def test_an_unusable_time_is_none(written: object, expected: datetime | None) -> None:
    assert read(record(eventTime=written)) == replace(EXPECTED, event_time=expected)
    assert read_bridge(eventbridge(time=written)).event_time == expected


def test_fields_nobody_knows_are_ignored() -> None:
    values: dict[str, Any] = record(glacierEventData={"restoreEventData": {}}, somethingNew=[1])
    values["s3"] |= {"somethingNew": {}}
    values["s3"]["object"] |= {"urlDecodedKey": "wrong", "somethingNew": None}
    assert read(values) == EXPECTED


# Keys.

NASTY_KEYS = [
    "a+b", "a b", "a%2Bb", "a%20b", "%", "100%", "%%", "%25", "%E9", "5:00.log", "5%3A00.log", "a&b=c?d#e", "a/b//c/",
    "/", "..", "../up", "./a", "{{ conn.x.password }}", "{% raw %}", "{{{key}}}", "<object-key:1>", "ü/é/😀", "e\u0301",
    "a\x00b", "a\r\nb", "\x1b[2J", "\u202e", "\u2028", "\ufeffbom", " a ", "+", "++", "a\\b", '"', "'", "~", "*",
]  # fmt: skip


def keys() -> st.SearchStrategy[str]:
    pieces = st.sampled_from([*NASTY_KEYS, "%2", "%zz"]) | st.text(st.characters(codec="utf-8"))
    return st.lists(pieces, min_size=1, max_size=4).map("".join).filter(bool)


@settings(deadline=2_000)
@given(keys(), st.sampled_from(["", "/", "/:~", "/!'()"]), st.booleans())
@example("100%", "/", False)
def test_a_key_is_decoded_exactly_once(key: str, safe: str, has_upper_case: bool) -> None:
    encoded = form_encoded(key, safe=safe, has_upper_case=has_upper_case)
    assert read(record(key=encoded)).key == key
    assert read(record(key=encoded), keys="encoded").key == key
    assert read(record(key=encoded, eventSource="minio:s3")).key == key
    assert read(record(key=encoded, eventSource="ceph:s3"), keys="encoded").key == key


@settings(deadline=2_000)
@given(keys())
def test_a_raw_key_is_not_decoded(key: str) -> None:
    assert read(record(key=key), keys="raw").key == key
    assert read(record(key=key, eventSource="ceph:s3")).key == key
    assert read_bridge(eventbridge(Happening(key=key))).key == key


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("red+flower.jpg", "red flower.jpg"),
        ("a%2Bb", "a+b"),
        ("a%252Bb", "a%2Bb"),
        ("5%253A00.log", "5%3A00.log"),
        ("5%3a00.log", "5:00.log"),
        ("<object-key:1>", "<object-key:1>"),
        ("%C3%BC", "ü"),
        ("ü%20ü", "ü ü"),
    ],
)
def test_known_keys_are_decoded(written: str, key: str) -> None:
    assert read(record(key=written)).key == key


@pytest.mark.parametrize("written", ["100%", "%", "%zz", "a%2", "%2G", "%u00e9", "% 41"])
def test_a_key_that_is_not_encoded_is_refused_instead_of_guessed(written: str) -> None:
    assert refusal(record(key=written)).startswith("the key is not form-encoded")


@pytest.mark.parametrize("written", ["%E9", "%C3", "%ED%A0%80", "%C0%AF", "%F5%80%80%80"])
def test_a_key_that_is_no_utf_8_is_refused_instead_of_mended(written: str) -> None:
    assert refusal(record(key=written)) == "the key is not UTF-8 behind its form encoding"


@pytest.mark.parametrize("field", ["eventName", "eventVersion", "eventSource", "s3"])
@pytest.mark.parametrize("wrong", [["hunter2"], {"hunter2": "hunter2"}, "hunter2\n", "hunter2:\x1b", None])
def test_a_reason_quotes_nothing(field: str, wrong: object) -> None:
    values = {**record(), field: wrong, "hunter2": "hunter2"}
    with pytest.raises(RecordError) as refused:
        read(values if wrong is not None else {"hunter2": "hunter2"})
    assert "hunter2" not in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 120
    assert refused.value.__cause__ is None
