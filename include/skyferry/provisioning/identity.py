"""What a route file says about who signs in for it on AWS: the group `provision.identity`."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from skyferry.validation_text import reason_error

_NAME_PATTERN = r"^[A-Za-z0-9_+=,.@-]{0,64}$"
_NAME_RULE = "1 to 64 letters, digits and _+=,.@-, or nothing"
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(root|(user|role)/[A-Za-z0-9_+=,.@/-]{1,200})")


class Identity(BaseModel):
    """A user or a role that has exactly the rights of the route."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user: str = Field(
        default="",
        title="User",
        description="Name of an IAM user; created if it is missing. Its access key is made with --access-key.",
        examples=["skyferry-orders"],
        pattern=_NAME_PATTERN,
        json_schema_extra={"expected": _NAME_RULE},
    )
    group: str = Field(
        default="",
        title="Group",
        description="Name of an IAM group for the user: the rights are the group's.",
        examples=["skyferry"],
        pattern=_NAME_PATTERN,
        json_schema_extra={"expected": _NAME_RULE},
    )
    role: str = Field(
        default="",
        title="Role",
        description="Name of an IAM role, in place of a user; created if it is missing.",
        examples=["skyferry-orders"],
        pattern=_NAME_PATTERN,
        json_schema_extra={"expected": _NAME_RULE},
    )
    trusted: tuple[str, ...] = Field(
        default=(),
        title="Trusted",
        description="Who may assume the role that is created: the workers' own role or user.",
        examples=[["arn:aws:iam::123456789012:role/airflow-workers"]],
        strict=False,
        max_length=10,
        json_schema_extra={"expected": "a list of ARNs of users, roles and accounts (root)"},
    )

    @field_validator("trusted", mode="after")
    @classmethod
    def _are_principals(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _PRINCIPAL.fullmatch(value):
                raise reason_error(f'found "{value}"; expected an ARN such as arn:aws:iam::123456789012:role/workers')
        return values

    @model_validator(mode="after")
    def _is_user_or_role(self) -> Self:
        if bool(self.user) == bool(self.role):
            raise reason_error("expected user or role, and not both")
        if self.role and self.group:
            raise reason_error("group is for a user; a role is in no group")
        if bool(self.role) != bool(self.trusted):
            raise reason_error("role and trusted go together: a role is for those who may assume it")
        return self
