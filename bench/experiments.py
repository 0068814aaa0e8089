"""Which contenders do which work on which ground, and what must come out: the table of targets as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.contenders import Work

GroundName = Literal["sink", "slow sink", "emulators", "slow emulators"]
Measure = Literal["CPU seconds", "wall seconds", "working seconds", "objects per second", "peak memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the report: what is compared, and what is wanted.

    Attributes:
        rivals: The best of them by this measure counts.
        is_rival_over_ours: The ratio is the rival's figure by ours: how many times faster we are.
        is_at_least: The ratio must reach the target, and not stay below it.
    """

    measure: Measure
    rivals: tuple[str, ...]
    target: float
    is_rival_over_ours: bool = False
    is_at_least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One piece of work done by several contenders in turns on one ground."""

    work: Work
    ground: GroundName
    contenders: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def name(self) -> str:
        """What is done, in words."""
        size = _size(self.work.size_bytes)
        objects = size if self.work.count == 1 else f"{self.work.count:,} x {size}"
        return f"{self.work.pair}, {objects}, {self.ground}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done, and how often.

    Attributes:
        runs: Of every contender of every experiment, taking turns.
    """

    runs: int
    small_objects: int
    tiny_objects: int
    large_bytes: int
    slow_objects: int
    planned_keys: tuple[int, ...]


FULL = Scale(
    runs=5,
    small_objects=2_000,
    tiny_objects=20_000,
    large_bytes=2**30,
    slow_objects=200,
    planned_keys=(10_000, 100_000, 1_000_000),
)
QUICK = Scale(
    runs=3,
    small_objects=500,
    tiny_objects=2_000,
    large_bytes=2**27,
    slow_objects=50,
    planned_keys=(10_000, 100_000),
)

PAIRS = (("s3", "az"), ("s3", "gs"), ("s3", "s3"), ("file", "s3"), ("file", "az"))
_STOCK_PAIRS = (("s3", "az"), ("s3", "gs"), ("file", "s3"))
_SMALL_BYTES = 64 * 1024
_RCLONE = "rclone, 64 transfers"
_RCLONES = (_RCLONE, "rclone, 256 transfers")
_MEMORY = Rule(measure="peak memory", rivals=(_RCLONE,), target=1.0)


def experiments(scale: Scale) -> list[Experiment]:
    """Return everything that is compared with a rival."""
    return [*_cpu_of_small(scale), *_slow_small(scale), *_stock(scale), *_cpu_of_large(scale), *_tiny(scale)]


def _cpu_of_small(scale: Scale) -> list[Experiment]:
    grounds: tuple[GroundName, ...] = ("sink", "emulators")
    return [
        Experiment(
            work=Work(source=source, destination=destination, count=scale.small_objects, size_bytes=_SMALL_BYTES),
            ground=ground,
            contenders=("ours", _RCLONE, *_s5cmd(source, destination)),
            rules=(Rule(measure="CPU seconds", rivals=(_RCLONE,), target=0.9), _MEMORY),
        )
        for ground in grounds
        for source, destination in PAIRS
    ]


def _slow_small(scale: Scale) -> list[Experiment]:
    return [
        Experiment(
            work=Work(source=source, destination=destination, count=scale.small_objects, size_bytes=_SMALL_BYTES),
            ground="slow sink",
            contenders=("ours", *_RCLONES),
            rules=(Rule(measure="wall seconds", rivals=_RCLONES, target=1.0),),
        )
        for source, destination in PAIRS
    ]


def _stock(scale: Scale) -> list[Experiment]:
    grounds: tuple[tuple[GroundName, float], ...] = (("slow emulators", 12.0), ("slow sink", 40.0))
    return [
        Experiment(
            work=Work(source=source, destination=destination, count=scale.slow_objects, size_bytes=_SMALL_BYTES),
            ground=ground,
            contenders=("ours", "stock operator", _RCLONE),
            rules=(
                Rule(
                    measure="working seconds",
                    rivals=("stock operator",),
                    target=target,
                    is_rival_over_ours=True,
                    is_at_least=True,
                ),
            ),
        )
        for ground, target in grounds
        for source, destination in _STOCK_PAIRS
    ]


def _cpu_of_large(scale: Scale) -> list[Experiment]:
    return [
        Experiment(
            work=Work(source=source, destination=destination, count=1, size_bytes=scale.large_bytes),
            ground="sink",
            contenders=("ours", _RCLONE, *_s5cmd(source, destination)),
            rules=(
                Rule(measure="CPU seconds", rivals=(_RCLONE,), target=1.5 if destination == "gs" else 1.0),
                _MEMORY,
            ),
        )
        for source, destination in PAIRS
    ] + [
        Experiment(
            work=Work(source=source, destination=destination, count=1, size_bytes=scale.large_bytes),
            ground="slow sink",
            contenders=("ours", "plain curl"),
            rules=(
                Rule(
                    measure="working seconds",
                    rivals=("plain curl",),
                    target=0.8,
                    is_rival_over_ours=True,
                    is_at_least=True,
                ),
            ),
        )
        for source, destination in PAIRS
    ]


def _tiny(scale: Scale) -> list[Experiment]:
    return [
        Experiment(
            work=Work(source=source, destination=destination, count=scale.tiny_objects, size_bytes=1024),
            ground="sink",
            contenders=("ours", _RCLONE, *_s5cmd(source, destination)),
            rules=(
                Rule(measure="objects per second", rivals=(_RCLONE,), target=1.2, is_at_least=True),
                _MEMORY,
            ),
        )
        for source, destination in (("s3", "az"), ("file", "s3"))
    ]


def _s5cmd(source: str, destination: str) -> tuple[str, ...]:
    return ("s5cmd",) if (source, destination) == ("file", "s3") else ()


def _size(size_bytes: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:g} {unit}"
    return f"{size_bytes} bytes"
