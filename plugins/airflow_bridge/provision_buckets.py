"""S3 buckets around a route: each is there, closed to the public, encrypted, and ends uploads nobody finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_bridge.provision_calls import AwsAccount, NotOfferedError, ask, ask_if_there
from airflow_bridge.provision_record import BucketOwnership
from skyferry.errors import PermanentError, RequestError
from skyferry.provisioning.route_needs import MARK_TAG, PlaceNeed, mark_of
from skyferry.provisioning.settings import Provision
from skyferry.provisioning.shared_documents import upload_rule, with_rule, without_rule
from skyferry.provisioning.surroundings_plan import Doing, Step

_BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_MISSING = ("404", "NoSuchBucket", "NotFound")
_LIFECYCLE_SETTING = "TransitionDefaultMinimumObjectSize"
_HEAD_IS_ELSEWHERE = ("301", "PermanentRedirect")


class S3Bucket:
    """One bucket of a route; a `skyferry.provisioning.surroundings_plan.Thing`.

    A bucket that was there before is looked at and never changed: who owns it decides what is public and encrypted.

    """

    def __init__(
        self,
        account: AwsAccount,
        need: PlaceNeed,
        *,
        settings: Provision,
        ownership: BucketOwnership,
    ) -> None:
        self._client = account.client("s3")
        self._bucket = need.location.bucket
        self._url = f"s3://{self._bucket}/"
        self._kms_key = need.kms_key
        self._region = settings.region or account.region
        self._ownership = ownership
        self.name = f"bucket {self._url}"

    def plan(self) -> Step:
        """Look at the bucket: up to five requests."""
        if not is_there(self._client, self._bucket):
            how = f"in {self._region}, closed to the public, encrypted with {self._kms_key or 'keys of the store'}"
            return Step(thing=self.name, doing=Doing.CREATE, why=f"it is missing; created {how}")
        faults = self._faults()
        if faults and self._is_own():
            return Step(thing=self.name, doing=Doing.CHANGE, why=" and ".join(faults))
        left = f", but {' and '.join(faults)}: it was not created here, and stays as it is" if faults else ""
        return Step(thing=self.name, doing=Doing.LEAVE if faults else Doing.KEEP, why=f"it is there{left}")

    def provide(self) -> str:
        """Create the bucket if it is missing, and close and encrypt it."""
        if not is_there(self._client, self._bucket):
            self._create()
        left_out = [self._unless_offered(work) for work in (self._tag, self._close, self._encrypt)]
        return "; ".join(text for text in left_out if text)

    def plan_removal(self) -> Step:
        """Look whether the bucket may go."""
        if not is_there(self._client, self._bucket):
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        if not self._is_own():
            return Step(thing=self.name, doing=Doing.LEAVE, why="it was not created for this route")
        if self._ownership.why_it_stays:
            return Step(thing=self.name, doing=Doing.LEAVE, why=self._ownership.why_it_stays)
        if self._holds_anything():
            return Step(thing=self.name, doing=Doing.LEAVE, why="it is not empty; no object is ever removed")
        return Step(thing=self.name, doing=Doing.REMOVE, why="it was created for this route, and is empty")

    def remove(self) -> str:
        """Delete the bucket; S3 itself refuses when something has arrived in it."""
        ask(self._client.delete_bucket, f"deleting {self._url}", needs="s3:DeleteBucket", Bucket=self._bucket)
        self._ownership.record.drop(self.name)
        return ""

    def _create(self) -> None:
        # us-east-1 is the default, and the one place that refuses to be named.
        where = {} if self._region in ("", "us-east-1") else {"LocationConstraint": self._region}
        options = {"CreateBucketConfiguration": where} if where else {}
        action = f"creating {self._url}"
        ask(self._client.create_bucket, action, needs="s3:CreateBucket", Bucket=self._bucket, **options)
        # At once: what follows may be refused, and the next run must know whose the bucket is.
        self._ownership.record.add(self.name)

    def _unless_offered(self, work: Callable[[], None]) -> str:
        try:
            work()
        except NotOfferedError as error:
            return str(error)
        return ""

    def _tag(self) -> None:
        found = self._tags()
        if any(tag["Key"] == MARK_TAG for tag in found):
            return
        tags = {"TagSet": [*found, {"Key": MARK_TAG, "Value": self._ownership.route_id}]}
        action = f"tagging {self._url}"
        ask(self._client.put_bucket_tagging, action, needs="s3:PutBucketTagging", Bucket=self._bucket, Tagging=tags)

    def _tags(self) -> list[dict[str, str]]:
        answer = ask_if_there(
            self._client.get_bucket_tagging,
            f"reading the tags of {self._url}",
            needs="s3:GetBucketTagging",
            absent=("NoSuchTagSet", "NoSuchTagSetError"),
            Bucket=self._bucket,
        )
        return list((answer or {}).get("TagSet", ()))

    def _close(self) -> None:
        ask(
            self._client.put_public_access_block,
            f"closing {self._url} to the public",
            needs="s3:PutBucketPublicAccessBlock",
            Bucket=self._bucket,
            PublicAccessBlockConfiguration=_BLOCKED,
        )

    def _encrypt(self) -> None:
        rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        if self._kms_key:
            rule = {
                "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": self._kms_key},
                "BucketKeyEnabled": True,
            }
        ask(
            self._client.put_bucket_encryption,
            f"encrypting {self._url}",
            needs="s3:PutEncryptionConfiguration",
            Bucket=self._bucket,
            ServerSideEncryptionConfiguration={"Rules": [rule]},
        )

    def _is_own(self) -> bool:
        own = {"Key": MARK_TAG, "Value": self._ownership.route_id}
        try:
            if own in self._tags():
                return True
        except NotOfferedError:
            pass
        return self._ownership.record.holds(self.name)

    def _holds_anything(self) -> bool:
        answer = ask(
            self._client.list_object_versions,
            f"looking into {self._url}",
            needs="s3:ListBucketVersions",
            Bucket=self._bucket,
            MaxKeys=1,
        )
        return bool(answer.get("Versions") or answer.get("DeleteMarkers"))

    def _faults(self) -> list[str]:
        """Return what is not as it would be in a bucket created here; what the store does not offer is no fault."""
        faults = []
        try:
            if self._public_access() != _BLOCKED:
                faults.append("public access is not blocked")
        except NotOfferedError:
            pass
        try:
            if self._kms_key and self._encryption_key() != self._kms_key:
                faults.append(f"new objects are not encrypted with {self._kms_key}")
        except NotOfferedError:
            pass
        return faults

    def _public_access(self) -> dict[str, bool]:
        answer = ask_if_there(
            self._client.get_public_access_block,
            f"looking at public access to {self._url}",
            needs="s3:GetBucketPublicAccessBlock",
            absent=("NoSuchPublicAccessBlockConfiguration",),
            Bucket=self._bucket,
        )
        return dict((answer or {}).get("PublicAccessBlockConfiguration", {}))

    def _encryption_key(self) -> str:
        answer = ask_if_there(
            self._client.get_bucket_encryption,
            f"looking at the encryption of {self._url}",
            needs="s3:GetEncryptionConfiguration",
            absent=("ServerSideEncryptionConfigurationNotFoundError",),
            Bucket=self._bucket,
        )
        rules = (answer or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [{}])
        return str(rules[0].get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", ""))


class UploadRule:
    """The lifecycle rule of a destination that ends uploads nobody finished; a `Thing`.

    It is merged into the rules of the bucket, whoever owns it, and covers the route's prefix only.
    """

    def __init__(self, account: AwsAccount, need: PlaceNeed, *, route_id: str, days: int) -> None:
        self._client = account.client("s3")
        self._bucket = need.location.bucket
        self._url = need.location.url
        self._rule = upload_rule(mark_of(route_id), prefix=need.location.prefix, days=days)
        self._days = days
        self._seen: list[Any] | None = None
        self._more: dict[str, Any] = {}
        self.name = f"lifecycle rule of {self._url}"

    def plan(self) -> Step:
        """Look at the bucket's rules."""
        try:
            self._seen = self._rules()
        except NotOfferedError as error:
            return Step(thing=self.name, doing=Doing.LEAVE, why=str(error))
        if with_rule(self._seen or [], self._rule) is None:
            return Step(thing=self.name, doing=Doing.KEEP, why=f"uploads end after {self._days} days or sooner")
        why = f"nothing ends uploads that were not finished in {self._days} days; they are billed"
        return Step(thing=self.name, doing=Doing.CREATE, why=why)

    def provide(self) -> str:
        """Put the rule beside those that are there."""
        try:
            rules = with_rule(self._unchanged(), self._rule)
            if rules is not None:
                self._write(rules)
        except NotOfferedError as error:
            return str(error)
        return ""

    def plan_removal(self) -> Step:
        """Look whether the rule is there."""
        try:
            self._seen = self._rules()
        except NotOfferedError as error:
            return Step(thing=self.name, doing=Doing.KEEP, why=str(error))
        if without_rule(self._seen or [], self._rule["ID"]) is None:
            return Step(thing=self.name, doing=Doing.KEEP, why="it is gone")
        return Step(thing=self.name, doing=Doing.REMOVE, why=f"rule {self._rule['ID']} is this route's")

    def remove(self) -> str:
        """Take the rule out, and leave the others."""
        rules = without_rule(self._unchanged(), self._rule["ID"])
        if rules is not None:
            self._write(rules)
        return ""

    def _unchanged(self) -> list[Any]:
        found = self._rules() or []
        if found != (self._seen or []):
            raise PermanentError(
                f"the lifecycle rules of s3://{self._bucket}/ have changed in this moment; they were left alone",
                hint="run it again",
            )
        return found

    def _rules(self) -> list[Any] | None:
        answer = ask_if_there(
            self._client.get_bucket_lifecycle_configuration,
            f"reading the lifecycle rules of s3://{self._bucket}/",
            needs="s3:GetLifecycleConfiguration",
            absent=("NoSuchLifecycleConfiguration", *_MISSING),
            Bucket=self._bucket,
        )
        # What this setting is not sent back with is set to its default.
        self._more = {name: value for name, value in (answer or {}).items() if name == _LIFECYCLE_SETTING}
        return None if answer is None else list(answer.get("Rules", ()))

    def _write(self, rules: list[Any]) -> None:
        action, needs = f"writing the lifecycle rules of s3://{self._bucket}/", "s3:PutLifecycleConfiguration"
        if not rules:
            ask(self._client.delete_bucket_lifecycle, action, needs=needs, Bucket=self._bucket)
            return
        ask(
            self._client.put_bucket_lifecycle_configuration,
            action,
            needs=needs,
            Bucket=self._bucket,
            LifecycleConfiguration={"Rules": rules},
            **self._more,
        )


def is_there(client: Any, bucket: str) -> bool:
    """Return whether a bucket exists.

    Raises:
        RequestError: It does, in another region than the connection's.
        AccessDeniedError: It does, and belongs to somebody else; or the connection may not even look.
    """
    action = f"looking at s3://{bucket}/"
    absent = (*_MISSING, *_HEAD_IS_ELSEWHERE)
    answer = ask_if_there(client.head_bucket, action, needs="s3:ListBucket", absent=absent, Bucket=bucket)
    if answer is not None:
        return True
    where = ask_if_there(
        client.get_bucket_location, action, needs="s3:GetBucketLocation", absent=_MISSING, Bucket=bucket
    )
    if where is None:
        return False
    raise RequestError(
        f"s3://{bucket}/ is in {where.get('LocationConstraint') or 'us-east-1'}, not in the connection's region",
        hint="set region_name in the connection's extra",
    )
