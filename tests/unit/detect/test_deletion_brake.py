"""The brake on mirrored deletions counts what is given back, whenever that happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skyferry.detect.deletion_brake import DeletionBrake
from skyferry.state import StateFolder
from skyferry.stores.local import LocalStore


async def admitted(brake: DeletionBrake) -> int:
    count = 0
    while await brake.admit():
        count += 1
    return count


async def test_two_consumers_share_what_may_be_deleted(tmp_path: Path) -> None:
    state = StateFolder(LocalStore(tmp_path), "")
    first, second = (DeletionBrake(state, "deletes/", max_deletes=250) for _ in range(2))
    taken = sum([await brake.admit() for brake in (first, second) * 50])
    assert (taken, await admitted(first) + await admitted(second)) == (100, 150)


async def test_what_is_given_back_while_a_share_is_taken_is_not_lost(tmp_path: Path) -> None:
    class GivesBack(StateFolder):
        async def claim(self, name: str, row: Mapping[str, Any]) -> bool:
            if name.endswith("00001.ndjson"):
                brake.give_back()
            return await super().claim(name, row)

    brake = DeletionBrake(GivesBack(LocalStore(tmp_path), ""), "deletes/", max_deletes=250)
    assert await admitted(brake) == 251, "one of them was given back"
