"""Documents that a bucket or a queue has one of, for everybody: what is ours is put in and taken out, the rest stays.

S3 and SQS replace such a document as a whole. Each function takes what is there and returns what must be written, or
None when nothing has to be. Entries of others keep their order and content. Ours are known by their name alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from skyferry.errors import RequestError

Document = Mapping[str, Any]

_TARGETS = {
    "QueueConfigurations": "QueueArn",
    "TopicConfigurations": "TopicArn",
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
}

_KIND_OF_SERVICE = {
    "sqs": "QueueConfigurations",
    "sns": "TopicConfigurations",
    "lambda": "LambdaFunctionConfigurations",
}


def filter_text(prefix: str) -> str:
    """Return a prefix as a filter of notifications has it.

    A space is `+`, other special characters are percent-encoded, and `*` cannot be written otherwise.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    return quote_plus(prefix, safe="/!-_.'()")


def notification_rule(name: str, *, target_arn: str, events: Sequence[str], prefix: str) -> dict[str, Any]:
    """Return the rule that sends events about a prefix to a queue, a topic or a function."""
    target = _TARGETS[_KIND_OF_SERVICE[target_arn.split(":")[2]]]
    rule: dict[str, Any] = {"Id": name, target: target_arn, "Events": list(events)}
    if prefix:
        rule["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": filter_text(prefix)}]}}
    return rule


def with_notification(found: Document, own: Document, *, bucket: str) -> dict[str, Any] | None:
    """Return a bucket's notifications with our rule in them; None when it, or one that does the same, is there.

    Raises:
        RequestError: Another rule gets some of the same events elsewhere, which S3 refuses.
    """
    if any(_serves(rule, own) for _, rule in _rules(found)):
        return None
    for _, rule in _rules(found):
        if rule.get("Id") != own["Id"] and _overlaps(rule, own):
            raise RequestError(
                f's3://{bucket}/ already sends {", ".join(rule["Events"])} below "{_prefix(rule)}" to {target_of(rule)}'
                f' (rule "{rule.get("Id", "")}"); S3 allows no second rule for these events. Nothing was changed',
                hint="let that rule feed an SNS topic, and name the topic as provision.topic; or remove the rule",
            )
    rest = without_notification(found, str(own["Id"]))
    rest = dict(found) if rest is None else rest
    kind = next(kind for kind, target in _TARGETS.items() if target in own)
    return {**rest, kind: [*rest.get(kind, ()), dict(own)]}


def without_notification(found: Document, name: str) -> dict[str, Any] | None:
    """Return a bucket's notifications without our rule; None when there is none."""
    if not any(rule.get("Id") == name for _, rule in _rules(found)):
        return None
    kept = {kind: [rule for rule in found.get(kind, ()) if rule.get("Id") != name] for kind in _TARGETS}
    others = {key: value for key, value in found.items() if key not in _TARGETS}
    return {**others, **{kind: rules for kind, rules in kept.items() if rules}}


def upload_rule(name: str, *, prefix: str, days: int) -> dict[str, Any]:
    """Return the lifecycle rule that ends uploads nobody finished."""
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }


def with_rule(found: Sequence[Document], own: Document) -> list[Document] | None:
    """Return lifecycle rules with ours among them; None when it, or a wider one as strict, is there."""
    if any(_ends_uploads_as(rule, own) for rule in found):
        return None
    return [*(rule for rule in found if rule.get("ID") != own["ID"]), own]


def without_rule(found: Sequence[Document], name: str) -> list[Document] | None:
    """Return lifecycle rules without ours; None when it is not there."""
    kept = [rule for rule in found if rule.get("ID") != name]
    return None if len(kept) == len(found) else kept


def sending_statement(name: str, *, service: str, queue_arn: str, source_arn: str, account: str) -> dict[str, Any]:
    """Return the statement of a queue's policy that lets one bucket or topic, of one account, send to it."""
    condition: dict[str, Any] = {"ArnEquals": {"aws:SourceArn": source_arn}}
    if account and service == "s3.amazonaws.com":
        condition["StringEquals"] = {"aws:SourceAccount": account}
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sns:Publish" if ":sns:" in queue_arn else "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": condition,
    }


def with_statement(found: str, own: Document) -> str | None:
    """Return a policy with our statement in it; None when it is there already.

    Args:
        found: Text of the policy; empty for none.
    """
    policy = json.loads(found) if found else {"Version": "2012-10-17", "Statement": []}
    statements = _statements(policy)
    if own in statements:
        return None
    kept = [statement for statement in statements if statement.get("Sid") != own["Sid"]]
    return json.dumps({**policy, "Statement": [*kept, own]})


def without_statement(found: str, name: str) -> str | None:
    """Return a policy without our statement, empty when nothing is left; None when it is not there."""
    policy = json.loads(found) if found else {}
    statements = _statements(policy)
    kept = [statement for statement in statements if statement.get("Sid") != name]
    if len(kept) == len(statements):
        return None
    return json.dumps({**policy, "Statement": kept}) if kept else ""


def _statements(policy: Document) -> list[Any]:
    # One statement may stand there without a list around it.
    statements = policy.get("Statement", [])
    return list(statements) if isinstance(statements, list) else [statements]


def _rules(found: Document) -> Iterator[tuple[str, Document]]:
    for kind in _TARGETS:
        for rule in found.get(kind, ()):
            yield kind, rule


def target_of(rule: Document) -> str:
    """Return the ARN a notification sends to."""
    return next((str(rule[name]) for name in _TARGETS.values() if name in rule), "")


def _edge(rule: Document, name: str) -> str:
    rules = rule.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    return next((str(one.get("Value", "")) for one in rules if str(one.get("Name", "")).lower() == name), "")


def _prefix(rule: Document) -> str:
    return _edge(rule, "prefix")


def _covers_event(wide: str, narrow: str) -> bool:
    return wide == narrow or (wide.endswith(":*") and narrow.startswith(wide[:-1]))


def _serves(rule: Document, own: Document) -> bool:
    """Whether a rule sends all that ours would to the same target."""
    return (
        target_of(rule) == target_of(own)
        and not _edge(rule, "suffix")
        and _prefix(own).startswith(_prefix(rule))
        and all(any(_covers_event(wide, event) for wide in rule["Events"]) for event in own["Events"])
        and (rule.get("Id") != own["Id"] or _prefix(rule) == _prefix(own))
    )


def _overlaps(rule: Document, own: Document) -> bool:
    """Whether S3 would refuse both: some event of some key is for both. Ours has no suffix, so any suffix meets it."""
    prefixes = (_prefix(rule), _prefix(own))
    same_keys = prefixes[0].startswith(prefixes[1]) or prefixes[1].startswith(prefixes[0])
    same_events = any(
        _covers_event(one, other) or _covers_event(other, one) for one in rule["Events"] for other in own["Events"]
    )
    return same_keys and same_events


def _ends_uploads_as(rule: Document, own: Document) -> bool:
    days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
    wanted = own["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    if rule.get("Status") != "Enabled" or days is None:
        return False
    if rule.get("ID") == own["ID"]:
        return bool(days == wanted and _lifecycle_prefix(rule) == _lifecycle_prefix(own))
    covering = _lifecycle_prefix(rule)
    own_prefix = _lifecycle_prefix(own) or ""
    return days <= wanted and covering is not None and own_prefix.startswith(covering)


def _lifecycle_prefix(rule: Document) -> str | None:
    """Return the prefix a rule is for; None when it is for other things than a prefix (tags, sizes)."""
    if "Prefix" in rule:
        return str(rule["Prefix"])
    found = rule.get("Filter")
    if found is None or set(found) - {"Prefix"}:
        return None
    return str(found.get("Prefix", ""))
