"""What a route file may say about an identity."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from skyferry.provisioning.identity import Identity

WORKERS = "arn:aws:iam::123456789012:role/workers"


@pytest.mark.parametrize(
    "values",
    [
        {"user": "skyferry-orders"},
        {"user": "skyferry-orders", "group": "skyferry"},
        {"role": "skyferry-orders", "trusted": [WORKERS]},
    ],
)
def test_a_user_or_a_role(values: dict[str, object]) -> None:
    assert Identity.model_validate(values).model_dump(exclude_defaults=True) == {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "expected user or role, and not both"),
        ({"user": "a", "role": "b", "trusted": [WORKERS]}, "expected user or role, and not both"),
        ({"role": "a", "group": "b", "trusted": [WORKERS]}, "a role is in no group"),
        ({"role": "a"}, "role and trusted go together"),
        ({"user": "a", "trusted": [WORKERS]}, "role and trusted go together"),
        ({"role": "a", "trusted": ["*"]}, 'found "[*]"; expected an ARN'),
        ({"role": "a", "trusted": [f"{WORKERS}\n"]}, "expected an ARN"),
        ({"user": "a/b"}, "pattern"),
    ],
)
def test_anything_else_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Identity.model_validate(values)
