"""Copies one batch in a process of its own, telling each step it takes on standard output, so that a test can kill it.

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


def telling(step: str) -> Any:
    """Return a meddler that tells before and after a call, and gives the killer a moment."""

    async def meddle(method: Any, *args: Any, **kwargs: Any) -> Any:
        print(f"before {step}", flush=True)
        answer = await method(*args, **kwargs)
        print(f"after {step}", flush=True)
        await asyncio.sleep(0.01)
        return answer

    return meddle


async def main(root: Path, conf: dict[str, Any], attempt: int) -> None:
    workshop = Workshop(root)
    workshop.wrap_source = lambda store: MeddledStore(
        store, read_range=telling("read"), delete_object=telling("delete")
    )
    workshop.wrap_destination = lambda store: MeddledStore(store, put_object=telling("put"))
    state = StateFolder(LocalStore(workshop.state), "transfer/run=run/")
    plan = (await state.read("plan-0001/plan.json"))[0]
    result = await workshop.copy(Batch.from_json(plan["batches"][0]), attempt=attempt, **conf)
    result.raise_if_failed()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])))
