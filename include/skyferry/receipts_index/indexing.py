"""What became of receipts that were to be written to an index: how many are left, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Indexing:
    """What became of receipts that were to be written.

    Attributes:
        left: How many are not known to be in the index.
        problem: Why; empty if none is left.
    """

    written: int = 0
    left: int = 0
    problem: str = ""

    def add(self, other: Indexing) -> None:
        """Take in what became of others; the first problem is kept."""
        self.written += other.written
        self.left += other.left
        self.problem = self.problem or other.problem

    @property
    def text(self) -> str:
        """One sentence for people, and what to do; empty if nothing is left."""
        return f"{self.left:,} receipts are not in the index, and are on record: {self.problem}" if self.left else ""
