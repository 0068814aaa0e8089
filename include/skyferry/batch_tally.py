"""What one attempt at a batch has done so far, readable at any time: also when the attempt is stopped half-way."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from skyferry.errors import PermanentError, ReplanError, RetryableError, TransferError
from skyferry.records import Outcome, Receipt

MAX_COPIES_KEPT = 50
"""How many copies a tally keeps with their names and proofs; a receipt has up to 3 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch: objects by outcome, and the first few failures with their errors."""

    counts: dict[str, int]
    bytes_copied: int
    failures: tuple[tuple[Receipt, TransferError], ...]

    def raise_if_failed(self) -> None:
        """Raise the most retryable error of the batch, with the number and the first names of what failed.

        Raises:
            RetryableError: At least one object may succeed later.
            PermanentError: None will, until somebody changes something.
        """
        if not self.failures:
            return
        errors = [error for _, error in self.failures]
        worst = next((error for error in errors if isinstance(error, RetryableError)), errors[0])
        if isinstance(worst, ReplanError):
            worst = PermanentError(worst.message, hint=worst.hint)
        failed, tried = self.counts[Outcome.FAILED], sum(self.counts.values())
        shown = "; ".join(str(error) for error in errors[:5])
        raise type(worst)(
            f"{failed:,} of {tried:,} objects were not copied: {shown}",
            hint="the others were; their receipts are on record",
            retry_after_seconds=worst.retry_after_seconds,
        )


@dataclass(slots=True)
class BatchTally:
    """Adds up receipts as they come.

    Attributes:
        counts: Objects by outcome.
        verified_by: Copies by what proved them.
        lost_in_a_row: Newest failures that may succeed later, without a success or a permanent failure in between.
        copies: The first `MAX_COPIES_KEPT` copies.
    """

    counts: Counter[str] = field(default_factory=lambda: Counter({outcome.value: 0 for outcome in Outcome}))
    bytes_copied: int = 0
    verified_by: Counter[str] = field(default_factory=Counter)
    lost_in_a_row: int = 0
    copies: list[Receipt] = field(default_factory=list)
    failures: list[tuple[Receipt, TransferError]] = field(default_factory=list)

    def add(self, receipt: Receipt) -> None:
        """Count what became of one object."""
        self.counts[receipt.outcome] += 1
        if receipt.outcome is not Outcome.FAILED:
            self.lost_in_a_row = 0
        if receipt.outcome is Outcome.COPIED:
            self.bytes_copied += receipt.size_bytes
            self.verified_by[receipt.verified_by] += 1
            if len(self.copies) < MAX_COPIES_KEPT:
                self.copies.append(receipt)

    def add_failure(self, receipt: Receipt, error: TransferError) -> None:
        """Keep the error of an object that is, or will be, counted as failed."""
        # A copy, because the error itself holds on to its traceback, and so to the content that was being sent.
        self.lost_in_a_row = self.lost_in_a_row + 1 if isinstance(error, RetryableError) else 0
        self.failures.append((receipt, copy.copy(error)))

    def not_deleted(self, receipt: Receipt, error: TransferError) -> Receipt:
        """Count a copy whose source is still there as failed; its receipt stays a copy's, for the next attempt."""
        self.counts[receipt.outcome] -= 1
        self.counts[Outcome.FAILED] += 1
        if receipt.outcome is Outcome.COPIED:
            self.bytes_copied -= receipt.size_bytes
            self.verified_by[receipt.verified_by] -= 1
            self.copies = [one for one in self.copies if one.key != receipt.key]
        receipt = replace(receipt, not_deleted_because=str(error))
        self.add_failure(receipt, error)
        return receipt

    def result(self) -> BatchResult:
        """Return what there is so far."""
        return BatchResult(counts=dict(self.counts), bytes_copied=self.bytes_copied, failures=tuple(self.failures))

    def proofs(self) -> Mapping[str, int]:
        """Return copies by what proved them, without the zeros."""
        return {name: count for name, count in self.verified_by.items() if count}
