"""A dock for each test, over moto's S3 and SQS."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry import attempts as attempts_module
from stack.running import Endpoint
from tests.watch_folder.dock import Dock, new_name


@pytest.fixture
async def dock(moto: Endpoint, tmp_path: Path) -> Dock:
    dock = Dock(moto.url, tmp_path, new_name())
    await dock.yard.build(notifies=False, has_dead_letters=False)
    return dock


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "_BACK_OFF", lambda state: 0.0)
