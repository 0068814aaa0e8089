"""Hands an access key of a route's own user to an Airflow connection, so that no key is lost and none is left over.

The library knows no connections. Whoever does (the Airflow bridge) says so as an entry point of the group
`skyferry.access_keys`, a function as `KeysOpener` describes it: as for stores, see `skyferry.storage.opening`.
The secret is in memory between the answer of IAM and the request to Airflow, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from skyferry.errors import (
    AirflowAccessError,
    AirflowRefusedError,
    AirflowUnreachableError,
    RequestError,
    TransferError,
)

if TYPE_CHECKING:
    from skyferry.routes import Route

OPENERS_GROUP = "skyferry.access_keys"
MAX_KEYS = 2
"""IAM gives a user no more: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
_CONN_ID = re.compile(r"[\w.-]{1,200}")
"""As Airflow has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A new key.

    Attributes:
        secret: Not in the text of the object.
        extra: What a new connection needs beside it: region and endpoints of the connection that made it.
    """

    key_id: str
    secret: str = field(repr=False)
    extra: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownConnection:
    """What Airflow tells of a connection.

    Attributes:
        login: Of one for AWS the id of its key.
    """

    login: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedKey:
    """A key that a connection has.

    Attributes:
        deleted: Ids of the keys it took the place of.
    """

    key_id: str
    conn_id: str
    deleted: tuple[str, ...]


class UserKeys(Protocol):
    """The access keys of one route's own user; all methods block and raise `TransferError`s only."""

    user: str

    def all(self) -> dict[str, str]:
        """Return the ids of its keys, and to each the connection it was made for; empty for keys made by others.

        Raises:
            RequestError: There is no such user, or provisioning did not make it for this route.
        """

    def create(self, conn_id: str) -> AccessKey:
        """Make a key and put on record what it is for; if that fails, no key is left."""

    def delete(self, key_id: str) -> None:
        """Delete a key and its record; one that is gone is no error."""


class Connections(Protocol):
    """Airflow's connections, as one login may see and write them."""

    def connection(self, conn_id: str) -> KnownConnection | None:
        """Return a connection; None if there is none."""

    def write_connection(self, conn_id: str, key: AccessKey, *, description: str, is_new: bool) -> None:
        """Create a connection, or give one that is there another key."""


class KeysOpener(Protocol):
    """Reaches the keys of a route's user with the connection that provisions the route."""

    def __call__(self, route: Route) -> UserKeys:
        """Return them; nothing is changed.

        Raises:
            ConnectionConfigError: There is no such connection, or it is of no use.
        """


def open_keys(route: Route) -> UserKeys:
    """Return the keys of the route's user.

    Raises:
        RequestError: The route has no user of its own.
        ConnectionConfigError: Its connection is of no use, or nothing that knows connections is installed.
    """
    # Imported here: the client of Airflow, which takes keys from this module, needs no stores.
    from skyferry.storage.opening import installed

    check_user(route)
    return cast("KeysOpener", installed(OPENERS_GROUP, f'the IAM user of route "{route.id}"'))(route)


def check_user(route: Route) -> None:
    """Raise unless the route names a user.

    Raises:
        RequestError: It names none.
    """
    identity = route.provision.identity
    if identity is None or not identity.user:
        raise RequestError(
            f'route "{route.id}" has no IAM user that could have an access key',
            hint="set provision.identity: {user: NAME} in its file; a role needs no key",
        )


def check_conn_id(conn_id: str) -> None:
    """Raise unless Airflow could have a connection of this id.

    Raises:
        RequestError: It could not.
    """
    if not _CONN_ID.fullmatch(conn_id):
        raise RequestError(
            f'"{conn_id[:200]}" is no id of a connection', hint="expected 1 to 200 letters, digits, dots, dashes and _"
        )


def hand_over(keys: UserKeys, connections: Connections, *, route: str, conn_id: str, replaces: bool) -> HandedKey:
    """Make a key, write it into a connection, and then delete the keys it replaces.

    Args:
        replaces: Give a connection that was written here a new key.

    Raises:
        RequestError: The connection is there, or is somebody else's, or the user has as many keys as IAM allows;
            nothing was changed.
        TransferError: It broke off; the message says which keys there are and what to do.
    """
    check_conn_id(conn_id)
    mark = f"Skyferry: access key of IAM user {keys.user}, route {route}"
    present = connections.connection(conn_id)
    _check_connection(present, conn_id, mark, replaces=replaces)
    before = keys.all()
    old = [key_id for key_id, made_for in before.items() if replaces and made_for == conn_id]
    _make_room(keys, before, [key_id for key_id in old if present is None or key_id != present.login])
    key = keys.create(conn_id)
    try:
        connections.write_connection(conn_id, key, description=mark, is_new=present is None)
    except BaseException as error:
        is_in_place = _settle_failure(keys, connections, key, conn_id, error=error, is_new=present is None)
        if not (is_in_place and isinstance(error, TransferError)):
            raise
    for number, key_id in enumerate(old):
        try:
            keys.delete(key_id)
        except TransferError as error:
            raise type(error)(
                f'connection "{conn_id}" has the new access key {key.key_id}; deleting the old one failed: {error}',
                hint=f"delete {' and '.join(old[number:])} of IAM user {keys.user} by hand",
            ) from None
    return HandedKey(key_id=key.key_id, conn_id=conn_id, deleted=tuple(old))


def _check_connection(present: KnownConnection | None, conn_id: str, mark: str, *, replaces: bool) -> None:
    if present is None:
        return
    if present.description != mark:
        raise RequestError(
            f'connection "{conn_id}" is there, and was not made for this user and route; no key was made',
            hint="choose another id for the connection, or delete that one",
        )
    if not replaces:
        raise RequestError(
            f'connection "{conn_id}" is there already, with the access key {present.login}; no key was made',
            hint="give it a new key with --replace-key, or choose another id",
        )


def _make_room(keys: UserKeys, before: Mapping[str, str], unused: list[str]) -> None:
    """See to it that one more key can be made: of those that no connection has by now, one gives way."""
    if len(before) < MAX_KEYS:
        return
    if not unused:
        raise RequestError(
            f"IAM user {keys.user} has the access keys {' and '.join(before)}, and IAM allows {MAX_KEYS} keys a user; "
            "no key was made",
            hint="delete one that nothing uses any more, and run it again: aws iam delete-access-key --user-name"
            f" {keys.user} --access-key-id ...",
        )
    keys.delete(unused[0])


def _settle_failure(
    keys: UserKeys, connections: Connections, key: AccessKey, conn_id: str, *, error: BaseException, is_new: bool
) -> bool:
    """Return whether Airflow took the key, though the request ended with an error; if not, delete the key.

    Raises:
        TransferError: Airflow did not take it, or does not say: what there is now, and what to do.
    """
    has_key = _has_key(connections, key, conn_id, error)
    if has_key:
        return True
    cause = error if isinstance(error, TransferError) else type(error).__name__
    if has_key is None and not is_new:
        raise AirflowUnreachableError(
            f'whether connection "{conn_id}" has the new access key {key.key_id} of IAM user {keys.user} by now is not '
            f"known: {cause}. The new key and the old one both work",
            hint="run the command again: with --replace-key it also deletes the key that is not used",
        ) from None
    try:
        keys.delete(key.key_id)
    except TransferError as left:
        raise type(left)(
            f'connection "{conn_id}" was not written: {cause}. Its access key {key.key_id} of IAM user {keys.user} is '
            f"left, because deleting it failed: {left}",
            hint=f"aws iam delete-access-key --user-name {keys.user} --access-key-id {key.key_id}",
        ) from None
    if isinstance(error, TransferError):
        dead = f'. If Airflow did make connection "{conn_id}", its key is dead: use --replace-key'
        raise type(error)(
            f'connection "{conn_id}" was not written: {error}. The access key {key.key_id} that was made for it is '
            f"deleted again{dead if has_key is None else ''}"
        ) from None
    return False


def _has_key(connections: Connections, key: AccessKey, conn_id: str, error: BaseException) -> bool | None:
    """Tell whether a connection has this key; None if Airflow does not say."""
    if isinstance(error, AirflowRefusedError | AirflowAccessError):
        return False
    try:
        found = connections.connection(conn_id)
    except TransferError:
        return None
    return found is not None and found.login == key.key_id
