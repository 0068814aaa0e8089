"""Which routes read the same queue, and so share its consumers: one group for each queue, however many routes name it.

A message belongs to whoever receives it first, so the routes of a queue cannot each have consumers of their own; and
what holds for the consumers (`detect`, and when they run) has to be the same in all of these routes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skyferry.route_schedule import EVENT

if TYPE_CHECKING:
    from skyferry.route_detection import DetectQueue
    from skyferry.routes import Route

_DIGEST_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueGroup:
    """One queue and the routes that read it.

    Attributes:
        name: The queue's name; with a digest of its URL when another queue has the same name.
        routes: In the order of their ids, at least one.
    """

    name: str
    detect: DetectQueue
    conn_id: str
    routes: tuple[Route, ...]

    @property
    def route_ids(self) -> tuple[str, ...]:
        """The ids of the routes."""
        return tuple(route.id for route in self.routes)

    @property
    def worker_queue(self) -> str:
        """The Celery queue of its tasks; empty for the default one."""
        return self.routes[0].worker_queue

    @property
    def pool(self) -> str:
        """The pool of its consumers; empty for the default one."""
        return self.routes[0].pool

    @property
    def schedule(self) -> str | None:
        """When the queue is consumed."""
        return self.routes[0].schedule

    @property
    def backstop(self) -> str:
        """When it is consumed although nothing was noticed; see `schedule`."""
        return self.routes[0].backstop


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two routes that read one queue and do not say the same about it.

    Attributes:
        route: The one that is left out.
        agreed: The one that comes first.
        field: The field of `route` that differs.
        text: What differs, for people.
    """

    route: Route
    agreed: Route
    field: str
    text: str


def group_by_queue(routes: Iterable[Route]) -> tuple[list[QueueGroup], list[Disagreement]]:
    """Return the groups, in the order of their queues' URLs, and the routes that fit into none.

    The first route of a queue, in the order of ids, says what holds for the queue.
    """
    by_url: dict[str, list[Route]] = {}
    disagreements: list[Disagreement] = []
    for route in sorted(routes, key=lambda each: each.id):
        if route.queue is None:
            continue
        members = by_url.setdefault(route.queue.queue_url, [])
        difference = _difference(members[0], route) if members else None
        if difference is None:
            members.append(route)
        else:
            disagreements.append(difference)
    uses = Counter(url.rpartition("/")[2] for url in by_url)
    return [_group(by_url[url], uses) for url in sorted(by_url)], disagreements


def _group(routes: list[Route], uses: Counter[str]) -> QueueGroup:
    detect = routes[0].queue
    assert detect is not None
    name = detect.queue_name
    if uses[name] > 1:
        name += "_" + hashlib.sha256(detect.queue_url.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return QueueGroup(name=name, detect=detect, conn_id=routes[0].queue_conn_id, routes=tuple(routes))


def _difference(agreed: Route, route: Route) -> Disagreement | None:
    there, here = _shared_values(agreed), _shared_values(route)
    for name, value in there.items():
        if here[name] != value:
            text = f'{name} is "{here[name]}" here and "{value}" in {agreed.id}.yaml, which reads the same queue'
            return Disagreement(route=route, agreed=agreed, field=name, text=text)
    return None


def _shared_values(route: Route) -> dict[str, object]:
    """Return what has to be the same in all routes of a queue, by the name of the field in a route file."""
    detect = route.queue
    assert detect is not None
    values: dict[str, object] = {f"detect.{name}": value for name, value in detect.model_dump().items()}
    values["detect.conn_id"] = route.queue_conn_id
    values["queue"] = route.worker_queue
    values["pool"] = route.pool
    values["schedule"] = route.schedule or "none"
    values["backstop"] = route.backstop if route.schedule == EVENT else ""
    return values
