"""Bodies collected from vendors, from recordings of real AWS and from others' tests: each has its labelled outcome.

Two labels leave a choice, and here is what we chose:

- `chalice-key-plus` (bucket and key, no eventName; either outcome is fine if documented): poison. Without a name nobody
  knows whether the object came or went, and a removal read as a creation would be worse than a dead letter.
- `ptpy-s3SqsEvent-lambda-wrapper` (poison or unwrap): unwrapped.

And one value of a label is read differently: `versionId` "" (`java-s3-event`, a literal of a test) is no version. The
user guide gives it as "object version if bucket is versioning-enabled, otherwise null".
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from skyferry.detect.s3_events import ParsedMessage, parse_message
from tests.unit.detect.samples import Happening, eventbridge, form_encoded, in_sns, message, record

CHOSEN = {"ambiguous": "poison", "poison-or-unwrap": "transfer"}
UNWRAPPED = [
    {
        "bucket": "xxx",
        "key": "test.pdf",
        "size": 104681,
        "version_id": "yd3d4HaWOT2zguDLvIQLU6ptDTwKBnQV",
        "etag": "2e3ad1e983318bbd8e73b080e2997980",
        "sequencer": "00643717F9F8B85354",
        "event": "ObjectCreated:Put",
    }
]


def entries(folder: str) -> list[Any]:
    """What the index of a corpus lists; one entry that is left out when there is no corpus."""
    corpora = os.environ.get("SKYFERRY_CORPORA")
    if not corpora:
        return [pytest.param(None, id="left out")]
    listed = json.loads((Path(corpora) / folder / "INDEX.json").read_text(encoding="utf-8"))
    return [pytest.param(entry, id=Path(entry["file"]).stem) for entry in listed]


def action(found: ParsedMessage) -> str:
    """What a route that mirrors no deletions does with the message."""
    if found.verdict != "records":
        return found.verdict
    return "transfer" if any(one.kind == "created" for one in found.records) else "ignore"


@pytest.mark.parametrize("entry", entries("s3-events"))
def test_an_s3_event_has_its_labelled_outcome(corpora: Path, entry: dict[str, Any]) -> None:
    expected = entry["expected"]
    raw = (corpora / entry["file"]).read_bytes()
    found = parse_message(raw)
    assert found == parse_message(raw.decode())
    assert action(found) == CHOSEN.get(expected["action"], expected["action"])
    told = [
        {
            "bucket": one.bucket,
            "key": one.key,
            "size": one.size_bytes,
            "version_id": one.version_id,
            "etag": one.etag,
            "sequencer": one.sequencer,
            "event": one.event_name,
        }
        for one in found.records
        if one.kind == "created"
    ]
    labelled = UNWRAPPED if expected["action"] == "poison-or-unwrap" else expected.get("objects", [])
    assert told == [one | {"version_id": one["version_id"] or None} for one in labelled]
    assert [one.index for one in found.bad_records] == expected.get("bad_records", [])
    others = {one.event_name for one in found.records if one.kind != "created"}
    if "ignored" in expected:
        assert others == set(expected["ignored"])
    if expected["action"] == "ignore":
        assert others == set(expected["why"].split(",")) or found.reason in {expected["why"], "no records"}


@pytest.mark.parametrize("entry", entries("json-bodies"))
def test_a_json_body_is_poison(corpora: Path, entry: dict[str, Any]) -> None:
    raw = (corpora / entry["file"]).read_bytes()
    begin = time.perf_counter()
    found = parse_message(raw)
    assert time.perf_counter() - begin < 2
    assert entry["expected"].startswith("poison")
    assert (found.verdict, found.records, found.bad_records) == ("poison", (), ())
    assert found.reason.isprintable()
    assert len(found.reason) < 100


@pytest.mark.parametrize("entry", entries("json-bodies"))
def test_a_json_body_inside_sns_is_poison(corpora: Path, entry: dict[str, Any]) -> None:
    raw = (corpora / entry["file"]).read_bytes()
    assert parse_message(in_sns(raw.decode("utf-8", "replace"))).verdict == "poison"


def test_every_hostile_key_arrives_as_it_is(corpora: Path) -> None:
    listed = json.loads((corpora / "object-keys" / "keys.json").read_text(encoding="utf-8"))["keys"]
    keys = [entry["key"] for entry in listed if entry["key"]]
    assert len(keys) > 300
    for key in keys:
        happening = Happening(key=key)
        bodies = [
            message(record(happening)),
            message(record(happening, key=form_encoded(key, safe="", has_upper_case=False))),
            message(record(happening, key=key, eventSource="ceph:s3")),
            eventbridge(happening),
            in_sns(eventbridge(happening)),
        ]
        for body in bodies:
            assert [one.key for one in parse_message(body).records] == [key]
