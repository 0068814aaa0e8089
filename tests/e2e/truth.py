"""Whether all who can say what a run did say the same.

| witness | what it looks at |
|---|---|
| stores | source and destination before and after, through the vendors' own clients |
| receipts | the files below the state folder, read here without the library |
| report | the XCom of the task `report` |
| lineage | the last event of the task `report`, where lineage is on |
| asset event | the last event of the route's asset that this run made |
| status, statistic | what the command line says, where an API server runs |
| transfer_over_http, statistics_over_http | what the REST API says, where an API server runs |

A witness is a function from the evidence to an account, or to None where it was not there. To call another one, write
such a function and add it to `WITNESSES`.
"""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.buckets import Bucket


@dataclass(frozen=True)
class Account:
    """What one witness says."""

    objects_copied: int
    bytes_copied: int


@dataclass(frozen=True)
class Evidence:
    """One run, whatever it went through: all of its attempts, kills and clears.

    Attributes:
        state: Of the DAG run, at its end.
        source_before: What the source held before the first attempt, by full key.
        destination_before: The same of the destination.
        destination_after: What the destination held at the end.
        events: Lineage events of the run, in the order they were sent.
        asset_events: Extras of the asset events, in order.
    """

    run_id: str
    state: str
    report: Mapping[str, Any] | None
    source_before: Mapping[str, bytes]
    destination_before: Mapping[str, bytes]
    destination_after: Mapping[str, bytes]
    events: Sequence[Mapping[str, Any]] = ()
    asset_events: Sequence[Mapping[str, Any]] = ()
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The numbers of those who read the history, by their name as a witness."""
    prefixes: tuple[str, str] = field(default=("", ""))
    """What stands before the keys of the receipts: a local transfer names files by their place below its folder."""


def stores(evidence: Evidence) -> Account | None:
    before, after = evidence.destination_before, evidence.destination_after
    new = [body for key, body in after.items() if before.get(key) != body]
    return Account(len(new), sum(map(len, new)))


def receipts(evidence: Evidence) -> Account | None:
    copied = copied_receipts(evidence)
    return Account(len(copied), sum(receipt["size_bytes"] for receipt in copied)) if copied is not None else None


def report(evidence: Evidence) -> Account | None:
    return _numbers(evidence.report)


def lineage(evidence: Evidence) -> Account | None:
    ends = [
        event
        for event in evidence.events
        if event["job"]["name"].endswith(".report") and event["eventType"] in ("COMPLETE", "FAIL")
    ]
    if not ends:
        return None
    [written] = ends[-1]["outputs"]
    statistics = written["outputFacets"]["outputStatistics"]
    account = Account(statistics["fileCount"], statistics["size"])
    assert account == _numbers(ends[-1]["run"]["facets"]["skyferry_transfer"]), "statistics and facet of one event"
    return account


def asset_event(evidence: Evidence) -> Account | None:
    own = [extra for extra in evidence.asset_events if extra["run_id"] == evidence.run_id]
    return _numbers(own[-1]) if own else None


def status(evidence: Evidence) -> Account | None:
    return _numbers(evidence.told.get("status"))


def statistic(evidence: Evidence) -> Account | None:
    return _numbers(evidence.told.get("statistic"))


def transfer_over_http(evidence: Evidence) -> Account | None:
    return _numbers(evidence.told.get("transfer_over_http"))


def statistics_over_http(evidence: Evidence) -> Account | None:
    return _numbers(evidence.told.get("statistics_over_http"))


HISTORY_WITNESSES = (status, statistic, transfer_over_http, statistics_over_http)
WITNESSES: tuple[Callable[[Evidence], Account | None], ...] = (
    stores,
    receipts,
    report,
    lineage,
    asset_event,
    *HISTORY_WITNESSES,
)


def check_truth(evidence: Evidence) -> dict[str, Account]:
    """Return the accounts, which are all the same; fails when they are not.

    A run without a report must not be green. What each receipt says was copied must lie at the destination, byte for
    byte as it was at the source.
    """
    if evidence.report is None:
        assert evidence.state == "failed", "a run without a report is no success"
    accounts = {witness.__name__: witness(evidence) for witness in WITNESSES}
    told = {name: account for name, account in accounts.items() if account is not None}
    assert len(set(told.values())) == 1, f"they do not agree: {told}"
    source_prefix, destination_prefix = evidence.prefixes
    for receipt in copied_receipts(evidence) or ():
        body = evidence.source_before[source_prefix + receipt["key"]]
        assert evidence.destination_after[destination_prefix + receipt["destination_key"]] == body
        assert receipt["size_bytes"] == len(body)
        md5 = receipt.get("checksums", {}).get("md5")
        assert md5 in (None, hashlib.md5(body).hexdigest())
        assert receipt["verified_by"]
    return told


def check_told(report: Mapping[str, Any] | None, told: Mapping[str, Mapping[str, Any]]) -> None:
    """Look whether those who read the history say of a run what its report says."""
    expected = _numbers(report)
    assert all(_numbers(numbers) == expected for numbers in told.values()), f"not as the report {report}: {told}"


def copied_receipts(evidence: Evidence) -> list[Mapping[str, Any]] | None:
    """Return the receipts of the newest plan that say an object was copied, one for each object; None without any."""
    if evidence.report is None or not evidence.report["records"].startswith("file://"):
        return None
    folder = Path(urllib.parse.urlsplit(evidence.report["records"]).path)
    rows = [
        json.loads(line)
        for file in sorted((folder / "receipts").rglob("*.ndjson"))
        for line in file.read_text().splitlines()
    ]
    copied = {row["key"]: row for row in rows if row["outcome"] == "copied"}
    undeleted = {row["key"] for row in rows if row.get("not_deleted_because")}
    settled = {row["key"] for row in rows if row.get("deleted_at_source") or row.get("kept_because")}
    return [row for key, row in copied.items() if key not in undeleted - settled]


def content_below(bucket: Bucket | None) -> dict[str, bytes]:
    return bucket.content() if bucket is not None and bucket.exists() else {}


def _numbers(values: Mapping[str, Any] | None) -> Account | None:
    return Account(values["objects_copied"], values["bytes_copied"]) if values else None
