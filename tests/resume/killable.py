"""Copies in a process of its own, whose reads of the source hang from some part on, so that a test can kill it.

Usage: python -m tests.resume.killable ROOT KIND ENDPOINT BUCKET PARTS
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from skyferry.objects import ObjectInfo
from skyferry.stages import Batch, copy_batch
from tests.engine.meddling import MeddledStore
from tests.resume.harbour import PART_BYTES, Harbour


def hanging_after(parts: int) -> Any:
    """Return a meddler under which so many parts can be read, and no other."""

    async def meddle(method: Any, info: ObjectInfo, start_byte: int, size_bytes: int) -> Any:
        if start_byte >= parts * PART_BYTES:
            await asyncio.Event().wait()
        return await method(info, start_byte, size_bytes)

    return meddle


async def main(harbour: Harbour, parts: int) -> None:
    harbour.wrap_source = lambda store: MeddledStore(store, read_range=hanging_after(parts))
    (text,) = (harbour.state / "transfer/run=run/plan-0001/plan.json").read_text().splitlines()
    plan = json.loads(text)
    (batch,) = plan["batches"]

    await copy_batch(Batch.from_json(batch), attempt=1, **harbour.arguments("run"))


if __name__ == "__main__":
    made = Harbour(Path(sys.argv[1]), kind=sys.argv[2], endpoint=sys.argv[3], bucket=sys.argv[4])
    asyncio.run(main(made, int(sys.argv[5])))
