"""`transfer demo-files`: what it writes, what it says, and what it leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skyferry.cli import app
from skyferry.errors import RequestError
from skyferry.sample_files import SampleFiles


def write(folder: Path, *options: str) -> dict[str, int]:
    done = CliRunner().invoke(app, ["demo-files", str(folder), "--json", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    options = ("--count", "5", "--min-size", "10", "--max-size", "3000000", "--seed", "7")
    said = [write(tmp_path / name, *options) for name in ("a", "b")]
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    sizes = [len(body) for body in contents(tmp_path / "a").values()]
    assert len(sizes) == 5
    assert all(10 <= size <= 3_000_000 for size in sizes)
    assert (said[0]["files"], said[0]["size_bytes"], said[0]["seed"]) == (5, sum(sizes), 7)


def test_without_a_seed_nothing_is_in_the_way(tmp_path: Path) -> None:
    seeds = {write(tmp_path, "--count", "1")["seed"] for _ in range(3)}
    assert len(contents(tmp_path)) == len(seeds)


def test_files_of_no_size(tmp_path: Path) -> None:
    write(tmp_path, "--count", "2", "--min-size", "0", "--max-size", "0")
    assert list(contents(tmp_path).values()) == [b"", b""]


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "--count", "2", "--seed", "7")
    before = contents(tmp_path)
    with pytest.raises(RequestError, match="exists already; choose another --seed"):
        write(tmp_path, "--count", "2", "--seed", "7")
    assert contents(tmp_path) == before


def test_a_rate_is_kept_to(tmp_path: Path) -> None:
    assert write(tmp_path, "--count", "4", "--rate", "10", "--max-size", "1024")["seconds"] >= 0.3


def test_a_slow_writer_shows_its_file_growing(tmp_path: Path) -> None:
    samples = SampleFiles(seed=1, count=1, min_size_bytes=1000, max_size_bytes=1000, slow_seconds=2)
    writing = threading.Thread(target=lambda: list(samples.write_into(tmp_path)))
    writing.start()
    sizes = set()
    while writing.is_alive():
        sizes |= {path.stat().st_size for path in tmp_path.glob("sample-*")}
        time.sleep(0.05)
    assert len(sizes) > 3
    assert [len(body) for body in contents(tmp_path).values()] == [1000]


@pytest.mark.parametrize("options", [("--count", "-1"), ("--rate", "-1"), ("--min-size", "5", "--max-size", "4")])
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    with pytest.raises(RequestError, match="nothing was written"):
        write(tmp_path / "new", *options)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [str(Path(sys.executable).parent / "transfer"), "demo-files", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "failed: File exists" in done.stderr
    assert "Traceback" not in done.stderr
