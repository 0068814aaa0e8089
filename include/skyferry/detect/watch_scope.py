"""Whether a watermark still belongs to what is looked at: a short text for the place and all that narrows the view."""

from __future__ import annotations

import hashlib
from typing import Any

from skyferry.object_filter import ObjectFilter
from skyferry.objects import json_line


def scope_of(url: str, selected: ObjectFilter, **settings: Any) -> str:
    """Return a text that changes when a sensor looks at other objects than before; it reveals nothing."""
    text = json_line({"url": url, **selected.to_json(), **settings})
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]
