"""How far a run is, read from the receipts it leaves in the stack's state folder; for the progress bar only."""

from __future__ import annotations

import json
from pathlib import Path

from skyferry.state import Run


class ReceiptReader:
    """Counts the copies of one run as their receipts appear.

    Args:
        state: The local folder in which the stack's runs keep their records.
    """

    def __init__(self, state: Path, *, dag_id: str, run_id: str) -> None:
        self._folder = state / Run(dag_id=dag_id, run_id=run_id, route="", started_at="").folder
        self._read: set[Path] = set()
        self._sizes: dict[str, int] = {}

    def copied(self) -> tuple[int, int]:
        """Return how many objects and bytes have been copied by now; each receipt is read once."""
        for path in self._folder.glob("plan-*/receipts/*/*.ndjson"):
            if path not in self._read:
                self._read.add(path)
                rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
                self._sizes |= {row["key"]: row["size_bytes"] for row in rows if row["outcome"] == "copied"}
        return len(self._sizes), sum(self._sizes.values())
