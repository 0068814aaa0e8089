"""Metadata: limits of each store, the way there and back, and losses that equal the real difference."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyferry.metadata import HEADER_NAMES, KEPT_ENTRY, fit_metadata, restore_metadata
from skyferry.objects import ObjectMetadata

FULL = ObjectMetadata(
    content_type="text/csv; charset=utf-8",
    content_encoding="gzip",
    content_language="de",
    content_disposition='attachment; filename="a b.csv"',
    cache_control="max-age=60",
    user={"owner": "shop", "project-id": "7", "empty": ""},
    tags={"class": "internal", "größe": "groß", "mail": "a@b"},
)

texts = st.text(
    alphabet=st.one_of(st.sampled_from("abzAZ019_- :=@./+\t\n\r\x7fé🐘\u2028\u0301"), st.characters(codec="utf-8")),
    max_size=12,
)
long_texts = st.one_of(texts, st.sampled_from(["x" * 700, "é" * 700, "y" * 2048, "z" * 8192]))
metadata_of_anything = st.builds(
    ObjectMetadata,
    content_type=long_texts,
    content_disposition=texts,
    cache_control=texts,
    user=st.dictionaries(texts.filter(lambda key: not key.lower().startswith("skyferry_")), long_texts, max_size=12),
    tags=st.dictionaries(texts, long_texts, max_size=13),
)


def real_differences(before: ObjectMetadata, after: ObjectMetadata) -> list[str]:
    names = [name for name in HEADER_NAMES if getattr(before, name) != getattr(after, name)]
    names += [f'user metadata "{key}"' for key in before.user if after.user.get(key) != before.user[key]]
    names += [f'tag "{key}"' for key in before.tags if after.tags.get(key) != before.tags[key]]
    return sorted(escaped(name) for name in names)


def escaped(text: str) -> str:
    odd = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in odd else each for each in text
    )


@given(metadata=metadata_of_anything, kind=st.sampled_from(["s3", "az", "gs", "file"]))
@example(metadata=FULL, kind="az")
@example(metadata=ObjectMetadata(user={"a": "1", "A": "2"}), kind="az")
@example(metadata=ObjectMetadata(tags={f"k{number}": "v" for number in range(13)}), kind="s3")
def test_the_loss_report_equals_the_real_difference(metadata: ObjectMetadata, kind: str) -> None:
    fitted, losses = fit_metadata(metadata, kind)
    restored = restore_metadata(fitted)
    assert sorted(loss.rpartition(": ")[0] for loss in losses) == real_differences(metadata, restored)
    assert set(restored.user) <= set(metadata.user)
    assert set(restored.tags) <= set(metadata.tags)


@given(metadata=metadata_of_anything, kind=st.sampled_from(["s3", "az", "gs"]))
@example(metadata=ObjectMetadata(user={"a": "1", "A": "2"}), kind="az")
@example(metadata=ObjectMetadata(tags={f"k{number:02}": "v" for number in range(13)}), kind="s3")
@example(metadata=ObjectMetadata(tags={f"k{number:02}": "v" for number in range(13)}), kind="az")
def test_what_is_fitted_is_within_the_rules_of_the_store(metadata: ObjectMetadata, kind: str) -> None:
    fitted, _ = fit_metadata(metadata, kind)
    user_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in fitted.user.items())
    assert user_bytes <= {"s3": 2048, "az": 8192, "gs": 8192}[kind]
    header_like = [getattr(fitted, name) for name in HEADER_NAMES] + [*fitted.user, *fitted.user.values()]
    for text in header_like:
        assert not re.search(r"[\x00-\x1f\x7f]", text)
        assert text == text.strip()
        assert kind == "gs" or text.isascii()
    if kind != "gs":
        assert len({key.lower() for key in fitted.user}) == len(fitted.user)
    key_pattern = {"s3": r"[^A-Z\s:]+", "az": r"[A-Za-z_][A-Za-z0-9_]*", "gs": r"[!-~]+"}[kind]
    assert all(re.fullmatch(key_pattern, key) for key in fitted.user)
    assert len(fitted.tags) <= (0 if kind == "gs" else 10)
    if kind == "az":
        assert all(re.fullmatch(r"[A-Za-z0-9 +./:=_-]*", key + value) for key, value in fitted.tags.items())
        assert all(fitted.user.values())


@pytest.mark.parametrize("between", ["az", "gs"])
def test_s3_metadata_survives_the_way_through_another_store(between: str) -> None:
    there, losses_there = fit_metadata(FULL, between)
    back, losses_back = fit_metadata(restore_metadata(there), "s3")
    assert (losses_there, losses_back) == ((), ())
    assert back == FULL
    assert KEPT_ENTRY in there.user


def test_what_fits_is_held_as_it_is() -> None:
    fitted, losses = fit_metadata(FULL, "az")
    assert losses == ()
    assert fitted.content_type == FULL.content_type
    assert fitted.user["owner"] == "shop"
    assert fitted.tags == {"class": "internal"}
    assert json.loads(fitted.user[KEPT_ENTRY]) == {
        "user": {"project-id": "7", "empty": ""},
        "tags": {"größe": "groß", "mail": "a@b"},
    }
    assert fitted.user[KEPT_ENTRY].isascii()


def test_metadata_that_fits_has_no_reserved_entry() -> None:
    metadata = ObjectMetadata(content_type="text/csv", user={"owner": "shop"})
    assert fit_metadata(metadata, "az") == (metadata, ())


@pytest.mark.parametrize("kind", ["s3", "az", "gs", "file"])
def test_what_the_source_withheld_is_a_loss(kind: str) -> None:
    withheld = "tags: the credentials may not read them"
    fitted, losses = fit_metadata(restore_metadata(ObjectMetadata(withheld=(withheld,))), kind)
    assert (fitted, losses) == (ObjectMetadata(), (withheld,))


def test_a_local_folder_loses_everything_and_says_so() -> None:
    fitted, losses = fit_metadata(FULL, "file")
    assert fitted == ObjectMetadata()
    assert 'user metadata "owner": a local folder holds no metadata' in losses
    assert len(losses) == 5 + 3 + 3


def test_entries_of_ours_never_travel_on() -> None:
    metadata = ObjectMetadata(user={"skyferry_source": "0", "Skyferry_Other": "1", "owner": "shop"})
    for kind in ("s3", "az", "gs", "file"):
        fitted, losses = fit_metadata(metadata, kind)
        assert not any(key.lower().startswith("skyferry_") for key in fitted.user)
        assert not any("kyferry" in loss for loss in losses)
    assert restore_metadata(metadata).user == {"owner": "shop"}


def test_a_header_injection_is_dropped_and_named() -> None:
    metadata = ObjectMetadata(content_type="text/csv\r\nx-amz-acl: public-read", user={"a": "b\nc"}, tags={"t": "\r"})
    for kind in ("s3", "az", "gs"):
        fitted, losses = fit_metadata(metadata, kind)
        assert fitted == ObjectMetadata()
        assert [loss.rpartition(": ")[0] for loss in losses] == ["content_type", 'tag "t"', 'user metadata "a"']


def test_a_value_set_after_the_copy_wins_over_the_kept_one() -> None:
    there, _ = fit_metadata(ObjectMetadata(user={"a-b": "old"}, tags={"t@": "old"}), "az")
    edited = ObjectMetadata(content_type="text/new", user={**there.user, "a-b": "new"}, tags={"t@": "new"})
    restored = restore_metadata(edited)
    assert (restored.content_type, restored.user, restored.tags) == ("text/new", {"a-b": "new"}, {"t@": "new"})


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "not json",
        "[" * 8000,
        "[]",
        "null",
        '{"user": 5}',
        '{"user": {"a": 1}}',
        '{"user": {"skyferry_x": "1"}}',
        "NaN",
    ],
)
def test_a_reserved_entry_of_a_stranger_is_left_out(entry: str) -> None:
    metadata = ObjectMetadata(user={KEPT_ENTRY: entry, "owner": "shop"})
    assert restore_metadata(metadata) == ObjectMetadata(user={"owner": "shop"})


def test_metadata_of_8_kib_on_its_way_to_s3_loses_what_has_no_room() -> None:
    metadata = ObjectMetadata(user={f"k{number:02}": "v" * 253 for number in range(32)})
    fitted, losses = fit_metadata(metadata, "s3")
    assert len(fitted.user) == 7
    assert len(losses) == 25
