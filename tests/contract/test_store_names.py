"""Every key of the corpus of hostile names either arrives exactly in every store or is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from skyferry.keys import refusal
from tests.contract.conftest import Subject

# What the emulators themselves cannot hold, though the services can.
_BEYOND_EMULATOR = {
    "s3": lambda key: any(character in key for character in "\r\n"),
    "az": lambda key: False,
    "gs": lambda key: False,
    "file": lambda key: False,
}


async def test_every_acceptable_key_of_the_corpus_arrives_exactly(subject: Subject, corpora: Path) -> None:
    entries = json.loads((corpora / "object-keys" / "keys.json").read_text(encoding="utf-8"))["keys"]
    kind = subject.store.kind
    keys = [entry["key"] for entry in entries if entry.get("key") is not None]
    accepted = [key for key in dict.fromkeys(keys) if not refusal(key, kind) and not _BEYOND_EMULATOR[kind](key)]
    assert len(accepted) > 100
    wrong = []
    for number, key in enumerate(accepted):
        place = await _empty_place(subject, number)
        await place.put(key, key.encode())
        found = await place.store.stat(key)
        if (
            found is None
            or await place.keys() != [key]
            or await place.content(key) != key.encode()
            or not await place.store.delete_object(found)
        ):
            wrong.append(key)
    assert wrong == []


async def _empty_place(subject: Subject, number: int) -> Subject:
    """Return a folder of its own for local keys, since the folders of one key stay and may bear the name of another."""
    if subject.store.kind != "file":
        return subject
    place = replace(subject, store=subject.open(f"names-{number}"))
    await place.store.create_bucket()
    return place
