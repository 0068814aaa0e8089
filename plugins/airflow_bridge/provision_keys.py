"""Access keys of the IAM user that was made for a route, and the record of what each is for.

IAM cannot tag a key, so the user is tagged with the ids of its keys. Secrets pass through and are logged nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.config import Config

from airflow_bridge.provision_calls import TALKATIVE, AwsAccount, ask, ask_if_there
from airflow_bridge.silenced_loggers import silenced
from airflow_bridge.transfer_connections import find_connection_of_type
from skyferry.errors import ConnectionLostError, RequestError, TransferError
from skyferry.provisioning.access_keys import AccessKey
from skyferry.provisioning.route_needs import MARK_TAG

_KEY_TAG = "skyferry:access-key/"
_MISSING = ("NoSuchEntity",)
_ONCE = Config(retries={"total_max_attempts": 1})
"""To make a key twice is no way to make it."""
_COPIED = ("region_name", "endpoint_url", "verify")


class RouteUserKeys:
    """The keys of a route's user; a `skyferry.provisioning.access_keys.UserKeys`."""

    def __init__(self, account: AwsAccount, *, user: str, route_id: str) -> None:
        self._account = account
        self._client = account.client("iam")
        self._route_id = route_id
        self.user = user
        self._name = f"IAM user {user}"

    def all(self) -> dict[str, str]:
        """Return the ids of its keys, and to each the connection it was made for.

        Raises:
            RequestError: There is no such user, or provisioning did not make it for this route.
        """
        tags = self._tags()
        if tags.get(MARK_TAG) != self._route_id:
            raise RequestError(
                f'{self._name} was not made by provisioning for route "{self._route_id}"; no key was made',
                hint="make its key yourself, with: aws iam create-access-key",
            )
        return self._with_purposes(tags)

    def known(self) -> dict[str, str]:
        """Return the same, for a user that is there, whoever made it."""
        return self._with_purposes(self._tags())

    def create(self, conn_id: str) -> AccessKey:
        """Make a key and put on record what it is for; if that fails, no key is left."""
        maker = AwsAccount(self._account.conn_id, named_by=self._name, settings=_ONCE).client("iam")
        extra = self._extra()
        try:
            with silenced(TALKATIVE):
                made = ask(
                    maker.create_access_key,
                    f"making an access key of {self._name}",
                    needs="iam:CreateAccessKey",
                    UserName=self.user,
                )["AccessKey"]
        except ConnectionLostError as error:
            raise ConnectionLostError(
                f"{error.message}; whether there is a new key now is not known",
                hint=f"see to it with: aws iam list-access-keys --user-name {self.user}",
            ) from error
        key = AccessKey(key_id=made["AccessKeyId"], secret=made["SecretAccessKey"], extra=extra)
        try:
            ask(
                self._client.tag_user,
                f"putting access key {key.key_id} of {self._name} on record",
                needs="iam:TagUser",
                UserName=self.user,
                Tags=[{"Key": f"{_KEY_TAG}{key.key_id}", "Value": conn_id}],
            )
        except BaseException as error:
            self._take_back(key.key_id, error)
            raise
        return key

    def delete(self, key_id: str) -> None:
        """Delete a key and its record; one that is gone is no error."""
        ask_if_there(
            self._client.delete_access_key,
            f"deleting access key {key_id} of {self._name}",
            needs="iam:DeleteAccessKey",
            absent=_MISSING,
            UserName=self.user,
            AccessKeyId=key_id,
        )
        ask_if_there(
            self._client.untag_user,
            f"taking access key {key_id} of {self._name} off the record",
            needs="iam:UntagUser",
            absent=_MISSING,
            UserName=self.user,
            TagKeys=[f"{_KEY_TAG}{key_id}"],
        )

    def _take_back(self, key_id: str, error: BaseException) -> None:
        try:
            self.delete(key_id)
        except TransferError as left:
            # The key may be gone and only its record refused, so nobody is told that it works.
            if self._is_gone(key_id):
                return
            raise type(left)(
                f"{error}. Access key {key_id} of {self._name} is left, because deleting it failed: {left}",
                hint=f"aws iam delete-access-key --user-name {self.user} --access-key-id {key_id}",
            ) from error

    def _with_purposes(self, tags: Mapping[str, str]) -> dict[str, str]:
        return {key_id: tags.get(f"{_KEY_TAG}{key_id}", "") for key_id in self._key_ids()}

    def _key_ids(self) -> list[str]:
        answer = ask(
            self._client.list_access_keys,
            f"looking at the access keys of {self._name}",
            needs="iam:ListAccessKeys",
            UserName=self.user,
        )
        return [one["AccessKeyId"] for one in answer["AccessKeyMetadata"]]

    def _is_gone(self, key_id: str) -> bool:
        """Whether IAM says that there is no such key; not when it says nothing."""
        try:
            return key_id not in self._key_ids()
        except TransferError:
            return False

    def _tags(self) -> dict[str, str]:
        pages = self._client.get_paginator("list_user_tags")
        answer = ask_if_there(
            lambda **names: pages.paginate(**names).build_full_result(),
            f"reading the tags of {self._name}",
            needs="iam:ListUserTags",
            absent=_MISSING,
            UserName=self.user,
        )
        return {one["Key"]: one["Value"] for one in (answer or {}).get("Tags", [])}

    def _extra(self) -> dict[str, Any]:
        """Return where the connection that provisions reaches AWS, and nothing of how it signs in."""
        conn_id = self._account.conn_id
        found = find_connection_of_type(conn_id, expected="aws", named_by=self._name, known=()).extra_dejson
        extra = {name: found[name] for name in _COPIED if found.get(name) is not None}
        extra.setdefault("region_name", self._account.region)
        services = found.get("service_config")
        addresses = {
            service: {"endpoint_url": settings["endpoint_url"]}
            for service, settings in (services.items() if isinstance(services, Mapping) else ())
            if isinstance(settings, Mapping) and settings.get("endpoint_url")
        }
        return {**extra, "service_config": addresses} if addresses else extra
