"""Claims: what is moved and what stays, whose names are taken, and who may not be in the way."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyferry.claim import Claimed, Claiming, claim_files, set_aside
from skyferry.errors import AccessDeniedError, BucketMissingError, KeyRefusedError, RequestError, SourceChangedError
from skyferry.objects import ObjectInfo
from skyferry.stores.local import LocalStore
from skyferry.stores.local_moves import names_like


class Folders:
    def __init__(self, root: Path) -> None:
        self.watched, self.claimed, self.done = root / "Watch", root / "QueuedForUpload", root / "UploadedToS3"
        self.watched.mkdir()

    def put(self, key: str, text: str = "text", *, where: Path | None = None) -> Path:
        path = (where or self.watched) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def claim(self, *, settle_seconds: float = 0, done_suffix: str = "", only: str = "") -> Claimed:
        claiming = Claiming(
            watched=self.watched,
            claimed=self.claimed,
            done=self.done,
            settle_seconds=settle_seconds,
            done_suffix=done_suffix,
        )
        return claim_files(claiming, takes=lambda info: not only or info.key == only)

    def set_aside(self, key: str) -> bool:
        return set_aside(self.info(key), claimed=self.claimed, done=self.done)

    def info(self, key: str) -> ObjectInfo:
        info = asyncio.run(LocalStore(self.claimed).stat(key))
        assert info is not None
        return info


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_settled_files_keep_their_path_and_their_bytes(folders: Folders) -> None:
    folders.put("a.csv", "one")
    folders.put("2026/may/b.csv", "two")
    found = folders.claim()
    assert (found.files, found.size_bytes, found.waiting) == (2, 6, 0)
    assert tree(folders.claimed) == {"2026/may/b.csv": "two", "a.csv": "one"}
    assert tree(folders.watched) == {}
    assert (folders.watched / "2026/may").is_dir(), "folders stay for the next writer"


def test_a_file_that_has_just_changed_waits_whatever_its_modification_time(folders: Folders) -> None:
    path = folders.put("a.csv")
    for age_seconds in (3600, -3600):
        moment = time.time() - age_seconds
        os.utime(path, (moment, moment))
        assert folders.claim(settle_seconds=300).waiting == 1
    assert tree(folders.claimed) == {}


def test_a_file_settles(folders: Folders) -> None:
    folders.put("a.csv")
    started = time.monotonic()
    while not folders.claim(settle_seconds=1.5).files:
        assert time.monotonic() - started < 60
        time.sleep(0.1)
    assert time.monotonic() - started >= 1.4


def test_only_wanted_files_are_claimed(folders: Folders) -> None:
    folders.put("a.csv")
    folders.put("b.csv")
    assert folders.claim(only="b.csv").files == 1
    assert list(tree(folders.watched)) == ["a.csv"]


def test_an_earlier_file_of_the_same_name_is_not_overwritten(folders: Folders) -> None:
    folders.put("a.csv", "older", where=folders.claimed)
    folders.put("a.csv", "newer")
    found = folders.claim()
    assert (found.files, found.in_the_way) == (0, 1)
    assert (tree(folders.claimed), tree(folders.watched)) == ({"a.csv": "older"}, {"a.csv": "newer"})


def test_a_file_where_a_folder_is_needed_keeps_the_others_going(folders: Folders) -> None:
    folders.put("a", "a file", where=folders.claimed)
    folders.put("a/b.csv")
    folders.put("c.csv")
    found = folders.claim()
    assert (found.files, found.in_the_way) == (1, 1)
    assert tree(folders.watched) == {"a/b.csv": "text"}


def test_links_pipes_and_what_they_lead_to_stay(folders: Folders, tmp_path: Path) -> None:
    secret = folders.put("secret.txt", "mine", where=tmp_path / "elsewhere")
    (folders.watched / "link.txt").symlink_to(secret)
    (folders.watched / "folder").symlink_to(secret.parent)
    os.mkfifo(folders.watched / "pipe")
    found = folders.claim()
    assert found.files == 0
    assert sorted(info.key for info in found.not_files) == ["folder", "link.txt", "pipe"]
    assert secret.read_text() == "mine"


def test_a_folder_that_becomes_a_link_after_it_was_listed_is_not_followed(folders: Folders, tmp_path: Path) -> None:
    secret = folders.put("a.csv", "mine", where=tmp_path / "elsewhere")
    folders.put("sub/a.csv")

    def swap(info: ObjectInfo) -> bool:
        (folders.watched / "sub").rename(tmp_path / "aside")
        (folders.watched / "sub").symlink_to(secret.parent)
        return True

    claiming = Claiming(watched=folders.watched, claimed=folders.claimed, settle_seconds=0)
    assert claim_files(claiming, takes=swap).files == 0
    assert secret.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["a b.csv", "{{ x }}", "line\nfeed", "ümläut", "-rf", os.fsdecode(b"\xff\xfe"), "q'\"$(x)"]
)
def test_names_are_data(folders: Folders, name: str) -> None:
    folders.put(f"sub/{name}", "text")
    assert folders.claim().files == 1
    assert folders.set_aside(f"sub/{name}")
    assert (folders.done / "sub" / name).read_text() == "text"


def test_unfinished_copies_of_ours_are_not_claimed(folders: Folders) -> None:
    folders.put(".skyferry-0011223344556677.part")
    assert folders.claim().files == 0


def test_two_runs_at_once_never_have_the_same_file(folders: Folders) -> None:
    for number in range(400):
        folders.put(f"{number % 7}/{number}.csv", str(number))
    found: list[Claimed] = []
    threads = [threading.Thread(target=lambda: found.append(folders.claim())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.files for one in found) == 400
    assert sorted(tree(folders.claimed).values(), key=int) == [str(number) for number in range(400)]
    assert not any(one.refused or one.in_the_way for one in found)


# Markers


def test_a_marker_decides_and_is_removed(folders: Folders) -> None:
    folders.put("a.csv")
    folders.put("b.csv")
    folders.put("b.csv.done")
    found = folders.claim(done_suffix=".done", settle_seconds=300)
    assert (found.files, found.waiting) == (1, 1)
    assert [path.name for path in folders.claimed.rglob("*")] == ["b.csv"]
    assert list(tree(folders.watched)) == ["a.csv"]


def test_a_claim_that_died_after_the_marker_is_finished(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    from skyferry import claim

    folders.put("a.csv", "older")
    folders.put("a.csv.done")
    real = claim.move

    def die_before_the_file(source: int, name: str, target: int, new_name: str) -> None:
        if name == "a.csv":
            raise KeyboardInterrupt
        real(source, name, target, new_name)

    monkeypatch.setattr(claim, "move", die_before_the_file)
    with pytest.raises(KeyboardInterrupt):
        folders.claim(done_suffix=".done")
    monkeypatch.setattr(claim, "move", real)
    assert list(tree(folders.watched)) == ["a.csv"]
    assert folders.claim(done_suffix=".done").files == 1
    folders.set_aside("a.csv")
    folders.put("a.csv", "a newer one that is still written")
    assert folders.claim(done_suffix=".done").waiting == 1


# Setting aside


def test_a_name_that_is_taken_in_the_done_folder_gets_a_number(folders: Folders) -> None:
    for text in ("one", "two", "three"):
        folders.put("may/orders.csv", text)
        folders.claim()
        assert folders.set_aside("may/orders.csv")
    assert tree(folders.done) == {
        "may/orders (2).csv": "two",
        "may/orders (3).csv": "three",
        "may/orders.csv": "one",
    }


def test_a_file_that_was_replaced_meanwhile_stays(folders: Folders) -> None:
    folders.put("a.csv", "older", where=folders.claimed)
    info = folders.info("a.csv")
    folders.put("a.csv", "a newer one", where=folders.claimed)
    with pytest.raises(SourceChangedError, match=r"QueuedForUpload/a\.csv is no longer the file that was copied"):
        set_aside(info, claimed=folders.claimed, done=folders.done)
    assert tree(folders.claimed) == {"a.csv": "a newer one"}


def test_a_file_that_is_replaced_at_the_last_moment_goes_back(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyferry import claim

    folders.done.mkdir()
    folders.put("a.csv", "older", where=folders.claimed)
    info = folders.info("a.csv")
    real = claim.move_to_free_name

    def replace_first(source: int, name: str, target: int) -> str:
        (folders.claimed / "a.csv").unlink()
        folders.put("a.csv", "newer", where=folders.claimed)
        return real(source, name, target)

    monkeypatch.setattr(claim, "move_to_free_name", replace_first)
    with pytest.raises(SourceChangedError):
        set_aside(info, claimed=folders.claimed, done=folders.done)
    assert (tree(folders.claimed), tree(folders.done)) == ({"a.csv": "newer"}, {})


def test_setting_aside_twice_is_harmless(folders: Folders) -> None:
    folders.put("a.csv", where=folders.claimed)
    info = folders.info("a.csv")
    assert set_aside(info, claimed=folders.claimed, done=folders.done)
    assert not set_aside(info, claimed=folders.claimed, done=folders.done)
    assert list(tree(folders.done)) == ["a.csv"]


def test_a_done_folder_with_a_file_in_the_way_is_named(folders: Folders) -> None:
    folders.put("a", where=folders.done)
    folders.put("a/b.csv", where=folders.claimed)
    with pytest.raises(KeyRefusedError, match=r"moving file://.*QueuedForUpload/a/b\.csv to file://.*UploadedToS3/"):
        folders.set_aside("a/b.csv")
    assert tree(folders.claimed) == {"a/b.csv": "text"}


def test_a_key_cannot_lead_out(folders: Folders) -> None:
    folders.done.mkdir()
    folders.claimed.mkdir()
    folders.put("outside.txt", where=folders.watched.parent)
    with pytest.raises(KeyRefusedError):
        set_aside(ObjectInfo(key="../outside.txt", size_bytes=4, etag=""), claimed=folders.claimed, done=folders.done)


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("orders.csv", "orders (2).csv"),
        ("orders", "orders (2)"),
        (".env", ".env (2)"),
        ("a.tar.gz", "a.tar (2).gz"),
        ("ü" * 125 + ".csv", "ü" * 123 + " (2).csv"),
    ],
)
def test_names_like(name: str, second: str) -> None:
    names = names_like(name)
    assert [next(names), next(names)] == [name, second]


# What stops everything, before anything is claimed


def test_a_watched_folder_that_is_missing_is_named(folders: Folders) -> None:
    folders.watched.rmdir()
    with pytest.raises(BucketMissingError, match=r"there is no folder file://.*/Watch/; create it"):
        folders.claim()


def test_folders_on_different_file_systems_are_refused(folders: Folders) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == folders.watched.stat().st_dev:
        pytest.skip("there is no second file system here")
    folders.put("a.csv")
    folders.done = other / f"skyferry-test-{os.getpid()}"
    try:
        with pytest.raises(RequestError, match="lie on different file systems.*nothing was claimed"):
            folders.claim()
        assert list(folders.done.iterdir()) == []
    finally:
        folders.done.rmdir()
    assert [path.name for path in folders.watched.iterdir()] == ["a.csv"]
    assert list(folders.claimed.iterdir()) == []


@pytest.fixture
def unprivileged() -> Iterator[Folders]:
    """Folders of a user without special rights, as whom the test runs: nothing is forbidden to root."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as root:
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(root, nobody, nobody)
            os.seteuid(nobody)
        try:
            yield Folders(Path(root))
        finally:
            if is_root:
                os.seteuid(0)


def test_what_may_not_be_moved_costs_no_other_file(unprivileged: Folders) -> None:
    unprivileged.put("a.csv")
    unprivileged.put("locked/b.csv").parent.chmod(0o500)
    found = unprivileged.claim()
    (unprivileged.watched / "locked").chmod(0o700)
    assert found.files == 1
    assert [(info.key, "Permission denied" in reason) for info, reason in found.refused] == [("locked/b.csv", True)]


def test_a_watched_folder_that_may_not_be_written_is_one_error(unprivileged: Folders) -> None:
    unprivileged.put("a.csv")
    unprivileged.watched.chmod(0o500)
    with pytest.raises(AccessDeniedError, match=r"writing to file://.*/Watch/ failed: Permission denied"):
        unprivileged.claim()
