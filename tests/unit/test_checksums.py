"""Digests agree with independent implementations, however the content is cut."""

from __future__ import annotations

import hashlib
import zlib

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from skyferry.checksums import (
    ALGORITHMS,
    CompositeEtag,
    ContentDigests,
    base64_of,
    composite_etag,
    digest,
    hex_of,
)


def test_check_values_of_the_catalogue() -> None:
    # The check values of "123456789", https://reveng.sourceforge.io/crc-catalogue/all.htm
    digests = ContentDigests(ALGORITHMS)
    digests.update(b"123456789")
    found = digests.hexdigests()
    assert found["crc32"] == "cbf43926"
    assert found["crc32c"] == "e3069283"
    assert found["crc64nvme"] == "ae8b14860a799888"


@given(st.lists(st.binary(max_size=200)))
def test_cuts_do_not_matter(pieces: list[bytes]) -> None:
    digests = ContentDigests({"crc32", "crc32c", "md5", "sha256"})
    for piece in pieces:
        digests.update(piece)
    whole = b"".join(pieces)
    assert digests.hexdigests() == {
        "crc32": f"{zlib.crc32(whole):08x}",
        "crc32c": f"{google_crc32c.value(whole):08x}",
        "md5": hashlib.md5(whole).hexdigest(),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }


@given(st.lists(st.binary(max_size=50)), st.integers(min_value=1, max_value=40))
def test_composite_etag_is_that_of_the_parts(pieces: list[bytes], part_bytes: int) -> None:
    running = CompositeEtag(part_bytes)
    for piece in pieces:
        running.update(piece)
    whole = b"".join(pieces)
    parts = [whole[start : start + part_bytes] for start in range(0, len(whole), part_bytes)]
    assert running.value() == composite_etag(hashlib.md5(part).hexdigest() for part in parts)


@given(st.binary(max_size=32))
def test_base64_round_trip(raw: bytes) -> None:
    assert hex_of(base64_of(raw.hex())) == raw.hex()


async def test_large_bodies_are_digested_in_a_thread() -> None:
    body = bytes(range(256)) * 4096
    assert await digest(body, {"md5"}) == {"md5": hashlib.md5(body).hexdigest()}
