"""Whether a component answers as it should, and what its log says when it does not."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from stack.components import HOST, Component

# An opener without proxies: everything asked here is on this machine.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_PROBE_SECONDS: Final = 5.0


def is_healthy(component: Component, port: int) -> bool:
    """Ask the component once; False for every answer that is not the expected one, and for none."""
    url = component.url(port) + component.health.path
    try:
        with _DIRECT.open(url, timeout=_PROBE_SECONDS) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            status, body = refusal.code, b""
    except (OSError, http.client.HTTPException):
        return False
    return status in component.health.statuses and _field_is_healthy(component.health.field, body)


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closing connection does not keep a port
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port on which nobody listens at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, indented to stand below a message; empty if there is no log.

    Reads at most the last 64 KiB."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - 65536))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-count:])


def _field_is_healthy(field: str, body: bytes) -> bool:
    if not field:
        return True
    try:
        return bool(json.loads(body)[field]["status"] == "healthy")
    except (ValueError, KeyError, TypeError):
        return False
