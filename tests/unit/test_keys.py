"""Names: every rule with a key on either side of it, the corpus of hostile keys, and collisions against a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyferry.errors import KeyRefusedError
from skyferry.keys import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    CollisionDetector,
    check_key,
    folder_marker_skip,
    is_temporary_name,
    map_key,
    refusal,
)

LABEL_OF_KIND = {"s3": "s3", "az": "azure", "gs": "gcs", "file": "local"}


def corpus_keys() -> list[tuple[str, dict[str, str]]]:
    folder = os.environ.get("SKYFERRY_CORPORA")
    if not folder:
        return []
    entries = json.loads((Path(folder) / "object-keys" / "keys.json").read_text())["keys"]
    return [
        (
            entry["key"]
            if entry["key"] is not None
            else bytes.fromhex(entry["raw_hex"]).decode("utf-8", "surrogateescape"),
            entry["expected"],
        )
        for entry in entries
    ]


def is_accepted_by_label(label: str) -> bool:
    return label.startswith(("valid", "discouraged"))


needs_corpus = pytest.mark.skipif(not corpus_keys(), reason="SKYFERRY_CORPORA is not set: corpus keys left out")


@needs_corpus
@pytest.mark.parametrize("kind", LABEL_OF_KIND)
def test_each_corpus_key_is_accepted_or_refused_as_labelled(kind: str) -> None:
    wrong = []
    for key, expected in corpus_keys():
        label = expected[LABEL_OF_KIND[kind]]
        should_accept = is_accepted_by_label(label)
        if kind == "az" and key.endswith("."):
            # Labelled "discouraged". The vendor's page: "Avoid blob names that end with a dot (.) ... No path segments
            # should end with a dot" (learn.microsoft.com/rest/api/storageservices/
            # naming-and-referencing-containers--blobs--and-metadata). The service drops it: `file.` is stored as `file`
            # (github.com/Azure/azure-sdk-for-java/issues/36674), by design
            # (github.com/microsoft/AzureStorageExplorer/issues/2833). A name that is not kept is refused.
            should_accept = False
        if (refusal(key, kind) == "") != should_accept:
            wrong.append((key, label, refusal(key, kind)))
    assert wrong == []


@needs_corpus
def test_the_corpus_has_both_accepted_and_refused_keys_for_every_store() -> None:
    for kind, store in LABEL_OF_KIND.items():
        verdicts = {is_accepted_by_label(expected[store]) for _, expected in corpus_keys()}
        assert verdicts == {True, False}, kind


@needs_corpus
@pytest.mark.parametrize("kind", LABEL_OF_KIND)
def test_a_refusal_is_one_printable_line_of_bounded_length(kind: str) -> None:
    for key, _ in corpus_keys():
        if not refusal(key, kind):
            continue
        with pytest.raises(KeyRefusedError) as caught:
            check_key(key, kind)
        assert len(str(caught.value).splitlines()) == 1
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 4000


@pytest.mark.parametrize(
    ("kind", "kept", "refused", "reason"),
    [
        ("s3", "k" * 1024, "k" * 1025, "1,025 bytes"),
        ("s3", "é" * 512, "é" * 512 + "k", "1,025 bytes"),
        ("s3", "a\x01b", "a\x00b", "NUL"),
        ("s3", "../up", "", "empty"),
        ("az", "é" * 1024, "é" * 1025, "1,025 characters"),
        ("az", "🐘" * 512, "🐘" * 513, "1,026 characters"),
        ("az", "a/" * 253 + "a", "a/" * 254 + "a", "255 path elements"),
        ("az", "a/b", "a\\b", "backslash"),
        ("az", "a.b/.hidden", "a./b", "dot"),
        ("az", "report", "report.", "dot"),
        ("az", "other/x", "../other/x", "another container"),
        ("az", "...a/b", "a/./b", "path element"),
        ("az", "a b", "a\tb", "U+0009"),
        ("az", "a b", "a\x7fb", "U+007F"),
        ("az", "a\u00a0b", "a\u0081b", "U+0081"),
        ("az", "a\ud7ffb", "a\ue000b", "U+E000"),
        ("az", "\ufffd", "\uffff", "U+FFFF"),
        ("gs", "é" * 512, "é" * 512 + "k", "1,025 bytes"),
        ("gs", "../x", "..", "does not allow"),
        ("gs", "a/.well-known/acme-challenge/t", ".well-known/acme-challenge/t", "reserves"),
        ("gs", "a\tb", "a\rb", "carriage return"),
        ("gs", "a\tb", "a\nb", "line feed"),
        ("file", "a/..b/c..", "a/../b", "path element"),
        ("file", "a/.b", "./a", "path element"),
        ("file", "etc/passwd", "/etc/passwd", "absolute"),
        ("file", "a/b", "a//b", "empty path element"),
        ("file", "a/b", "a/b/", "folder on a file system"),
        ("file", "a\\b", "a\0b", "NUL"),
        ("file", "é" * 127 + "k", "é" * 128, "256 bytes"),
        ("file", "a" + ("/" + "k" * 254) * 16 + "/" + "k" * 13, "a" + ("/" + "k" * 254) * 16 + "/" + "k" * 15, "4,0"),
        ("file", ".skyferry-0.parts", "a/.skyferry-0.part", "temporary"),
    ],
)
def test_each_rule_refuses_just_what_it_is_about(kind: str, kept: str, refused: str, reason: str) -> None:
    assert refusal(kept, kind) == ""
    assert reason in refusal(refused, kind)


@pytest.mark.parametrize("kind", LABEL_OF_KIND)
def test_bytes_that_are_no_utf8_are_refused_by_name_everywhere(kind: str) -> None:
    with pytest.raises(KeyRefusedError, match=r'the name "a\\udcff": it is not valid UTF-8; rename'):
        check_key(b"a\xff".decode("utf-8", "surrogateescape"), kind)


def test_a_very_long_key_is_shortened_in_the_message() -> None:
    with pytest.raises(KeyRefusedError) as caught:
        check_key("k" * 10_000_000, "s3")
    assert len(str(caught.value)) < 400
    assert "10,000,000 characters" in str(caught.value)


@pytest.mark.parametrize("kind", LABEL_OF_KIND)
def test_a_key_that_looks_like_a_template_is_only_a_name(kind: str) -> None:
    for key in ("{{ conn.x.password }}", "%s%n{0}", "$(rm -rf x)"):
        check_key(key, kind)


@pytest.mark.parametrize(
    ("source_key", "source_prefix", "destination_prefix", "expected"),
    [
        ("a/b", "", "", "a/b"),
        ("in/a/b", "in/", "raw/", "raw/a/b"),
        ("in/in/in/", "in/", "", "in/in/"),
        ("in/", "in/", "raw/", "raw/"),
        ("in/", "in/", "", ""),
        ("in//x", "in/", "raw/", "raw//x"),
    ],
)
def test_map_key_replaces_the_prefix_once(
    source_key: str, source_prefix: str, destination_prefix: str, expected: str
) -> None:
    assert map_key(source_key, source_prefix=source_prefix, destination_prefix=destination_prefix) == expected


def test_map_key_refuses_a_key_from_outside_the_source() -> None:
    with pytest.raises(KeyRefusedError, match="not below"):
        map_key("other/x", source_prefix="in/", destination_prefix="")


@pytest.mark.parametrize(
    ("key", "size_bytes", "destination_kind", "is_skipped"),
    [
        ("p/x/", 0, "file", True),
        ("p/x/", 0, "s3", False),
        ("p/x/", 1, "file", False),
        ("p/x", 0, "file", False),
        ("p/", 0, "s3", True),
        ("p/", 0, "file", True),
        ("p/", 1, "s3", False),
    ],
)
def test_folder_markers(key: str, size_bytes: int, destination_kind: str, is_skipped: bool) -> None:
    reason = folder_marker_skip(key, size_bytes=size_bytes, source_prefix="p/", destination_kind=destination_kind)
    assert bool(reason) == is_skipped


def refused_by_detector(kind: str, keys: list[str]) -> list[int]:
    """Return the positions the detector refuses."""
    detector = CollisionDetector(kind)
    refused = []
    for position, key in enumerate(keys):
        try:
            detector.check(key)
        except KeyRefusedError:
            refused.append(position)
    return refused


def refused_by_model(kind: str, keys: list[str]) -> list[int]:
    """The same by comparing each key with every one kept before it."""
    kept: list[str] = []
    refused = []
    for position, key in enumerate(keys):
        is_inside_a_file = kind == "file" and any(key.startswith(other + "/") for other in kept)
        if key in kept or is_inside_a_file:
            refused.append(position)
        else:
            kept.append(key)
    return refused


few_characters = st.text(alphabet="a-/é~", min_size=1, max_size=7)


@given(kind=st.sampled_from(["file", "s3"]), keys=st.lists(few_characters, max_size=30))
@example(kind="file", keys=["a", "a-b", "a/b"])
@example(kind="file", keys=["a", "a-", "a-/x", "a-b", "a/b", "a/b/c"])
@example(kind="s3", keys=["a", "a", "a/b"])
def test_the_detector_finds_exactly_what_comparing_all_pairs_finds(kind: str, keys: list[str]) -> None:
    ordered = sorted(keys, key=str.encode)
    assert refused_by_detector(kind, ordered) == refused_by_model(kind, ordered)


def test_a_file_and_a_folder_collide_across_any_number_of_keys_between_them() -> None:
    keys = ["a", *(f"a-{number:06}" for number in range(100_000)), "a/b", "a/c", "ab"]
    assert refused_by_detector("file", keys) == [100_001, 100_002]
    assert refused_by_detector("az", keys) == []


def test_the_detector_holds_a_bounded_number_of_keys() -> None:
    detector = CollisionDetector("file")
    for number in range(50_000):
        detector.check(f"folder-{number:06}/file")
    assert len(detector._open_lengths) == 1


def test_the_detector_insists_on_order() -> None:
    detector = CollisionDetector("file")
    detector.check("b")
    with pytest.raises(ValueError, match="byte order"):
        detector.check("a")


def test_case_and_normal_form_twins_are_different_objects() -> None:
    keys = ["A.txt", "a.txt", "cafe\u0301", "caf\u00e9"]
    assert refused_by_detector("file", keys) == []


def test_temporary_names_are_those_the_local_store_writes() -> None:
    from skyferry.stores import local

    assert (local.TEMPORARY_PREFIX, local.TEMPORARY_SUFFIX) == (TEMPORARY_PREFIX, TEMPORARY_SUFFIX)
    assert is_temporary_name(".skyferry-0123.part")
    assert not is_temporary_name("report.part")
