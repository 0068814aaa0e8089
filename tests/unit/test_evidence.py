"""What may be called equal, and what must be looked at closer."""

from __future__ import annotations

import pytest

from skyferry.evidence import SOURCE_NOTE, Finding, compare, source_note, with_source_note
from skyferry.objects import ObjectInfo, ObjectMetadata

MD5 = "0" * 31 + "a"
OTHER_MD5 = "0" * 31 + "b"


def info(size_bytes: int = 5, **values: object) -> ObjectInfo:
    return ObjectInfo(**{"key": "k", "size_bytes": size_bytes, "etag": "opaque", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (info(5), info(6), Finding(is_same=False, evidence="size")),
        (info(checksums={"md5": MD5}), info(checksums={"md5": MD5}), Finding(is_same=True, evidence="md5")),
        (info(checksums={"md5": MD5}), info(checksums={"md5": OTHER_MD5}), Finding(is_same=False, evidence="md5")),
        (info(etag=MD5, etag_may_be_md5=True), info(checksums={"md5": MD5}), Finding(is_same=True, evidence="md5")),
        (info(checksums={"md5": MD5}), info(etag=MD5, etag_may_be_md5=True), Finding(is_same=True, evidence="md5")),
        (
            info(etag=MD5, etag_may_be_md5=True),
            info(etag=MD5, etag_may_be_md5=True),
            Finding(is_same=True, evidence="etag"),
        ),
    ],
)
def test_decided(source: ObjectInfo, destination: ObjectInfo, expected: Finding) -> None:
    assert compare(source, destination) == expected


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (info(), info()),  # equal etags of two stores mean nothing
        (info(checksums={"md5": MD5}), info(checksums={"crc32c": "00000000"})),
        # An etag that looks like an MD5 and differs from one may belong to an encrypted object.
        (info(etag=MD5, etag_may_be_md5=True), info(checksums={"md5": OTHER_MD5})),
        (info(etag=MD5, etag_may_be_md5=True), info(etag=OTHER_MD5, etag_may_be_md5=True)),
        (info(etag=f"{MD5}-2"), info(etag=f"{MD5}-2")),
    ],
)
def test_undecided(source: ObjectInfo, destination: ObjectInfo) -> None:
    assert compare(source, destination) is None


def test_the_note_is_of_one_version_of_one_object() -> None:
    source = info(etag="v1")
    note = source_note("s3://b/k", source)
    destination = info(metadata=with_source_note(ObjectMetadata(), note))
    assert compare(source, destination, note=note) == Finding(is_same=True, evidence="note")
    for other in (source_note("s3://b/k", info(etag="v2")), source_note("s3://b/other", source)):
        assert compare(source, destination, note=other) is None
    assert SOURCE_NOTE in with_source_note(ObjectMetadata(), note).user
