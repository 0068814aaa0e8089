"""Reaches the access keys of a route's user for programs outside a DAG run, by Airflow's connections.

It is the entry point `airflow` of the group `skyferry.access_keys`; see `airflow_bridge.connected_stores`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_bridge.connected_stores import settle_process
from skyferry.routes import Route

if TYPE_CHECKING:
    from airflow_bridge.provision_keys import RouteUserKeys


def open_user_keys(route: Route) -> RouteUserKeys:
    """Return the keys of a route's user; a `skyferry.provisioning.access_keys.KeysOpener`.

    Costs the import of Airflow and of its providers, some seconds, the first time.

    Raises:
        ConnectionConfigError: There is no such connection, or it is of no use for AWS.
        RequestError: The route has no place on AWS.
    """
    settle_process()
    from airflow_bridge.provision_keys import RouteUserKeys
    from airflow_bridge.provision_route import identity_account

    identity = route.provision.identity
    assert identity is not None
    return RouteUserKeys(identity_account(route), user=identity.user, route_id=route.id)
