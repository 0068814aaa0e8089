"""What was found out about a right: whether it is there, what fails without it, and what to change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from skyferry.errors import AccessDeniedError, PermanentError, TransferError, printable
from skyferry.provisioning.abilities import Ability, index_rights, queue_rights, rights_for
from skyferry.provisioning.access_rights import azure_role, gcs_role, place_resource
from skyferry.provisioning.route_needs import PlaceNeed, QueueNeed, TableNeed

# What stores and services answer to those they do not know at all, as opposed to those who may not do one thing.
_UNKNOWN_LOGIN = re.compile(
    r"InvalidAccessKeyId|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|InvalidSignature|ExpiredToken"
    r"|InvalidToken|InvalidSecurity|AuthFailure|AuthenticationFailed|OptInRequired|has no credentials|\(401"
)


class State(StrEnum):
    """What became of a probe."""

    OK = "ok"
    MISSING = "missing"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a probe came to.

    Attributes:
        why: What the store answered, or why it was not asked; empty for `ok`.
    """

    state: State
    why: str = ""

    @classmethod
    def of(cls, error: TransferError) -> Self:
        """Return what an error says: that the right is missing, or that something else is wrong."""
        if isinstance(error, AccessDeniedError) and not _UNKNOWN_LOGIN.search(error.message):
            return cls(state=State.MISSING, why=error.message)
        return cls(state=State.FAILED, why=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a route does in one place, and whether it may.

    Attributes:
        where: `source`, `destination`, `state`, `events`, `arrivals`, `reports` or `index`.
        ability: What is done there, as `write`.
        right: What it takes in the words of the store, as `s3:PutObject`, the letter `w` or `storage.objects.create`.
        state: `missing`: the store refuses it. `failed`: it could not be found out because something else is wrong.
        then: What fails in a transfer; empty unless something is wrong.
        change: What to do about it; likewise.
        statement: What is missing in the IAM policy of the connection; null outside of AWS.
    """

    where: str
    url: str
    conn_id: str
    ability: str
    right: str
    state: str
    why: str = ""
    then: str = ""
    change: str = ""
    statement: dict[str, Any] | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether somebody has to do something."""
        return self.state in (State.MISSING, State.FAILED)

    @property
    def text(self) -> str:
        """All of it in one line."""
        found = f"{self.right} is missing" if self.state == State.MISSING else f"{self.ability}: {self.why}"
        then = f", so {self.then}" if self.then else ""
        return printable(f"{self.where} {self.url}: {found}{then}" + (f"; {self.change}" if self.change else ""))

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings about a route.

    Attributes:
        state: `success`, or `failed` if anything is wrong.
        problem: Why nothing could be found out; empty if it could.
    """

    route: str
    state: str
    findings: tuple[Finding, ...]
    problem: str = ""

    @classmethod
    def of(cls, route: str, findings: Sequence[Finding]) -> Diagnosis:
        """Return the diagnosis that follows from the findings."""
        state = "failed" if any(one.is_wrong for one in findings) else "success"
        return cls(route=route, state=state, findings=tuple(findings))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        findings = [one.to_json() for one in self.findings]
        return {"route": self.route, "state": self.state, "findings": findings, "problem": self.problem}

    def raise_if_anything_is_wrong(self) -> None:
        """Raise unless all is well.

        Raises:
            PermanentError: How much is wrong, and the first of it.
        """
        wrong = [one for one in self.findings if one.is_wrong]
        if wrong:
            raise PermanentError(f"{len(wrong)} of {len(self.findings)} findings need a change; first: {wrong[0].text}")
        if self.problem:
            raise PermanentError(self.problem)


_NO_COPY = "no object can be copied"
_NO_RUN = "every run fails"
_LARGE = "a large object that was interrupted"
_THEN: Mapping[tuple[str, Ability], str] = {
    ("source", Ability.LIST): _NO_RUN,
    ("source", Ability.READ): _NO_COPY,
    ("source", Ability.READ_VERSIONS): "no object of a bucket that keeps versions can be copied",
    ("source", Ability.READ_TAGS): "no object that has tags can be copied",
    ("source", Ability.READ_TAGS_OF_VERSIONS): "no object that has tags and versions can be copied",
    ("source", Ability.WRITE): "no probe can be sent",
    ("source", Ability.DELETE): "objects are copied, and none leaves the source",
    ("source", Ability.USE_KEY): "no object that is encrypted with the key can be copied",
    ("destination", Ability.LIST): _NO_RUN,
    ("destination", Ability.READ): "what is there cannot be looked at, and no copy be read back",
    ("destination", Ability.READ_VERSIONS): "no copy in a bucket that keeps versions can be verified by reading it",
    ("destination", Ability.READ_TAGS): "no object that has tags can be looked at",
    ("destination", Ability.READ_TAGS_OF_VERSIONS): "no object that has tags and versions can be looked at",
    ("destination", Ability.WRITE): _NO_COPY,
    ("destination", Ability.REPLACE): "no object that changed at the source can be copied again",
    ("destination", Ability.WRITE_TAGS): "no object that has tags can be copied",
    ("destination", Ability.END_UPLOADS): f"{_LARGE} leaves parts that nobody sees and somebody pays for",
    ("destination", Ability.RESUME_UPLOADS): f"{_LARGE} cannot go on",
    ("destination", Ability.DELETE): "a copy that turned out wrong stays",
    ("destination", Ability.USE_KEY): _NO_COPY,
    ("state", Ability.LIST): _NO_RUN,
    ("state", Ability.READ): _NO_RUN,
    ("state", Ability.READ_VERSIONS): "no record in a bucket that keeps versions can be read",
    ("state", Ability.WRITE): _NO_RUN,
    ("state", Ability.DELETE): "records of large uploads stay for ever",
    ("events", Ability.LOOK): "no consumer begins",
    ("events", Ability.RECEIVE): "no event is heard of",
    ("events", Ability.HOLD): "a message is handed out again while it is worked on",
    ("events", Ability.REMOVE): "messages that are done come back until they are dead letters",
    ("events", Ability.FIND_DEAD_LETTERS): "no consumer begins",
    ("events", Ability.SEND_DEAD_LETTERS): "a message that nothing can be done with stays in the queue",
    ("arrivals", Ability.SEND): "nobody is told of arrivals",
    ("reports", Ability.SEND): "nobody is told of the end of a run",
    ("index", Ability.WRITE_ITEMS): "receipts are missing in the table, and the reports of runs count them",
    ("index", Ability.QUERY_ITEMS): "receipts are not found by their keys",
    ("index", Ability.DESCRIBE_TABLE): "it is not known whether the table is there",
}


def finding_of_place(place: PlaceNeed, ability: Ability, outcome: Outcome, *, partition: str) -> Finding:
    """Return what an outcome means, and what to do about it.

    Args:
        partition: Of AWS, for ARNs.
    """
    right = _in_words(place, ability)
    is_missing, is_wrong = outcome.state is State.MISSING, outcome.state in (State.MISSING, State.FAILED)
    statement = None
    if is_missing and place.location.kind == "s3":
        statement = _statement(rights_for(place, ability), place_resource(place, ability, partition))
    return Finding(
        where=place.what,
        url=place.location.url,
        conn_id=place.conn_id,
        ability=str(ability),
        right=right,
        state=str(outcome.state),
        why=outcome.why,
        then=_THEN[place.what, ability] if is_wrong else "",
        change=_change(place, right, statement) if is_missing else "",
        statement=statement,
    )


def finding_of_queue(queue: QueueNeed, ability: Ability, outcome: Outcome, *, arn: str) -> Finding:
    """Return what an outcome means, and what to do about it.

    Args:
        arn: Of the queue that the right is for.
    """
    return _finding_on_aws((queue.what, queue.url, queue.conn_id), ability, outcome, queue_rights(ability), arn)


def finding_of_index(index: TableNeed, ability: Ability, outcome: Outcome, *, arn: str) -> Finding:
    """Return what an outcome means, and what to do about it.

    Args:
        arn: Of the table.
    """
    place = (index.what, f"DynamoDB table {index.name}", index.conn_id)
    return _finding_on_aws(place, ability, outcome, (index_rights()[ability],), arn)


def _finding_on_aws(
    place: tuple[str, str, str], ability: Ability, outcome: Outcome, rights: Sequence[str], arn: str
) -> Finding:
    where, url, conn_id = place
    is_missing, is_wrong = outcome.state is State.MISSING, outcome.state in (State.MISSING, State.FAILED)
    statement = _statement(rights, arn) if is_missing else None
    return Finding(
        where=where,
        url=url,
        conn_id=conn_id,
        ability=str(ability),
        right=" and ".join(rights),
        state=str(outcome.state),
        why=outcome.why,
        then=_THEN[where, ability] if is_wrong else "",
        change=_policy_change(conn_id, statement) if statement else "",
        statement=statement,
    )


def _in_words(place: PlaceNeed, ability: Ability) -> str:
    rights = rights_for(place, ability)
    if place.location.kind == "az":
        return f"the letter {' or '.join(rights)}"
    return " and ".join(rights)


def _change(place: PlaceNeed, right: str, statement: dict[str, Any] | None) -> str:
    if statement:
        return _policy_change(place.conn_id, statement)
    bucket, connection = place.location.bucket, f'connection "{place.conn_id}"'
    if place.location.kind == "az":
        role = azure_role(place)
        return f"give the SAS of {connection} {right}, or its identity the role {role} on the container {bucket}"
    if place.location.kind == "gs":
        return f"grant {right} on the bucket {bucket} to {connection}, as the role {gcs_role(place)} does"
    return "give the user that runs the workers the right to do that"


def _policy_change(conn_id: str, statement: dict[str, Any]) -> str:
    return f'add to the policy of connection "{conn_id}": {json.dumps(statement)}'


def _statement(actions: Sequence[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}
