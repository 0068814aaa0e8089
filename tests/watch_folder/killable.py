"""Runs one transfer of a dock in a process of its own, which a test can have killed at a step.

Usage: python -m tests.watch_folder.killable ENDPOINT ROOT NAME RUN_ID HANDOVER
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from skyferry import claim
from skyferry.notify.outgoing_queue import OutgoingQueue
from skyferry.stores import local_moves
from tests.engine.meddling import MeddledStore
from tests.killing import steps_around, take
from tests.watch_folder.dock import Dock


class SteppedQueue(OutgoingQueue):
    async def send(self, bodies: Any) -> Any:
        return await steps_around("message")(super().send, bodies)


def step_moves(step: str, module: Any) -> None:
    move = module.move

    def stepped_move(source: int, name: str, target: int, new_name: str) -> None:
        is_step = not name.startswith(".skyferry-")
        if is_step:
            take(f"before {step}")
        move(source, name, target, new_name)
        if is_step:
            take(f"after {step}")

    module.move = stepped_move


async def main(endpoint: str, root: Path, name: str, run_id: str, handover: dict[str, Any]) -> None:
    dock = Dock(endpoint, root, name)
    dock.handover |= handover
    dock.wrap_destination = lambda store: MeddledStore(store, put_object=steps_around("put"))
    dock.wrap_queue = lambda queue: SteppedQueue(queue._client, queue.url)
    step_moves("claim", claim)
    step_moves("done", local_moves)
    await dock.run(run_id, max_objects_in_flight=4, batch_objects=10)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], json.loads(sys.argv[5])))
