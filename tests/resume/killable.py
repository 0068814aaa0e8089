"""Copies in a process of its own, whose reads of the source hang from some part on, so that a test can kill it.

Usage: python -m tests.resume.killable ROOT KIND ENDPOINT BUCKET PARTS [UNTIL]
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


def hanging_after(parts: int, until: Path | None) -> Any:
    """Return a meddler under which so many parts can be read, and no other until a file appears."""

    async def meddle(method: Any, info: ObjectInfo, start_byte: int, size_bytes: int) -> Any:
        if start_byte >= parts * PART_BYTES:
            while until is None or not await asyncio.to_thread(until.exists):  # noqa: ASYNC110 - nobody sets one
                await asyncio.sleep(0.05)
        return await method(info, start_byte, size_bytes)

    return meddle


async def main(harbour: Harbour, parts: int, until: Path | None) -> None:
    harbour.wrap_source = lambda store: MeddledStore(store, read_range=hanging_after(parts, until))
    (text,) = (harbour.state / "transfer/run=run/plan-0001/plan.json").read_text().splitlines()
    plan = json.loads(text)
    (batch,) = plan["batches"]

    result = await copy_batch(Batch.from_json(batch), attempt=1, **harbour.arguments("run"))
    result.raise_if_failed()


if __name__ == "__main__":
    made = Harbour(Path(sys.argv[1]), kind=sys.argv[2], endpoint=sys.argv[3], bucket=sys.argv[4])
    asyncio.run(main(made, int(sys.argv[5]), Path(sys.argv[6]) if len(sys.argv) > 6 else None))
