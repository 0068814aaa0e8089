"""kill -9 at every kind of step: what is visible is whole, and the retry finishes with the same counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyferry.object_transfer import SMALL_OBJECT_BYTES
from tests.engine.conftest import Workshop
from tests.killing import NEVER, killed_at

LARGE = bytes(range(251)) * (3 * SMALL_OBJECT_BYTES // 251)


def copy_until(workshop: Workshop, conf: dict[str, Any], attempt: int, *, step: str, times: int = 1) -> bool:
    """Run the batch in its own process and kill it at the given step; return whether it was killed."""
    arguments = (str(workshop.source.parent), json.dumps(conf), str(attempt))
    return killed_at("tests.engine.killable", *arguments, step=step, times=times)


WRITING = [("before put", 1), ("after put", 7), ("before read", 3), ("after read", 3)]
DELETING = [("before delete", 1), ("after delete", 9)]


@pytest.mark.parametrize(
    ("copy", "step", "times"),
    [(True, *step) for step in WRITING] + [(False, *step) for step in WRITING + DELETING],
)
async def test_killed_and_tried_again(workshop: Workshop, copy: bool, step: str, times: int) -> None:
    expected = {f"folder/{number:03d}": f"content {number}".encode() for number in range(40)} | {"large": LARGE}
    for key, body in expected.items():
        workshop.put(key, body)
    conf = {"copy": copy, "max_objects_in_flight": 4}
    await workshop.plan(**conf)

    assert copy_until(workshop, conf, 1, step=step, times=times), "it was to be killed before it was done"
    arrived = {key: body for key, body in workshop.tree(workshop.destination).items() if ".skyferry-" not in key}
    left = workshop.tree(workshop.source)
    assert all(expected[key] == body for key, body in arrived.items()), "half an object was visible"
    assert all(key in left or key in arrived for key in expected), "an object was nowhere"

    assert not copy_until(workshop, conf, 2, step=NEVER)
    report = await workshop.report(**conf)
    arrived = {key: body for key, body in workshop.tree(workshop.destination).items() if ".skyferry-" not in key}
    assert arrived == expected
    assert workshop.tree(workshop.source) == (expected if copy else {})
    assert (report.objects_copied, report.objects_planned, report.state) == (41, 41, "success")
    assert report.objects_deleted_at_source == (0 if copy else 41)
