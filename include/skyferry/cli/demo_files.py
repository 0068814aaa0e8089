"""The command `transfer demo-files`: test files for a folder that a route watches."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from skyferry.cli.output import say, write_json
from skyferry.sample_files import SampleFiles


def demo_files(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write; created if it is missing.")],
    *,
    count: Annotated[int, typer.Option(help="How many files.")] = 10,
    rate: Annotated[float, typer.Option(help="Files a second, at most; 0 for as fast as possible.")] = 0.0,
    min_size: Annotated[int, typer.Option(help="Size of the smallest possible file, in bytes.")] = 1024,
    max_size: Annotated[int, typer.Option(help="Size of the largest possible file, in bytes.")] = 1024 * 1024,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same files; without it they differ each time.")
    ] = None,
    slow_writer: Annotated[
        float,
        typer.Option(help="Write each file under its own name in pieces, over so many seconds; 0 renames whole files."),
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Write test files into a folder, to see a route at work; nothing is overwritten."""
    samples = SampleFiles(
        seed=secrets.randbelow(10**6) if seed is None else seed,
        count=count,
        per_second=rate,
        min_size_bytes=min_size,
        max_size_bytes=max_size,
        slow_seconds=slow_writer,
    )
    started = time.monotonic()
    files = size_bytes = 0
    try:
        for written_bytes in samples.write_into(folder):
            files, size_bytes = files + 1, size_bytes + written_bytes
    finally:
        seconds = round(time.monotonic() - started, 3)
        if as_json:
            write_json({"files": files, "size_bytes": size_bytes, "seconds": seconds, "seed": samples.seed})
        else:
            say(f"wrote {files:,} files ({size_bytes:,} bytes) to {folder} in {seconds:,.1f} s; seed {samples.seed}")
