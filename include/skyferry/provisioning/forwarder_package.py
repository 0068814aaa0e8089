"""The zip that AWS Lambda gets of the forwarder: the same bytes for the same code, wherever and whenever it is made."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import skyferry

HANDLER = "skyferry.lambda_forwarder.forward_event.handle"

_FILES = (
    "skyferry/lambda_forwarder/__init__.py",
    "skyferry/lambda_forwarder/airflow_address.py",
    "skyferry/lambda_forwarder/forward_event.py",
    "skyferry/lambda_forwarder/http_post.py",
    "skyferry/stores/sigv4.py",
)
"""`skyferry` and `skyferry.stores` have no `__init__.py` there: theirs would import what is not in the zip."""

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE = 0o100644 << 16


def forwarder_package() -> bytes:
    """Return the zip: 20 kB, stored and not compressed, because compressors of different versions differ."""
    folder = Path(skyferry.__file__).parents[1]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as package:
        for name in _FILES:
            entry = zipfile.ZipInfo(name, _FIRST_DATE)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            package.writestr(entry, (folder / name).read_bytes())
    return written.getvalue()


def code_digest(package: bytes) -> str:
    """Return what Lambda calls `CodeSha256` of a zip."""
    return base64.b64encode(hashlib.sha256(package).digest()).decode("ascii")


def main(arguments: list[str]) -> None:
    """Write the zip into the file that the one argument names."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m skyferry.provisioning.forwarder_package FILE.zip")
    Path(arguments[0]).write_bytes(forwarder_package())


if __name__ == "__main__":
    main(sys.argv[1:])
