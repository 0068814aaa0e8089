"""When a file of a real folder counts; only the clock is made up."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from skyferry.detect.new_objects import Detection
from skyferry.detect.seen_objects import MAX_EXACT
from skyferry.detect.settled_files import find_settled_files
from skyferry.errors import BucketMissingError, RequestError
from skyferry.object_filter import ObjectFilter
from skyferry.stores.local import LocalStore

START = datetime(2026, 5, 4, tzinfo=UTC)


class Watched:
    """A folder that is looked at again and again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.watermark = ""

    def put(self, name: str, text: str = "x") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async def look(self, at: float, *, settle: float = 10, done: str = "", **filters: object) -> Detection:
        found = await find_settled_files(
            LocalStore(self.root),
            selected=ObjectFilter(**filters),  # type: ignore[arg-type]
            watermark=self.watermark,
            settle_seconds=settle,
            done_suffix=done,
            now=START + timedelta(seconds=at),
        )
        self.watermark = found.watermark
        assert len(found.watermark) < 60_000
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


async def test_a_file_counts_once_it_was_the_same_for_so_long(watched):
    watched.put("a", "four")
    assert [((found := await watched.look(at)).objects, found.waiting) for at in (0, 5, 9.5)] == [(0, 1)] * 3
    found = await watched.look(10)
    assert (found.objects, found.waiting, found.size_bytes, found.first_keys) == (1, 0, 4, ("a",))
    assert (await watched.look(100)).objects == 0


async def test_fractions_of_a_second_never_shorten_the_time(watched):
    watched.put("a")
    await watched.look(0.9)
    assert (await watched.look(10.8)).objects == 0
    assert (await watched.look(11)).objects == 1


async def test_a_file_that_grows_is_waited_for_and_holds_up_no_other(watched):
    watched.put("slow")
    watched.put("other")
    for at in range(0, 10, 2):
        with (watched.root / "slow").open("a") as file:
            file.write("more")
        assert (await watched.look(at)).objects == 0
    found = await watched.look(10)
    assert (found.first_keys, found.waiting) == (("other",), 1)
    assert (await watched.look(17)).objects == 0
    assert (await watched.look(18)).first_keys == ("slow",)


async def test_one_that_was_replaced_by_a_twin_is_another_file(watched):
    watched.put("a")
    await watched.look(0)
    status = (watched.root / "a").stat()
    watched.put("b")
    os.utime(watched.root / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    (watched.root / "b").replace(watched.root / "a")
    assert (await watched.look(10)).objects == 0
    assert (await watched.look(20)).objects == 1


async def test_an_old_modification_time_is_no_reason_to_take_or_to_leave_a_file(watched):
    watched.put("a")
    os.utime(watched.root / "a", (0, 0))
    assert (await watched.look(0)).objects == 0
    assert (await watched.look(10)).objects == 1
    watched.put("later")
    os.utime(watched.root / "later", (0, 0))
    await watched.look(20)
    assert (await watched.look(30)).first_keys == ("later",)


async def test_a_file_that_is_too_young_is_not_there_yet(watched):
    watched.put("a")
    os.utime(watched.root / "a", (0, 0))  # only the time of the change counts, which nobody can set
    born = (watched.root / "a").stat().st_ctime - START.timestamp()
    looks = [await watched.look(born + at, min_age_seconds=30) for at in (0, 29, 31, 42)]
    assert [(look.objects, look.waiting) for look in looks] == [(0, 0), (0, 0), (0, 1), (1, 0)]


async def test_a_file_written_anew_counts_anew(watched):
    watched.put("a")
    await watched.look(0)
    await watched.look(10)
    watched.put("a", "changed")
    assert (await watched.look(20)).waiting == 1
    assert (await watched.look(30)).objects == 1


async def test_files_that_went_away_are_forgotten(watched):
    watched.put("a")
    watched.put("b")
    await watched.look(0)
    (watched.root / "a").unlink()
    found = await watched.look(10)
    assert (found.first_keys, found.waiting) == (("b",), 0)
    (watched.root / "b").unlink()
    assert (await watched.look(20)).objects == 0


async def test_a_marked_file_counts_at_once_and_its_marker_never(watched):
    watched.put("x/a.csv")
    watched.put("x/b.csv")
    watched.put("x/b.csv.done", "")
    found = await watched.look(0, done=".done")
    assert (found.first_keys, found.waiting) == (("x/b.csv",), 0)
    assert (await watched.look(100, done=".done")).objects == 0, "without a marker it is never settled"
    watched.put("x/a.csv.done", "")
    assert (await watched.look(101, done=".done")).first_keys == ("x/a.csv",)


async def test_zero_seconds_count_at_once(watched):
    watched.put("a")
    assert (await watched.look(0, settle=0)).objects == 1


async def test_names_and_sizes_are_filtered_and_links_are_no_files(watched):
    for name in ("in/a.csv", "in/a.part", "out.csv"):
        watched.put(name)
    watched.put("in/big.csv", "x" * 10)
    (watched.root / "in/link.csv").symlink_to("a.csv")
    found = await watched.look(0, settle=0, include=["in/"], exclude=["**/*.part"], max_size_bytes=9)
    assert found.first_keys == ("in/a.csv",)


async def test_another_filter_and_a_damaged_watermark_look_anew(watched):
    watched.put("a")
    await watched.look(0, settle=0)
    assert (await watched.look(0, settle=0, exclude=["b"])).objects == 1
    for text in ("{", "[]", watched.watermark.replace('"seen"', '"sean"'), watched.watermark[:-3] + '*"}'):
        watched.watermark = text
        assert (await watched.look(0, settle=0, exclude=["b"])).objects == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"settle": -1}, "settle_seconds is -1"), ({"done": "x/.done"}, 'done_suffix holds "/"')],
)
async def test_wrong_settings_say_so(watched, arguments, message):
    with pytest.raises(RequestError, match=message):
        await watched.look(0, **arguments)


async def test_a_missing_folder_is_one_clear_error(watched):
    watched.root = watched.root / "gone"
    with pytest.raises(BucketMissingError, match="there is no folder"):
        await watched.look(0)


async def test_a_folder_of_thousands_is_known_again_and_one_more_is_seen(watched):
    for number in range(MAX_EXACT + 500):
        watched.put(str(number))
    first = await watched.look(0)
    assert (first.objects, first.is_exact) == (0, False)
    assert (await watched.look(10)).objects > 0
    assert (await watched.look(20)).objects == 0
    watched.put("one-more")
    assert (await watched.look(30)).waiting == 1
    assert (await watched.look(35)).objects == 0
    assert (await watched.look(40)).objects == 1
    assert (await watched.look(50)).objects == 0
    # Once most were taken away, files are known one by one again.
    for number in range(MAX_EXACT):
        (watched.root / str(number)).unlink()
    await watched.look(60)
    await watched.look(70)
    watched.put("another")
    await watched.look(80)
    found = await watched.look(90)
    assert (found.is_exact, found.first_keys) == (True, ("another",))


async def test_thousands_of_marked_files_count_and_one_more(watched):
    for number in range(MAX_EXACT + 5):
        watched.put(str(number))
        watched.put(f"{number}.done")
    assert (await watched.look(0, done=".done")).objects > 0
    assert (await watched.look(1, done=".done")).objects == 0
    watched.put("x")
    assert (await watched.look(2, done=".done")).objects == 0
    watched.put("x.done")
    assert (await watched.look(3, done=".done")).objects == 1


async def test_it_says_when_the_first_file_will_be_settled(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    look = partial(find_settled_files, LocalStore(tmp_path), selected=ObjectFilter(), settle_seconds=10)
    first = await look(now=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))
    assert first.settles_in_seconds == 10
    (tmp_path / "b.csv").write_text("b")
    second = await look(now=datetime(2026, 5, 4, 3, 2, 5, tzinfo=UTC), watermark=first.watermark)
    assert (second.waiting, second.settles_in_seconds) == (2, 6)
    last = await look(now=datetime(2026, 5, 4, 3, 2, 15, tzinfo=UTC), watermark=second.watermark)
    assert (last.objects, last.settles_in_seconds) == (2, None)
