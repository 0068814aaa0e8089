"""Rows survive the trip through NDJSON, whatever the keys hold."""

from __future__ import annotations

import json
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from skyferry.objects import ObjectInfo, ObjectMetadata, info_from_json, info_to_json, json_line
from skyferry.records import Action, Outcome, PlannedObject, Receipt

texts = st.text(max_size=20)
metadata = st.none() | st.builds(
    ObjectMetadata,
    content_type=texts,
    user=st.dictionaries(texts, texts, max_size=3),
    tags=st.dictionaries(texts, texts),
)
infos = st.builds(
    ObjectInfo,
    key=st.text(st.characters(), min_size=1),  # lone surrogates included
    size_bytes=st.integers(min_value=0),
    etag=texts,
    version_id=st.none() | st.text(min_size=1, max_size=9),
    modified_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    checksums=st.dictionaries(st.sampled_from(["md5", "crc32c"]), texts),
    etag_may_be_md5=st.booleans(),
    metadata=metadata,
    is_archived=st.booleans(),
    unreadable_because=texts,
)


@given(infos)
def test_object_info(info: ObjectInfo) -> None:
    assert info_from_json(json_line(info_to_json(info))) == info


@given(infos, st.none() | infos, st.sampled_from(Action), texts)
def test_planned_object(source: ObjectInfo, replaces: ObjectInfo | None, action: Action, reason: str) -> None:
    planned = PlannedObject(
        action=action,
        source=source,
        destination_key=source.key,
        reason=reason,
        replaces=replaces,
        evidence="md5",
        refusal="conflict" if action is Action.REFUSE else "",
    )
    assert PlannedObject.from_json(json.loads(json_line(planned.to_json()))) == planned


@given(st.sampled_from(Outcome), texts, st.dictionaries(texts, st.integers(min_value=1)), st.lists(texts))
def test_receipt(outcome: Outcome, reason: str, retries: dict[str, int], lost: list[str]) -> None:
    receipt = Receipt(
        key="k",
        destination_key="d",
        outcome=outcome,
        reason=reason,
        size_bytes=3,
        source_etag="e",
        refusal="name" if outcome is Outcome.REFUSED else "",
        checksums={"crc32c": "00"},
        lost=tuple(lost),
        retries=retries,
        deleted_at_source=True,
        seconds=0.25,
    )
    assert Receipt.from_json(json.loads(json_line(receipt.to_json()))) == receipt
