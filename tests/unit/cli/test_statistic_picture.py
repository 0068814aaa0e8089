"""The picture that `transfer statistic --plot` draws."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from skyferry.cli.statistic_picture import HEIGHT_PIXELS, WIDTH_PIXELS, draw_statistics
from skyferry.history.statistics import Grouping, Statistics, compute_statistics
from skyferry.history.transfer_run import TransferRun

START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


def run(number: int) -> TransferRun:
    failed, moment = number % 9 == 0, START + timedelta(hours=5 * number)
    seconds = 8 + number * 7 % 23
    report = {
        "state": "failed" if failed else "success",
        "source": "s3://shop/",
        "destination": "az://lake/",
        "objects_planned": 10 + number,
        "objects_copied": 10 + number,
        "bytes_copied": (number * 37 % 101) * 1_000_000,
        "duration_seconds": seconds,
    }
    return TransferRun(
        dag_id="transfer",
        run_id=f"run-{number}",
        route=f"on${number % 40}$demand",
        state="failed" if failed else "success",
        run_type="manual",
        run_after=moment,
        started_at=moment,
        ended_at=moment + timedelta(seconds=seconds),
        report=None if number == 5 else report,
    )


def statistics(group_by: Grouping, runs: int = 120) -> Statistics:
    return compute_statistics((run(number) for number in range(runs)), group_by=group_by)


def texts(file: Path) -> list[str]:
    return ["".join(each.itertext()).strip() for each in ET.parse(file).iter("{http://www.w3.org/2000/svg}text")]


def test_a_png_has_the_size_that_is_promised(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    draw_statistics(statistics("day"), file)
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (WIDTH_PIXELS, HEIGHT_PIXELS)


def test_an_svg_holds_the_numbers_as_text(tmp_path: Path) -> None:
    file = tmp_path / "picture.SVG"
    found = statistics("day")
    draw_statistics(found, file)
    said = texts(file)
    assert f"objects copied: {found.total.objects_copied:,}" in said
    assert any(text.startswith("bytes copied: ") and text.endswith(" GB") for text in said)
    assert {"success: 105", "failed: 14", "report missing: 1"} <= set(said)
    assert "2026-11-01" in said
    again = tmp_path / "again.svg"
    draw_statistics(found, again)
    assert again.read_bytes() == file.read_bytes()


def test_of_many_routes_the_largest_are_drawn_and_their_names_are_literal(tmp_path: Path) -> None:
    file = tmp_path / "picture.svg"
    found = statistics("route")
    draw_statistics(found, file)
    said = texts(file)
    assert any("30 of 40 shown" in text for text in said)
    assert found.groups[0].name in said
    assert "$" in found.groups[0].name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("picture.jpeg", '"picture.jpeg" ends in no known kind of picture; expected .png or .svg'),
        ("nowhere/picture.png", "there is no folder "),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_anything_is_read(
    name: str, message: str, tmp_path: Path, transfer_here: Callable[..., Any]
) -> None:
    done = transfer_here("statistic", "--plot", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
