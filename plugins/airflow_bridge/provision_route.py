"""Puts together what a route has around it, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from airflow_bridge.provision_buckets import S3Bucket, UploadRule
from airflow_bridge.provision_calls import AwsAccount
from airflow_bridge.provision_events import BucketNotification, EventsTopic, TopicSubscription
from airflow_bridge.provision_forwarder import ForwarderFunction, ForwarderPermission
from airflow_bridge.provision_gateway import GatewayAccess, GatewayApi, GatewayKey, GatewayPlan
from airflow_bridge.provision_identity import IdentityNeed, identity_things
from airflow_bridge.provision_queues import DeadLetterQueue, QueuePolicy, RouteQueue, SqsQueueAccess
from airflow_bridge.provision_record import BucketOwnership, CreationRecord
from airflow_bridge.provision_tables import IndexTable
from airflow_bridge.state_location import state_use
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from airflow_bridge.transfer_setup import allowed_uses, uses_of
from skyferry.defaults import Defaults, load_defaults
from skyferry.errors import RequestError
from skyferry.provisioning.access_rights import rights_of
from skyferry.provisioning.forwarder_need import ForwarderNeed
from skyferry.provisioning.route_needs import (
    PlaceNeed,
    QueueNeed,
    RouteNeeds,
    TableNeed,
    mark_of,
    partition_of,
    route_needs,
)
from skyferry.provisioning.shared_documents import filter_text, notification_rule, sending_statement
from skyferry.provisioning.surroundings_plan import Surroundings, Thing, settle
from skyferry.routes import Route, find_route, load_routes

_REQUESTS_AT_ONCE = 2
_PLACE_ORDER = ("state", "source", "destination")
"""The state folder comes first: what is created after it is put on record there."""


def settle_route(
    route_id: str, *, removes: bool, dry_run: bool, with_lambda: bool = False, with_gateway: bool = False
) -> Surroundings:
    """Provide or remove what is around a route; blocks.

    Args:
        with_lambda: Provide the route's Lambda function too; it is always removed.
        with_gateway: Likewise its API Gateway.

    Raises:
        UnknownRouteError: There is no such route.
        RequestError: A function or a gateway is wanted, and the route says nothing about it.
        TransferError: The plan could not be made; nothing was changed.
    """
    route, defaults = find_route(route_id), load_defaults()
    state = state_use(defaults)
    allowed_uses(route.request(), route_uses=uses_of(route.request()), defaults=defaults)
    others = [one for one in load_routes()[0] if one.id != route_id]
    if with_lambda and route.provision.forwarder is None:
        raise RequestError(
            f'route "{route_id}" says nothing about a Lambda function',
            hint="set provision.forwarder in its file, with airflow_url, secret and role",
        )
    if with_gateway and route.provision.gateway is None:
        raise RequestError(
            f'route "{route_id}" says nothing about an API Gateway',
            hint="set provision.gateway in its file, with airflow_url",
        )
    around = _RouteThings(route, others, state=state, defaults=defaults)
    things = [
        *around.all(),
        *(around.forwarder() if with_lambda or removes else ()),
        *(around.gateway() if with_gateway or removes else ()),
    ]
    return settle(things, route=route_id, removes=removes, dry_run=dry_run)


def identity_account(route: Route) -> AwsAccount:
    """Return the account in which the user, group or role of a route is made, with the connection that makes it.

    Raises:
        ConnectionConfigError: There is no such connection, or it is of no use.
        RequestError: The route has no place on AWS.
    """
    defaults = load_defaults()
    return _RouteThings(route, [], state=state_use(defaults), defaults=defaults).identity_account()


@dataclass(frozen=True)
class _RouteThings:
    """The things around one route.

    Attributes:
        others: All other routes, whose things are not removed.
    """

    route: Route
    others: list[Route]
    state: StoreUse
    defaults: Defaults

    @cached_property
    def needs(self) -> RouteNeeds:
        """What the route needs, with the connections that provision in place of its own."""
        needs, stand_ins = self._needs_of(self.route), self.defaults.provision_connections
        index = needs.index
        return replace(
            needs,
            places=tuple(replace(one, conn_id=stand_ins.get(one.conn_id, one.conn_id)) for one in needs.places),
            queues=tuple(replace(one, conn_id=stand_ins.get(one.conn_id, one.conn_id)) for one in needs.queues),
            index=index and replace(index, conn_id=stand_ins.get(index.conn_id, index.conn_id)),
        )

    @cached_property
    def other_needs(self) -> Mapping[str, RouteNeeds]:
        """What the other routes need, by their ids."""
        return {route.id: self._needs_of(route) for route in self.others}

    @cached_property
    def stores(self) -> PreparedStores:
        """What opens the places that are no S3 buckets, and the state folder for the records."""
        plain = [one for one in self.needs.places if one.location.kind in ("az", "file") or one.what == "state"]
        uses = [StoreUse(what=one.what, location=one.location, conn_id=one.conn_id) for one in plain]
        return PreparedStores(
            (*uses, self.state),
            known_connections=self.defaults.connections,
            max_objects_in_flight=_REQUESTS_AT_ONCE,
        )

    @cached_property
    def record(self) -> CreationRecord:
        """What cannot be tagged."""
        return CreationRecord(self.stores, self.state, route_id=self.route.id)

    @cached_property
    def accounts(self) -> dict[str, AwsAccount]:
        """Connection id to what it reaches; filled when one is asked for."""
        return {}

    def all(self) -> Iterator[Thing]:
        """Yield them in the order in which they are provided."""
        for what in _PLACE_ORDER:
            yield self._place(next(one for one in self.needs.places if one.what == what))
        for queue in self.needs.queues:
            if queue.is_consumed:
                yield from self._events(queue)
            else:
                yield self._sent_to(queue)
        destination = next(one for one in self.needs.places if one.what == "destination")
        if destination.location.kind == "s3":
            days = self.route.provision.abandoned_upload_days
            yield UploadRule(self._account(destination), destination, route_id=self.route.id, days=days)
        if self.needs.index is not None:
            yield IndexTable(self.needs.index, route_id=self.route.id, used_by=self._others_indexed(self.needs.index))
        yield from self._identity()

    def _identity(self) -> Iterator[Thing]:
        """Yield who signs in for the route."""
        settings = self.route.provision.identity
        if settings is None:
            return
        account = self.identity_account()
        rights = [one for one in rights_of(self._needs_of(self.route), region=account.region) if one.store == "aws"]
        owner = account.caller()[0]
        strangers = [one for one in settings.trusted if f"::{owner}:" not in one]
        if strangers:
            raise RequestError(
                f'route "{self.route.id}" trusts {strangers[0]}, and its role would be in account {owner}',
                hint="name somebody of that account; let others in by hand. Nothing was changed",
            )
        need = IdentityNeed(
            route_id=self.route.id,
            settings=settings,
            policy_arn=f"arn:{partition_of(account.region)}:iam::{owner}:policy/skyferry/{mark_of(self.route.id)}",
            document={
                "Version": "2012-10-17",
                "Statement": [statement for one in rights for statement in one.document["Statement"]],
            },
            used_by=tuple(one.id for one in self.others if _identity_names(self.route) & _identity_names(one)),
        )
        yield from identity_things(account, need, self.record)

    def identity_account(self) -> AwsAccount:
        """Return the account of the first place of the route that is on AWS."""
        on_aws = [one for one in self.needs.places if one.location.kind == "s3"]
        if not on_aws:
            raise RequestError(
                f'route "{self.route.id}" has provision.identity, and neither source, destination nor state in S3',
                hint="leave it out; nothing was changed",
            )
        return self._account(on_aws[0])

    def forwarder(self) -> Iterator[Thing]:
        """Yield the Lambda function of the route and what leads the bucket's events to it; nothing if it has none."""
        settings, source = self.route.provision.forwarder, self.needs.source
        if settings is None:
            return
        account, mark = self._account(source), mark_of(self.route.id)
        need = ForwarderNeed(route_id=self.route.id, settings=settings, region=account.region, conn_id=source.conn_id)
        yield self._sent_to(need.dead_letters)
        yield ForwarderFunction(account, need)
        bucket_arn = f"arn:{partition_of(account.region)}:s3:::{source.location.bucket}"
        yield ForwarderPermission(account, need, bucket_arn=bucket_arn)
        rule = notification_rule(
            mark, target_arn=need.arn, events=self.needs.event_kinds, prefix=source.location.prefix
        )
        yield BucketNotification(account, source.location.bucket, rule, fed=())

    def gateway(self) -> Iterator[Thing]:
        """Yield the API Gateway through which others ring; nothing if the route has none."""
        settings = self.route.provision.gateway
        if settings is not None:
            access = GatewayAccess(self._account(self.needs.source), self.route.id, settings)
            yield from (GatewayApi(access), GatewayPlan(access), GatewayKey(access))

    def _place(self, need: PlaceNeed) -> Thing:
        if need.location.kind in ("az", "file"):
            return self._plain_place(need)
        ownership = BucketOwnership(
            route_id=self.route.id,
            record=self.record,
            used_by=self._others_in(need),
            holds_state=self.state.location.bucket == need.location.bucket,
        )
        if need.location.kind == "s3":
            return S3Bucket(self._account(need), need, settings=self.route.provision, ownership=ownership)
        from airflow_bridge.provision_places import GcsBucket

        return GcsBucket(need, settings=self.route.provision, ownership=ownership)

    def _plain_place(self, need: PlaceNeed) -> Thing:
        # Imported here, because it pulls in Google's client.
        from airflow_bridge.provision_places import PlainPlace

        return PlainPlace(self.stores, need)

    def _events(self, need: QueueNeed) -> Iterator[Thing]:
        account, used_by = self._account(need), self._others_of(need)
        queue = SqsQueueAccess(account, need, need.name)
        dead_letters = SqsQueueAccess(account, need, need.dead_letter_name)
        yield DeadLetterQueue(dead_letters, queue, route_id=self.route.id, used_by=used_by)
        yield RouteQueue(
            queue,
            need,
            dead_letters=dead_letters,
            max_receives=self.route.provision.max_receives,
            route_id=self.route.id,
            used_by=used_by,
        )
        yield from self._senders(need, queue)

    def _senders(self, need: QueueNeed, queue: SqsQueueAccess) -> Iterator[Thing]:
        """Yield what leads the bucket's events into the queue."""
        source = self.needs.source
        bucket_account = self._account(source)
        mark, region = mark_of(self.route.id), bucket_account.region
        bucket_arn = f"arn:{partition_of(region)}:s3:::{source.location.bucket}"
        owner = bucket_account.caller()[0]
        target_arn, sender, service = queue.arn, bucket_arn, "s3.amazonaws.com"
        if self.route.provision.topic:
            account = self._account(need)
            target_arn = f"arn:{partition_of(region)}:sns:{account.region}:{owner}:{self.route.provision.topic}"
            statement = sending_statement(
                mark, service=service, queue_arn=target_arn, source_arn=bucket_arn, account=owner
            )
            yield EventsTopic(
                account,
                target_arn,
                statement,
                queue_arn=queue.arn,
                route_id=self.route.id,
                used_by=self._others_hearing(),
            )
            yield TopicSubscription(account, target_arn, queue.arn, self.record)
            sender, service = target_arn, "sns.amazonaws.com"
        statement = sending_statement(mark, service=service, queue_arn=queue.arn, source_arn=sender, account=owner)
        yield QueuePolicy(queue, statement)
        rule = notification_rule(
            mark, target_arn=target_arn, events=self.needs.event_kinds, prefix=source.location.prefix
        )
        yield BucketNotification(bucket_account, source.location.bucket, rule, fed=self._others_fed(need))

    def _sent_to(self, need: QueueNeed) -> Thing:
        queue = SqsQueueAccess(self._account(need), need, need.name)
        return RouteQueue(
            queue,
            need,
            dead_letters=None,
            max_receives=self.route.provision.max_receives,
            route_id=self.route.id,
            used_by=self._others_of(need),
        )

    def _account(self, need: PlaceNeed | QueueNeed) -> AwsAccount:
        if need.conn_id not in self.accounts:
            self.accounts[need.conn_id] = AwsAccount(need.conn_id, named_by=f'{need.what} of route "{self.route.id}"')
        return self.accounts[need.conn_id]

    def _needs_of(self, route: Route) -> RouteNeeds:
        return route_needs(route, state=self.state.location, state_conn_id=self.state.conn_id)

    def _others_in(self, need: PlaceNeed) -> tuple[str, ...]:
        """Return the routes with the same bucket; the state folder is everybody's, and counts for nobody."""
        place = (need.location.kind, need.location.bucket)
        return tuple(
            route_id
            for route_id, needs in self.other_needs.items()
            if any((one.location.kind, one.location.bucket) == place for one in needs.places if one.what != "state")
        )

    def _others_of(self, need: QueueNeed) -> tuple[str, ...]:
        return tuple(
            route_id
            for route_id, needs in self.other_needs.items()
            if any(queue.url == need.url for queue in needs.queues)
        )

    def _others_indexed(self, need: TableNeed) -> tuple[str, ...]:
        return tuple(
            route_id
            for route_id, needs in self.other_needs.items()
            if needs.index and (needs.index.name, needs.index.region) == (need.name, need.region)
        )

    def _others_hearing(self) -> tuple[str, ...]:
        return tuple(route.id for route in self.others if route.provision.topic == self.route.provision.topic)

    def _others_fed(self, need: QueueNeed) -> tuple[str, ...]:
        """Return the routes of the same queue whose events this route's rule sends too."""
        source = self.needs.source.location
        return tuple(
            route_id
            for route_id in self._others_of(need)
            for other in (self.other_needs[route_id].source.location,)
            if other.bucket == source.bucket
            and filter_text(other.prefix).startswith(filter_text(source.prefix))
            and self.other_needs[route_id].events_queue is not None
        )


def _identity_names(route: Route) -> set[str]:
    settings = route.provision.identity
    return {settings.user, settings.group, settings.role} - {""} if settings else set()
