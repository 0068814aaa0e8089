"""Budgets of a run: it ends cleanly, says what is left, and repeated runs finish the whole without copying twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from skyferry.report import Report
from tests.engine.conftest import Workshop
from tests.engine.meddling import MeddledStore


def fill(workshop: Workshop, count: int = 10, size_bytes: int = 100) -> None:
    for number in range(count):
        workshop.put(f"{number:02d}", b"x" * size_bytes)


@pytest.fixture
def writes(workshop: Workshop) -> Counter[str]:
    """How often each key was written at the destination."""
    counts: Counter[str] = Counter()

    async def put_object(method: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        counts[key] += 1
        return await method(key, *args, **kwargs)

    workshop.wrap_destination = lambda store: MeddledStore(store, put_object=put_object)
    return counts


def numbers(report: Report) -> tuple[str, str, int, int]:
    return report.state, report.budget_reached, report.objects_copied, report.skipped_by_reason.get("budget", 0)


@pytest.mark.parametrize(
    ("budget", "reached", "in_one_run"), [({"max_objects": 4}, "objects", 4), ({"max_bytes": 350}, "bytes", 3)]
)
@pytest.mark.parametrize("moves", [False, True])
async def test_repeated_runs_finish_the_whole_and_copy_nothing_twice(
    workshop: Workshop, writes: Counter[str], budget: dict[str, int], reached: str, in_one_run: int, moves: bool
) -> None:
    fill(workshop)
    left = 10
    while left > in_one_run:
        report = await workshop.run(f"run-{left}", copy=not moves, **budget)
        left -= in_one_run
        assert numbers(report) == ("success", reached, in_one_run, left)
        assert f"budget of {reached} reached" in report.headline
        assert f"{left} left for the next run" in report.headline
        assert len(workshop.tree(workshop.destination)) == 10 - left
        assert len(workshop.tree(workshop.source)) == (left if moves else 10)
    report = await workshop.run("last", copy=not moves, **budget)
    assert numbers(report) == ("success", "", left, 0)
    assert writes == Counter({f"{number:02d}": 1 for number in range(10)})


async def test_what_is_identical_costs_no_budget(workshop: Workshop) -> None:
    fill(workshop)
    await workshop.run("all")
    workshop.put("99", b"new")
    assert numbers(await workshop.run("next", max_objects=1)) == ("success", "", 1, 0)


async def test_an_object_larger_than_the_budget_is_copied_alone(workshop: Workshop) -> None:
    fill(workshop, count=3, size_bytes=1000)
    assert numbers(await workshop.run(max_bytes=10)) == ("success", "bytes", 1, 2)


async def test_planning_again_does_not_copy_more(workshop: Workshop) -> None:
    fill(workshop)
    await workshop.run(max_objects=4)
    again = await workshop.run(max_objects=4)
    assert numbers(again) == ("success", "objects", 4, 6)
    assert len(workshop.tree(workshop.destination)) == 4


async def test_time_that_is_up_leaves_the_rest(workshop: Workshop) -> None:
    fill(workshop)
    report = await workshop.run(max_seconds=60)  # the workshop's runs began long ago
    assert numbers(report) == ("success", "seconds", 0, 10)
    assert workshop.tree(workshop.destination) == {}
    # Whoever clears the task, with more time or a later start of the run, has the rest copied.
    plan = await workshop.plan("other", max_seconds=60)
    await workshop.copy(plan.batches[0], "other", max_seconds=60)
    result = await workshop.copy(plan.batches[0], "other", attempt=2)
    assert result.counts["copied"] == 10
    assert numbers(await workshop.report("other")) == ("success", "", 10, 0)


async def test_a_move_keeps_what_its_budget_leaves(workshop: Workshop) -> None:
    fill(workshop)
    await workshop.run(copy=False, max_seconds=60)
    assert len(workshop.tree(workshop.source)) == 10


async def test_the_largest_objects_come_first(workshop: Workshop) -> None:
    for number in range(10):
        workshop.put(f"{number}", b"x" * number)
    await workshop.run(order="largest_first", max_objects=3)
    assert set(workshop.tree(workshop.destination)) == {"7", "8", "9"}
    await workshop.run("next", order="smallest_first", max_objects=3)
    assert set(workshop.tree(workshop.destination)) == {"0", "1", "2", "7", "8", "9"}


async def test_a_dry_run_shows_what_the_budget_leaves(workshop: Workshop) -> None:
    fill(workshop)
    plan = await workshop.plan(dry_run=True, max_objects=4)
    assert (plan.totals["objects_to_copy"], plan.totals["skipped_by_reason"]) == (4, {"budget": 6})


async def test_a_capped_transfer_has_few_batches_and_each_has_its_share(workshop: Workshop) -> None:
    fill(workshop, count=30)
    plan = await workshop.plan(batch_objects=1, max_bytes_per_second="10M")
    assert [batch.batches for batch in plan.batches] == [8] * 8
    assert sum(batch.objects for batch in plan.batches) == 30
    report = await workshop.run("other", batch_objects=1, max_requests_per_second=1000)
    assert report.objects_copied == 30
