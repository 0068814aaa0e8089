"""What the Lambda function of a route is to be: its name, settings, dead-letter queue, and the rights of its role."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from skyferry.lambda_forwarder.airflow_address import SECRET_VARIABLE, URL_VARIABLE
from skyferry.provisioning.forwarder_package import HANDLER
from skyferry.provisioning.route_needs import DEAD_LETTER_SECONDS, QueueNeed
from skyferry.provisioning.settings import Forwarder

RUNTIME = "python3.13"
TIMEOUT_SECONDS = 120
"""Time for five attempts that are not answered at all, with the longest pauses between them."""

MEMORY_MB = 128

_MAX_FUNCTION_NAME = 64
_DIGEST_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderNeed:
    """The function of one route.

    Attributes:
        region: Of the source's bucket, because S3 calls functions of the same region only; `*` if it is not known.
        conn_id: Connection to make it with.
    """

    route_id: str
    settings: Forwarder
    region: str
    conn_id: str = ""

    @property
    def account(self) -> str:
        """Of the function: that of its role, because Lambda takes no other."""
        return self.settings.role.split(":")[4]

    @property
    def name(self) -> str:
        """Of the function; a long one ends in a digest, so that routes are told apart."""
        name = f"skyferry-{self.route_id}"
        if len(name) <= _MAX_FUNCTION_NAME:
            return name
        digest = hashlib.sha256(self.route_id.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        return f"{name[: _MAX_FUNCTION_NAME - _DIGEST_CHARACTERS - 1]}-{digest}"

    @property
    def arn(self) -> str:
        """Of the function."""
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self.name}"

    @property
    def dead_letters(self) -> QueueNeed:
        """The queue that gets the events the function could not deliver."""
        domain = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        name = f"{self.name}-dead-letter"
        return QueueNeed(
            what="undelivered",
            url=f"https://sqs.{self.region}.{domain}/{self.account}/{name}",
            conn_id=self.conn_id,
            kept_seconds=DEAD_LETTER_SECONDS,
        )

    @property
    def dead_letters_arn(self) -> str:
        """Of that queue."""
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.dead_letters.name}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the function; the login is in the secret, whose name is no secret."""
        return {URL_VARIABLE: self.settings.airflow_url, SECRET_VARIABLE: self.settings.secret}

    @property
    def configuration(self) -> dict[str, Any]:
        """What Lambda is told about the function beside its code and variables."""
        return {
            "Runtime": RUNTIME,
            "Handler": HANDLER,
            "Role": self.settings.role,
            "Timeout": TIMEOUT_SECONDS,
            "MemorySize": MEMORY_MB,
            "DeadLetterConfig": {"TargetArn": self.dead_letters_arn},
            "VpcConfig": {
                "SubnetIds": list(self.settings.subnets),
                "SecurityGroupIds": list(self.settings.security_groups),
            },
        }

    @property
    def partition(self) -> str:
        """Of the role, and so of everything else."""
        return self.settings.role.split(":")[1]


def role_rights(need: ForwarderNeed) -> dict[str, Any]:
    """Return what the role of a function must allow, and whom it must trust, in the words of IAM.

    A key of one's own that encrypts the secret takes `kms:Decrypt` besides, which nobody can see from here.
    """
    logs = f"arn:{need.partition}:logs:{need.region}:{need.account}:log-group:/aws/lambda/{need.name}"
    statements = [
        _allowed("Log", ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"), [logs, f"{logs}:*"]),
        _allowed("Login", ("secretsmanager:GetSecretValue",), need.settings.secret),
        _allowed("DeadLetters", ("sqs:SendMessage",), need.dead_letters_arn),
    ]
    if need.settings.subnets:
        # Lambda makes interfaces of its own there, whose names nobody knows before.
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
        actions = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets")
        more = ("ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses")
        statements.append(_allowed("Network", (*actions, *more), "*"))
    return {
        "role": need.settings.role,
        "trust": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        },
        "document": {"Version": "2012-10-17", "Statement": statements},
    }


def _allowed(sid: str, actions: tuple[str, ...], resource: str | list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}
