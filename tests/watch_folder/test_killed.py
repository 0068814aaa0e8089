"""kill -9 at every step of a watch folder's transfer: no file and no message is lost, and the next run finishes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyferry.detect.s3_events import parse_message
from tests.killing import killed_at
from tests.watch_folder.dock import Dock, tree

FILES = {f"{number % 3}/file {number}.csv": f"content {number}".encode() for number in range(25)}
SAME, OTHER = "run", "another run"
STEPS = [
    ("before claim", 1, OTHER), ("after claim", 12, SAME), ("after claim", 25, OTHER), ("before put", 1, SAME),
    ("after put", 7, OTHER), ("after put", 7, SAME), ("before message", 1, OTHER), ("after message", 1, SAME),
    ("before done", 1, OTHER), ("after done", 6, SAME), ("after done", 6, OTHER), ("after done", 25, SAME),
]  # fmt: skip
"""Where to kill, at the how-manieth time, and who comes next: the same run, tried again, or another one."""


def run_until(dock: Dock, run_id: str, step: str, times: int, handover: dict[str, Any]) -> bool:
    """Run the transfer in its own process and kill it at the given step; return whether it was killed."""
    arguments = (dock.yard.endpoint, str(dock.root), dock.name, run_id, json.dumps(handover))
    return killed_at("tests.watch_folder.killable", *arguments, step=step, times=times)


@pytest.mark.parametrize(("step", "times", "next_run"), STEPS)
async def test_killed_and_run_again(dock: Dock, step: str, times: int, next_run: str) -> None:
    for key, body in FILES.items():
        dock.drop(key, body)

    assert run_until(dock, "run", step, times, {}), "it was to be killed before it was done"
    await expect_nothing_lost(dock)

    await dock.run(next_run, attempt=2)
    await expect_all_through(dock)


@pytest.mark.parametrize("times", [1, 2, 20])
async def test_killed_while_marked_files_are_claimed(dock: Dock, times: int) -> None:
    for key, body in FILES.items():
        dock.drop(key, body)
        dock.drop(f"{key}.done", b"")
    dock.handover["done_suffix"] = ".done"

    assert run_until(dock, "run", "after claim", times, {"done_suffix": ".done"})
    moved = {**tree(dock.watched), **tree(dock.claimed)}
    assert {key: body for key, body in moved.items() if not key.endswith(".done")} == FILES

    await dock.run("another run")
    await expect_all_through(dock)


async def expect_nothing_lost(dock: Dock) -> None:
    """Every file is in one of the folders, and those in the last one are stored and told of."""
    folders = [tree(folder) if folder.exists() else {} for folder in (dock.watched, dock.claimed, dock.done)]
    everywhere = [item for folder in folders for item in folder.items()]
    assert len(everywhere) == len(FILES)
    assert dict(everywhere) == FILES
    stored = await dock.stored()
    assert all(stored[f"in/{key}"] == body for key, body in folders[2].items())
    async with dock.yard.client("sqs") as sqs:
        answer = await sqs.get_queue_attributes(QueueUrl=dock.yard.queue_url, AttributeNames=["All"])
        assert int(answer["Attributes"]["ApproximateNumberOfMessages"]) >= len(folders[2])


async def expect_all_through(dock: Dock) -> None:
    assert (tree(dock.watched), tree(dock.claimed), tree(dock.done)) == ({}, {}, FILES)
    assert await dock.stored() == {f"in/{key}": body for key, body in FILES.items()}
    told = [record for body in await dock.messages() for record in parse_message(body).records]
    assert {record.key for record in told} == {f"in/{key}" for key in FILES}
