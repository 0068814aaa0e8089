"""What findings say, and which names are the doctor's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from skyferry.doctor.findings import Diagnosis, Finding, Outcome, State, finding_of_place, finding_of_queue
from skyferry.errors import PermanentError
from skyferry.keys import PROBE_PREFIX, is_probe_key
from skyferry.object_filter import ObjectFilter
from skyferry.objects import ObjectInfo
from skyferry.provisioning.abilities import (
    DEAD_LETTER_ABILITIES,
    Ability,
    abilities_of,
    queue_abilities,
    queue_rights,
    rights_for,
)
from skyferry.provisioning.route_needs import PlaceNeed, QueueNeed
from skyferry.urls import KINDS, parse_location

MISSING = Outcome(state=State.MISSING, why="access denied")
KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
PROBE = f"{PROBE_PREFIX}{'0123456789abcdef' * 2}"


def place(url: str = "s3://lake/raw/", what: str = "destination", **more: Any) -> PlaceNeed:
    return PlaceNeed(what=what, location=parse_location(url), conn_id="the_connection", **more)


def queue(what: str) -> QueueNeed:
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
    return QueueNeed(what=what, url=url, conn_id="the_connection")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["source", "destination", "state"])
def test_each_ability_of_a_place_says_what_fails_without_it_and_what_to_change(kind: str, what: str) -> None:
    url = "file:///srv/lake" if kind == "file" else f"{kind}://lake/raw/"
    need = place(url, what, deletes=True, kms_key=KEY)
    for ability in abilities_of(need):
        found = finding_of_place(need, ability, MISSING, partition="aws")
        assert found.is_wrong
        assert found.then in found.text
        assert found.change in found.text
        assert all(right in found.right for right in rights_for(need, ability))
        assert (found.statement is not None) == (kind == "s3")
        assert json.loads(json.dumps(found.to_json())) == found.to_json()
        assert Finding(**found.to_json()) == found


@pytest.mark.parametrize("what", ["events", "arrivals", "reports"])
def test_each_ability_of_a_queue_says_what_fails_without_it(what: str) -> None:
    need = queue(what)
    for ability in (*queue_abilities(need), *(DEAD_LETTER_ABILITIES if need.is_consumed else ())):
        found = finding_of_queue(need, ability, MISSING, arn=need.arn())
        assert found.then
        assert found.statement == {"Effect": "Allow", "Action": list(queue_rights(ability)), "Resource": need.arn()}


def test_a_finding_is_one_line_with_the_statement_that_is_missing() -> None:
    found = finding_of_place(place("s3://lake/raw*/"), Ability.WRITE, MISSING, partition="aws-cn")
    assert found.text == (
        "destination s3://lake/raw*/: s3:PutObject is missing, so no object can be copied; add to the policy of"
        ' connection "the_connection": {"Effect": "Allow", "Action": ["s3:PutObject"],'
        ' "Resource": "arn:aws-cn:s3:::lake/raw${*}/*"}'
    )
    azure = finding_of_place(place("az://lake/raw/"), Ability.REPLACE, MISSING, partition="aws")
    assert "the letter w is missing" in azure.text
    assert "or its identity the role Storage Blob Data Owner on the container lake" in azure.text
    hostile = finding_of_place(place(), Ability.LIST, Outcome(state=State.FAILED, why="no\nline"), partition="aws")
    assert "\n" not in hostile.text


def test_what_could_not_be_checked_is_not_wrong() -> None:
    unknown = Outcome(state=State.NOT_CHECKED, why="there is nothing to try it on")
    found = finding_of_place(place(), Ability.READ_VERSIONS, unknown, partition="aws")
    assert (found.is_wrong, found.then, found.change, found.statement) == (False, "", "", None)
    diagnosis = Diagnosis.of("orders", [found])
    assert diagnosis.state == "success"
    diagnosis.raise_if_anything_is_wrong()
    bad = Diagnosis.of("orders", [found, finding_of_place(place(), Ability.WRITE, MISSING, partition="aws")])
    with pytest.raises(PermanentError, match="1 of 2 findings need a change; first: destination s3://lake/raw/"):
        bad.raise_if_anything_is_wrong()


@pytest.mark.parametrize(
    ("key", "is_probe"),
    [
        (PROBE, True),
        (f"2026/{PROBE}", True),
        (f"{PROBE}.csv", False),
        (f"{PROBE}/1.csv", False),
        (PROBE_PREFIX, False),
        (f"{PROBE_PREFIX}{'g' * 32}", False),
        (f"a{PROBE}", False),
    ],
)
def test_only_names_of_the_doctor_are_passed_over(key: str, is_probe: bool) -> None:
    info = ObjectInfo(key=key, size_bytes=1, etag="1")
    assert is_probe_key(key) == is_probe
    assert ObjectFilter().counts(info, key, now=datetime.now(UTC)) == (not is_probe)
    assert ObjectFilter(include=["**"]).includes(key), "the storage verbs show them"
