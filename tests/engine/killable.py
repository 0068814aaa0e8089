"""Copies one batch in a process of its own, which a test can have killed at a step.

Usage: python -m tests.engine.killable ROOT CONF ATTEMPT
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from skyferry.stages import Batch
from skyferry.state import StateFolder
from skyferry.stores.local import LocalStore
from tests.engine.conftest import Workshop
from tests.engine.meddling import MeddledStore
from tests.killing import steps_around


async def main(root: Path, conf: dict[str, Any], attempt: int) -> None:
    workshop = Workshop(root)
    workshop.wrap_source = lambda store: MeddledStore(
        store, read_range=steps_around("read"), delete_object=steps_around("delete")
    )
    workshop.wrap_destination = lambda store: MeddledStore(store, put_object=steps_around("put"))
    state = StateFolder(LocalStore(workshop.state), "transfer/run=run/")
    plan = (await state.read("plan-0001/plan.json"))[0]
    result = await workshop.copy(Batch.from_json(plan["batches"][0]), attempt=attempt, **conf)
    result.raise_if_failed()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])))
