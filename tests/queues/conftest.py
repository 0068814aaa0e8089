"""A yard for each test, over moto's S3 and SQS."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry import attempts as attempts_module
from stack.running import Endpoint
from tests.queues.yard import Yard, new_name


@pytest.fixture
def yard(moto: Endpoint, tmp_path: Path) -> Yard:
    return Yard(moto.url, tmp_path, new_name())


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)
