"""The demo's files: always the same ones, and enough of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from demo.files import LARGE_KEY, Candidate, DemoError, choose_files, digested, installed_files, write_files


def _candidates(sizes: dict[str, int]) -> list[Candidate]:
    return [Candidate(key=key, path=Path(key), size_bytes=size) for key, size in sizes.items()]


def test_the_choice_does_not_depend_on_the_order_in_which_files_are_found() -> None:
    candidates = _candidates({f"packages/{number}.py": number for number in range(200)})
    shuffled = random.Random(7).sample(candidates, len(candidates))
    chosen = choose_files(candidates, files=50, min_bytes=100)
    assert choose_files(shuffled, files=50, min_bytes=100) == chosen
    assert len(chosen) == 50
    assert [each.key for each in chosen] == sorted(each.key for each in chosen)
    assert [each.key for each in chosen] != [each.key for each in sorted(candidates, key=lambda each: each.key)[:50]]


def test_larger_files_fill_up_the_bytes_and_none_is_gigantic() -> None:
    small, medium, gigantic = 100, 2 * 2**20, 2**30
    sizes = {f"s{number}": small for number in range(20)} | {f"m{number}": medium for number in range(9)}
    chosen = choose_files(_candidates(sizes | {"g": gigantic}), files=10, min_bytes=3 * medium)
    assert sorted(each.size_bytes for each in chosen) == [small] * 10 + [medium] * 3


def test_too_few_files_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DemoError, match=r"found 3 files with 30 bytes.*expected 10 files.*make install"):
        choose_files(_candidates({"a": 10, "b": 10, "c": 10}), files=10, min_bytes=1)


def test_this_environment_has_enough_files_of_many_kinds() -> None:
    chosen = choose_files(installed_files())
    assert len(chosen) >= 3_000
    assert sum(each.size_bytes for each in chosen) >= 100_000_000
    assert {"stdlib", "packages"} == {each.key.split("/")[0] for each in chosen}
    assert len({each.path.suffix for each in chosen}) > 20
    assert not any("__pycache__" in each.key for each in chosen)


def test_written_files_are_whole_and_the_large_one_is_made_of_them(tmp_path: Path) -> None:
    contents = {"stdlib/one.py": b"one", "packages/two.bin": bytes(range(256)) * 10, "packages/empty": b""}
    for key, content in contents.items():
        (tmp_path / "from" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / key).write_bytes(content)
    chosen = [
        Candidate(key=key, path=tmp_path / "from" / key, size_bytes=len(content)) for key, content in contents.items()
    ]
    folder = tmp_path / "to"
    (folder / "of-an-earlier-demo").mkdir(parents=True)
    seen = []

    originals = write_files(chosen, folder, large_bytes=10_000, progress=lambda *step: seen.append(step))

    assert not (folder / "of-an-earlier-demo").exists()
    assert {key: original.path.read_bytes() for key, original in originals.items() if key != LARGE_KEY} == contents
    whole = b"".join(contents.values())
    assert originals[LARGE_KEY].path.read_bytes() == (whole * 4)[:10_000]
    assert sum(files for files, _ in seen) == 4
    assert sum(size_bytes for _, size_bytes in seen) == len(whole) + 10_000


def test_digests_are_spelled_as_the_stores_spell_them(tmp_path: Path) -> None:
    path = tmp_path / "check"
    path.write_bytes(b"123456789")  # the check value of CRC-32C is e3069283
    original = digested(path)
    assert original.size_bytes == 9
    assert original.md5 == "25f9e794323b453885f5181f1b624d0b"
    assert original.crc32c == "4waSgw=="
