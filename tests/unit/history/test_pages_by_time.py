"""Pages that follow each other in time hold everything, however many entries have the same time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from skyferry.history import run_history
from skyferry.history.airflow_api import AnnouncedReports

_BEGIN = datetime(2026, 11, 21, tzinfo=UTC)
_PAGE_ENTRIES = 3


@dataclass
class Listing:
    """What a server lists in the order of time, a page at a time."""

    seconds: list[int]
    asked: int = 0

    def page_at(self, since: datetime, offset: int) -> AnnouncedReports:
        self.asked += 1
        times = sorted(_BEGIN + timedelta(seconds=second) for second in self.seconds)
        wanted = [time for time in times if time >= since][offset : offset + _PAGE_ENTRIES]
        reports = tuple((time.isoformat(), "", {}) for time in wanted)
        return AnnouncedReports(reports=reports, entries=len(wanted), last_at=wanted[-1] if wanted else None)


@given(st.lists(st.integers(0, 12), max_size=40))
def test_every_entry_is_on_a_page(seconds: list[int]) -> None:
    listing = Listing(seconds)
    with patch.object(run_history, "PAGE_RUNS", _PAGE_ENTRIES):
        pages = list(run_history._pages_by_time(listing.page_at, _BEGIN))
    seen = [time for page in pages for time, _, _ in page.reports]
    expected = sorted((_BEGIN + timedelta(seconds=second)).isoformat() for second in seconds)
    assert sorted(set(seen)) == sorted(set(expected))
    assert all(seen.count(time) >= expected.count(time) for time in expected)
    assert listing.asked == len(pages) <= len(seconds) + 1
