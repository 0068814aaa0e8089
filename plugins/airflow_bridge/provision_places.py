"""Azure containers, GCS buckets and local folders around a route: each is there."""

from __future__ import annotations

from typing import Any

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
from airflow.sdk.exceptions import AirflowException
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict, Forbidden, GoogleAPICallError, NotFound, Unauthorized
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage

from airflow_bridge.gcs_access import endpoint_of
from airflow_bridge.provision_record import BucketOwnership
from airflow_bridge.stage_runner import StageRunner
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import find_connection_of_type
from skyferry.errors import (
    AccessDeniedError,
    BucketMissingError,
    ConnectionConfigError,
    ConnectionLostError,
    PermanentError,
    TransferError,
)
from skyferry.provisioning.route_needs import PlaceNeed
from skyferry.provisioning.settings import Provision
from skyferry.provisioning.surroundings_plan import Doing, Step

_WORDS = {"az": "container", "file": "folder"}
_MARK_LABEL = "skyferry-route"


class PlainPlace:
    """An Azure container or a local folder; a `skyferry.provisioning.surroundings_plan.Thing`.

    Neither is ever removed: Azure deletes with a container whatever arrives in it in that moment, and cannot be told to
    delete only an empty one; a local folder costs nothing.
    """

    def __init__(self, stores: PreparedStores, need: PlaceNeed) -> None:
        self._stores = stores
        self._need = need
        location = need.location
        url = location.url if location.kind == "file" else f"{location.kind}://{location.bucket}/"
        self.name = f"{_WORDS[location.kind]} {url}"

    def plan(self) -> Step:
        """Look."""
        if self._is_there():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is there")
        return Step(thing=self.name, doing=Doing.CREATE, why="it is missing; created without public access")

    def provide(self) -> str:
        """Create it; containers are private unless somebody says otherwise."""
        StageRunner().run(self._create())
        return ""

    def plan_removal(self) -> Step:
        """Leave it."""
        if not self._is_there():
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        why = "folders are never removed"
        if self._need.location.kind == "az":
            why = "containers are never removed: Azure would delete with it what arrives in that moment"
        return Step(thing=self.name, doing=Doing.LEAVE, why=why)

    def remove(self) -> str:
        """Do nothing: no plan says so."""
        return ""

    def _is_there(self) -> bool:
        try:
            StageRunner().run(self._check())
        except BucketMissingError:
            return False
        return True

    async def _check(self) -> None:
        async with self._stores(self._need.location, self._need.conn_id) as store:
            await store.check_bucket()

    async def _create(self) -> None:
        async with self._stores(self._need.location, self._need.conn_id) as store:
            await store.create_bucket()


class GcsBucket:
    """One GCS bucket; a `Thing`. One that was there before is never changed.

    Raises:
        ConnectionConfigError: The connection does not exist, is of the wrong type or gives no credentials.
    """

    def __init__(
        self,
        need: PlaceNeed,
        *,
        settings: Provision,
        ownership: BucketOwnership,
    ) -> None:
        self._url = f"gs://{need.location.bucket}/"
        self._bucket = need.location.bucket
        self._client = _client(need)
        self._kms_key = need.kms_key
        self._location = settings.region
        self._ownership = ownership
        self.name = f"bucket {self._url}"

    def plan(self) -> Step:
        """Look at the bucket."""
        if self._found() is not None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is there")
        where = f"in {self._location}" if self._location else "where Google puts it (set provision.region)"
        return Step(thing=self.name, doing=Doing.CREATE, why=f"it is missing; created {where}, closed to the public")

    def provide(self) -> str:
        """Create the bucket, closed to the public."""
        bucket = self._client.bucket(self._bucket)
        bucket.labels = {_MARK_LABEL: self._ownership.route_id}
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        bucket.iam_configuration.public_access_prevention = "enforced"
        try:
            self._client.create_bucket(bucket, location=self._location or None)
        except (GoogleAPICallError, GoogleAuthError, ValueError) as error:
            raise self._translated(error, "creating", "storage.buckets.create") from error
        self._ownership.record.add(self.name)
        return ""

    def plan_removal(self) -> Step:
        """Look whether the bucket may go."""
        found = self._found()
        if found is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if found.labels.get(_MARK_LABEL) != self._ownership.route_id and not self._ownership.record.holds(self.name):
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not created for this route")
        if self._ownership.why_it_stays:
            return Step(thing=self.name, doing=Doing.LEAVE, why=self._ownership.why_it_stays)
        if self._holds_anything():
            return Step(thing=self.name, doing=Doing.LEAVE, why="it is not empty; no object is ever removed")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route, and is empty")

    def remove(self) -> str:
        """Delete the bucket; Google itself refuses when something has arrived in it."""
        try:
            self._client.bucket(self._bucket).delete()
        except (GoogleAPICallError, GoogleAuthError) as error:
            raise self._translated(error, "deleting", "storage.buckets.delete") from error
        self._ownership.record.drop(self.name)
        return ""

    def _found(self) -> Any | None:
        try:
            return self._client.get_bucket(self._bucket)
        except NotFound:
            return None
        except (GoogleAPICallError, GoogleAuthError) as error:
            raise self._translated(error, "looking at", "storage.buckets.get") from error

    def _holds_anything(self) -> bool:
        try:
            return any(True for _ in self._client.list_blobs(self._bucket, versions=True, max_results=1))
        except (GoogleAPICallError, GoogleAuthError) as error:
            raise self._translated(error, "looking into", "storage.objects.list") from error

    def _translated(self, error: Exception, doing: str, needs: str) -> TransferError:
        action = f"{doing} {self._url}"
        if isinstance(error, (Forbidden, Unauthorized)):
            return AccessDeniedError(f"{action} was refused", hint=f"it needs {needs}")
        if isinstance(error, Conflict):
            text = f"{action} failed: it is not empty, or the name belongs to somebody else"
            return PermanentError(text, hint="choose another name, or leave the bucket")
        if isinstance(error, GoogleAPICallError) and error.code is not None and error.code < 500:
            return PermanentError(f"{action} failed: {error.message}")
        return ConnectionLostError(f"{action} failed: {type(error).__name__}", hint="run it again")


def _client(need: PlaceNeed) -> Any:
    named_by = f"{need.what} {need.location.url}"
    connection = find_connection_of_type(need.conn_id, expected="google_cloud_platform", named_by=named_by, known=())
    try:
        credentials, project = GoogleBaseHook(gcp_conn_id=need.conn_id).get_credentials_and_project_id()
    except (GoogleAuthError, AirflowException, ValueError, KeyError, OSError) as error:
        # The texts of the parsers may repeat the key.
        raise ConnectionConfigError(
            f'connection "{need.conn_id}" gives no Google credentials: {type(error).__name__}',
            hint="check its key file or key JSON in Airflow (Admin > Connections)",
        ) from None
    options = ClientOptions(api_endpoint=endpoint_of(connection.extra_dejson))
    return storage.Client(project=project or "", credentials=credentials, client_options=options)
