"""A discrete model of one large transfer: listing, planning, scheduling, copying on many workers, and the report.

It says how the parts bound each other, not what a cloud will do on a given day. Times come from `Figures`, which were
measured, and from `Stores`, which hold what vendors document. An object is never modelled on its own but in chunks.

| part | what bounds it |
|---|---|
| plan | one process: pages of both listings, read ahead or not, processor time of each key, a write for each record |
| start | the scheduler begins one task after the other; each task starts a process |
| copy | each worker: the slowest of processor time, round trips in flight and bandwidth; all: the rates of the stores |
| report | one process: processor time of each receipt, records read a few at a time |
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

MAX_BATCHES = 1024
_CHUNK_OBJECTS = 500
_SMALL_BYTES = 64 * 1024
_MANIFEST_ROWS = 1_000
_RECEIPTS_PER_RECORD = 200
_RECORDS_READ_AHEAD = 8
_RETRY_DELAY_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured; docs/scaling.md says where and how.

    Attributes:
        schedule_seconds: Of the scheduler, for each task it begins.
        start_seconds: From then until the task's own code runs.
        copy_cpu_seconds: Of an object of 64 KiB.
        copy_cpu_seconds_per_byte: For each byte beyond those.
    """

    plan_seconds_per_key: float
    schedule_seconds: float
    start_seconds: float
    copy_cpu_seconds: float
    copy_cpu_seconds_per_byte: float = 0.0
    report_seconds_per_receipt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What source and destination allow.

    Attributes:
        rate_share: How much of the documented rate is reached by a client that backs off and tries again.
    """

    page_seconds: float
    page_keys: int = 1_000
    request_seconds: float = 0.04
    reads_per_second: float = math.inf
    writes_per_second: float = math.inf
    rate_share: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be transferred.

    Attributes:
        worker_bytes_per_second: Bandwidth of one worker.
        skew: Standard deviation of the logarithm of a batch's slowness; 0 for batches that are alike.
        retried_share: How many of a batch's attempts end half-way and are made again.
    """

    objects: int
    size_bytes: int
    batch_objects: int = 1_000
    in_flight: int = 128
    worker_bytes_per_second: float = math.inf
    skew: float = 0.0
    retried_share: float = 0.0

    @property
    def batches(self) -> list[int]:
        """The number of objects in each batch."""
        count = min(math.ceil(self.objects / self.batch_objects), MAX_BATCHES)
        share, more = divmod(self.objects, count) if count else (0, 0)
        return [share + (number < more) for number in range(count)]


class RequestRate:
    """Lets so many requests a second through, in the order in which they come.

    Attributes:
        served: When how many requests had been let through.
    """

    def __init__(self, env: simpy.Environment, per_second: float) -> None:
        self._env = env
        self._per_second = per_second
        self._free_at = 0.0
        self.served: list[tuple[float, int]] = []

    def pass_through(self, requests: int) -> float:
        """Return when these requests have been let through."""
        if math.isinf(self._per_second):
            return float(self._env.now)
        self._free_at = max(self._free_at, self._env.now) + requests / self._per_second
        self.served.append((self._free_at, requests))
        return self._free_at


@dataclass(slots=True, kw_only=True)
class Course:
    """How a transfer went.

    Attributes:
        busy_seconds: Of all workers with tasks.
        throttled_seconds: Of those, waiting for a store's rate.
    """

    workers: int
    plan_seconds: float = 0.0
    copy_seconds: float = 0.0
    report_seconds: float = 0.0
    objects_copied: int = 0
    tasks: int = 0
    retries: int = 0
    busy_seconds: float = 0.0
    throttled_seconds: float = 0.0
    reads: list[tuple[float, int]] = field(default_factory=list)
    writes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def total_seconds(self) -> float:
        """From the beginning of the plan to the end of the report."""
        return self.plan_seconds + self.copy_seconds + self.report_seconds


def plan_seconds(work: Work, stores: Stores, figures: Figures, *, read_ahead: bool) -> float:
    """Return how long the plan takes.

    Args:
        read_ahead: Pages of both listings are asked for while others are worked on.
    """
    pages = math.ceil(work.objects / stores.page_keys)
    cpu = work.objects * figures.plan_seconds_per_key
    writes = math.ceil(work.objects / _MANIFEST_ROWS) * stores.request_seconds
    if read_ahead:
        return max(pages * stores.page_seconds, cpu + writes) + stores.page_seconds
    return 2 * pages * stores.page_seconds + cpu + writes


def report_seconds(work: Work, stores: Stores, figures: Figures) -> float:
    """Return how long the report takes: batch after batch, a listing and then its records."""
    return work.objects * figures.report_seconds_per_receipt + sum(
        stores.request_seconds * (1 + math.ceil(objects / _RECEIPTS_PER_RECORD / _RECORDS_READ_AHEAD))
        for objects in work.batches
    )


def object_seconds(work: Work, stores: Stores, figures: Figures) -> float:
    """Return how long one worker takes for an object when many are in flight and no store slows it down."""
    more_bytes = max(work.size_bytes - _SMALL_BYTES, 0)
    cpu = figures.copy_cpu_seconds + more_bytes * figures.copy_cpu_seconds_per_byte
    # It is read, and then written. The asymptotic bounds of a closed queueing network: one processor, and so many
    # objects under way that each takes its time on it and its round trips.
    under_way = (cpu + 2 * stores.request_seconds) / work.in_flight
    return max(cpu, under_way, work.size_bytes / work.worker_bytes_per_second)


def simulate(
    work: Work, stores: Stores, figures: Figures, *, workers: int, read_ahead: bool = True, seed: int = 1
) -> Course:
    """Return how a transfer goes on so many workers, each of which carries out one task at a time."""
    course = Course(workers=workers)
    course.plan_seconds = plan_seconds(work, stores, figures, read_ahead=read_ahead)
    _Copying(work, stores, figures, course, seed=seed).run()
    course.report_seconds = report_seconds(work, stores, figures)
    return course


class _Copying:
    """The mapped tasks of one transfer."""

    def __init__(self, work: Work, stores: Stores, figures: Figures, course: Course, *, seed: int) -> None:
        self._work = work
        self._figures = figures
        self._course = course
        self._seed = seed
        self._object_seconds = object_seconds(work, stores, figures)
        self._env = simpy.Environment()
        self._workers = simpy.Resource(self._env, capacity=course.workers)
        self._scheduler = simpy.Resource(self._env, capacity=1)
        self._reads = RequestRate(self._env, stores.reads_per_second * stores.rate_share)
        self._writes = RequestRate(self._env, stores.writes_per_second * stores.rate_share)

    def run(self) -> None:
        for number, objects in enumerate(self._work.batches):
            self._env.process(self._batch(number, objects))
        self._env.run()
        self._course.copy_seconds = float(self._env.now)
        self._course.reads, self._course.writes = self._reads.served, self._writes.served

    def _batch(self, number: int, objects: int) -> Generator[Any, Any, None]:
        # What a batch meets depends on the batch alone, so that the same befalls it on any number of workers.
        chance = random.Random(self._seed * 1_000_003 + number)  # noqa: S311 - a model
        slowness = math.exp(chance.gauss(-(self._work.skew**2) / 2, self._work.skew)) if self._work.skew else 1.0
        breaks_off = chance.random() < self._work.retried_share
        left = objects
        while left:
            end = left // 2 if breaks_off else 0
            with self._workers.request() as slot:
                yield slot
                yield from self._attempt(left - end, slowness)
            left, breaks_off = end, False
            if left:
                self._course.retries += 1
                yield self._env.timeout(_RETRY_DELAY_SECONDS)

    def _attempt(self, objects: int, slowness: float) -> Generator[Any, Any, None]:
        with self._scheduler.request() as turn:
            yield turn
            yield self._env.timeout(self._figures.schedule_seconds)
        began_at = self._env.now
        self._course.tasks += 1
        yield self._env.timeout(self._figures.start_seconds)
        for first in range(0, objects, _CHUNK_OBJECTS):
            yield from self._chunk(min(_CHUNK_OBJECTS, objects - first), slowness)
        self._course.busy_seconds += self._env.now - began_at

    def _chunk(self, objects: int, slowness: float) -> Generator[Any, Any, None]:
        ready_at = self._env.now + objects * self._object_seconds * slowness
        allowed_at = max(self._reads.pass_through(objects), self._writes.pass_through(objects))
        self._course.throttled_seconds += max(allowed_at - ready_at, 0.0)
        yield self._env.timeout(max(ready_at, allowed_at) - self._env.now)
        self._course.objects_copied += objects
