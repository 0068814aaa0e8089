"""Finds out what a route may do in its places and with its queues, with the connections that its transfers use."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from airflow_bridge.transfer_setup import allowed_uses, uses_of
from skyferry.defaults import load_defaults
from skyferry.doctor.findings import (
    Diagnosis,
    Finding,
    Outcome,
    State,
    finding_of_index,
    finding_of_place,
    finding_of_queue,
)
from skyferry.doctor.place_probes import probe_place
from skyferry.errors import TransferError
from skyferry.provisioning.abilities import Ability, abilities_of, index_rights, queue_abilities
from skyferry.provisioning.route_needs import PlaceNeed, QueueNeed, TableNeed, partition_of, route_needs
from skyferry.routes import find_route

if TYPE_CHECKING:
    from airflow_bridge.sqs_access import SqsAccess

_REQUESTS_AT_ONCE = 2

RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end; see `airflow_bridge.stage_runner.StageRunner`."""


def examine_route(route_id: str, run: RunCoroutine) -> Diagnosis:
    """Return what was found about a route; blocks, for a dozen requests to each place.

    Raises:
        UnknownRouteError: There is no such route.
        TransferError: The route may not use its places.
    """
    route, defaults = find_route(route_id), load_defaults()
    state = state_use(defaults)
    allowed_uses(route.request(), route_uses=uses_of(route.request()), defaults=defaults)
    needs = route_needs(route, state=state.location, state_conn_id=state.conn_id)
    region = route.provision.region or next((queue.region for queue in needs.queues), "")
    examiner = _Examiner(run, partition=partition_of(region), region=region)
    findings = [one for place in needs.places for one in examiner.of_place(place)]
    findings += [one for queue in needs.queues for one in examiner.of_queue(queue)]
    findings += [one for table in (needs.index,) if table is not None for one in examiner.of_index(table)]
    return Diagnosis.of(route_id, findings)


class _Examiner:
    def __init__(self, run: RunCoroutine, *, partition: str, region: str) -> None:
        self._run = run
        self._partition = partition
        self._region = region

    def of_place(self, place: PlaceNeed) -> Iterator[Finding]:
        """Yield the findings about a place, in the order of its abilities."""
        abilities = abilities_of(place)
        try:
            outcomes = self._probe_place(place)
        except TransferError as error:
            outcomes = _unreachable(abilities, error)
        for ability in abilities:
            yield finding_of_place(place, ability, outcomes[ability], partition=self._partition)

    def _probe_place(self, place: PlaceNeed) -> Mapping[Ability, Outcome]:
        use = StoreUse(what=place.what, location=place.location, conn_id=place.conn_id)
        stores = PreparedStores([use], known_connections=(), max_objects_in_flight=_REQUESTS_AT_ONCE)

        async def probe() -> Mapping[Ability, Outcome]:
            async with stores(place.location, place.conn_id) as store:
                return await probe_place(store, place)

        outcomes: Mapping[Ability, Outcome] = self._run(probe())
        return outcomes

    def of_queue(self, queue: QueueNeed) -> Iterator[Finding]:
        """Yield the findings about a queue, and about its dead-letter queue."""
        from skyferry.doctor.queue_probes import NOT_SENT

        dead_letter_arn = ""
        if queue.is_consumed:
            outcomes, dead_letter_arn = self._probe_queue(queue)
        else:
            outcomes = {Ability.SEND: NOT_SENT}
        for ability, outcome in outcomes.items():
            is_of_dead_letters = ability in (Ability.FIND_DEAD_LETTERS, Ability.SEND_DEAD_LETTERS)
            arn = dead_letter_arn if is_of_dead_letters else queue.arn(region=self._region)
            yield finding_of_queue(queue, ability, outcome, arn=arn)

    def of_index(self, table: TableNeed) -> Iterator[Finding]:
        """Yield the findings about the table of an index."""
        from airflow_bridge.doctor_index import probe_index

        try:
            outcomes = probe_index(table)
        except TransferError as error:
            outcomes = _unreachable(tuple(index_rights()), error)
        for ability, outcome in outcomes.items():
            yield finding_of_index(table, ability, outcome, arn=table.arn(region=self._region))

    def _probe_queue(self, queue: QueueNeed) -> tuple[Mapping[Ability, Outcome], str]:
        from airflow_bridge.sqs_access import SqsAccess
        from skyferry.doctor.queue_probes import probe_queue

        async def probe(access: SqsAccess) -> tuple[Mapping[Ability, Outcome], str]:
            async with access.open() as opened:
                return await probe_queue(opened, is_created=queue.creates)

        try:
            found: tuple[Mapping[Ability, Outcome], str] = self._run(probe(SqsAccess(queue.url, conn_id=queue.conn_id)))
        except TransferError as error:
            return _unreachable(queue_abilities(queue), error), ""
        return found


def _unreachable(abilities: tuple[Ability, ...], error: TransferError) -> Mapping[Ability, Outcome]:
    """Return what is known where not even the connection is as it must be."""
    unknown = Outcome(state=State.NOT_CHECKED, why="its connection is of no use")
    failed = Outcome(state=State.FAILED, why=str(error))
    return dict.fromkeys(abilities, unknown) | {abilities[0]: failed}
