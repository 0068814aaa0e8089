"""What moto forgets of a Lambda function: it takes a dead-letter queue and a VPC, and never says that it has them.

with fault_proxy_in_thread(moto.url, always=lambda_front()) as proxy: ...
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.faults.proxy import Fault, Forward, Request, Response

_FUNCTIONS = "/2015-03-31/functions"
_FORGOTTEN = ("DeadLetterConfig", "VpcConfig")


def lambda_front() -> Fault:
    """Remember the forgotten settings of each function, and add them when somebody looks at it."""
    known: dict[str, dict[str, Any]] = {}

    async def front(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        path = request.target.partition("?")[0].rstrip("/")
        if not path.startswith(_FUNCTIONS) or response.status >= 300:
            return response
        name = path.removeprefix(_FUNCTIONS).strip("/").partition("/")[0]
        if (request.method == "POST" and not name) or (request.method == "PUT" and path.endswith("/configuration")):
            values = json.loads(request.body)
            settings = known.setdefault(name or values["FunctionName"], {})
            settings |= {one: values[one] for one in _FORGOTTEN if one in values}
        elif request.method == "DELETE" and path == f"{_FUNCTIONS}/{name}":
            known.pop(name, None)
        elif request.method == "GET" and path == f"{_FUNCTIONS}/{name}":
            found = json.loads(response.body)
            found["Configuration"] |= known.get(name, {})
            return replace(response, body=json.dumps(found).encode())
        return response

    return front
