"""Puts the object that a doctor sends through a route, and removes it again, with the connections of its transfers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from airflow_bridge.route_doctor import RunCoroutine
from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from airflow_bridge.transfer_setup import allowed_uses, uses_of
from skyferry.defaults import load_defaults
from skyferry.doctor.findings import Finding, Outcome, finding_of_place
from skyferry.doctor.flow_probe import FlowProbe, flow_probe, put_probe, remove_probe
from skyferry.doctor.flow_report import ProbeSent
from skyferry.doctor.place_probes import ask_to_put
from skyferry.errors import TransferError
from skyferry.provisioning.abilities import Ability
from skyferry.provisioning.route_needs import PlaceNeed, partition_of, route_needs
from skyferry.routes import Route, find_route
from skyferry.stores.base import Store

PUT, REMOVE = "put", "remove"
_REQUESTS_AT_ONCE = 2
_Result = TypeVar("_Result")


def send_flow_probe(route_id: str, token: str, *, action: str, run: RunCoroutine) -> ProbeSent:
    """Put or remove the object of a token; blocks, for a few requests to source and destination.

    Raises:
        UnknownRouteError: There is no such route.
        RequestError: The route takes no object that could be sent; nothing was written.
        TransferError: The route may not use its places, or the object could not be written.
    """
    sender = _Sender(find_route(route_id), token, run)
    return sender.put() if action == PUT else sender.remove()


class _Sender:
    def __init__(self, route: Route, token: str, run: RunCoroutine) -> None:
        defaults = load_defaults()
        state = state_use(defaults)
        request = route.request()
        allowed_uses(request, route_uses=uses_of(request), defaults=defaults)
        needs = route_needs(route, state=state.location, state_conn_id=state.conn_id)
        self._source, self._destination = (
            next(place for place in needs.places if place.what == what) for what in ("source", "destination")
        )
        self._partition = partition_of(route.provision.region)
        self._probe: FlowProbe = flow_probe(token, request.object_filter)
        self._run = run
        self._about = ProbeSent(
            route=route.id,
            action="",
            key=self._key(self._source),
            data=self._probe.relative_key,
            source=self._at(self._source, _url),
            copy=self._at(self._destination, _url),
            schedule=route.schedule or "",
            detect=route.detect.kind if route.detect else "",
        )

    def put(self) -> ProbeSent:
        about = replace(self._about, action=PUT)
        wrong = [*self._wrong(self._source), *self._wrong(self._destination)]
        if wrong:
            return replace(about, findings=tuple(wrong), problem="nothing was written: the probe could not be removed")
        began = time.monotonic()
        try:
            self._at(self._source, lambda store, key: put_probe(store, key, self._probe.body))
        except TransferError as error:
            # It may have been written all the same, and the answer lost.
            return replace(self.remove(), action=PUT, state="failed", problem=f"the probe was not put: {error}")
        seconds = round(time.monotonic() - began, 3)
        return replace(about, state="success", seconds=seconds, written_at=datetime.now(UTC).isoformat())

    def remove(self) -> ProbeSent:
        removed, left = [], []
        for place, url in ((self._source, self._about.source), (self._destination, self._about.copy)):
            try:
                if self._at(place, lambda store, key: remove_probe(store, key, self._probe.body)):
                    removed.append(url)
            except TransferError as error:
                left.append(f"{url}: {error}")
        state = "failed" if left else "success"
        return replace(self._about, action=REMOVE, state=state, removed=tuple(removed), left=tuple(left))

    def _wrong(self, place: PlaceNeed) -> list[Finding]:
        """Return what keeps a probe from a place that it has to leave again, whatever the route's own objects do."""
        place = replace(place, deletes=True)

        async def ask(store: Store, key: str) -> Mapping[Ability, Outcome]:
            return await ask_to_put(store, place)

        outcomes = self._at(place, ask)
        findings = (
            finding_of_place(place, ability, outcome, partition=self._partition)
            for ability, outcome in outcomes.items()
        )
        return [replace(one, then="no probe can be sent") for one in findings if one.is_wrong]

    def _key(self, place: PlaceNeed) -> str:
        return place.location.prefix + self._probe.relative_key

    def _at(self, place: PlaceNeed, work: Callable[[Store, str], Awaitable[_Result]]) -> _Result:
        use = StoreUse(what=place.what, location=place.location, conn_id=place.conn_id)
        stores = PreparedStores([use], known_connections=(), max_objects_in_flight=_REQUESTS_AT_ONCE)

        async def do() -> _Result:
            async with stores(place.location, place.conn_id) as store:
                return await work(store, self._key(place))

        result: _Result = self._run(do())
        return result


async def _url(store: Store, key: str) -> str:
    return store.url(key)
