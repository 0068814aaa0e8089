"""Carries experiments out and turns their samples into rows: medians, spread, ratio, target met or not."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.contenders import CONTENDERS
from bench.experiments import Experiment, Measure, Rule
from bench.grounds import Ground, Grounds, ask_sink
from bench.process_cost import ProcessCost, ProgramFailedError, run_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of one contender.

    Attributes:
        working_seconds: What the program says it worked, without its imports; its wall seconds where it says nothing.
        requests: By method, at the sink; None on the emulators.
        server_cpu_seconds: What the sink spent meanwhile.
    """

    cost: ProcessCost
    working_seconds: float
    requests: Mapping[str, int] | None
    server_cpu_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an experiment: samples by contender, or why a contender has none."""

    experiment: Experiment
    samples: Mapping[str, Sequence[Sample]]
    failures: Mapping[str, str]

    def figure(self, contender: str, measure: Measure) -> float | None:
        """Return the median of a measure; None for a contender that failed."""
        samples = self.samples.get(contender)
        if not samples:
            return None
        return statistics.median(_MEASURES[measure](sample, self.experiment) for sample in samples)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each rule."""
        return [self._row(rule) for rule in self.experiment.rules]

    def _row(self, rule: Rule) -> dict[str, Any]:
        ours = self.figure("ours", rule.measure)
        figures = {name: self.figure(name, rule.measure) for name in rule.rivals}
        best = max if rule.measure == "objects per second" else min
        known = {name: figure for name, figure in figures.items() if figure is not None}
        rival_name = best(known, key=lambda name: known[name]) if known else ""
        return make_row(
            f"{self.experiment.name}: {rule.measure}",
            ours=ours,
            rival=known.get(rival_name),
            rival_name=rival_name,
            rule=rule,
        )


def make_row(name: str, *, ours: float | None, rival: float | None, rival_name: str, rule: Rule) -> dict[str, Any]:
    """Return one row of the report; without both figures there is no ratio, and the target is not met."""
    ratio = None
    if ours and rival:
        ratio = rival / ours if rule.is_rival_over_ours else ours / rival
    met = ratio is not None and (ratio >= rule.target if rule.is_at_least else ratio <= rule.target)
    target = f"{'>=' if rule.is_at_least else '<='} {rule.target:g}"
    rounded = {"ours": _rounded(ours), "rival": _rounded(rival), "ratio": _rounded(ratio)}
    return {"name": name, **rounded, "rival_name": rival_name, "target": target, "met": met}


def carry_out(
    experiment: Experiment, ground: Ground, grounds: Grounds, *, runs: int, say: Callable[[str], None]
) -> Outcome:
    """Let the contenders do the work in turns, so that whatever else the machine does meets all of them."""
    grounds.fill(ground, experiment.work)
    samples: dict[str, list[Sample]] = {name: [] for name in experiment.contenders}
    failures: dict[str, str] = {}
    for turn in range(runs):
        for name in experiment.contenders:
            if name in failures:
                continue
            try:
                sample = _run(name, experiment, grounds.prepare_run(ground))
            except ProgramFailedError as error:
                failures[name] = str(error)
                say(f"  {name} failed: {error}")
                continue
            samples[name].append(sample)
            cost = sample.cost
            say(f"  {turn + 1}/{runs} {name}: CPU {cost.cpu_seconds:.2f} s, wall {cost.wall_seconds:.2f} s")
    return Outcome(experiment=experiment, samples=samples, failures=failures)


def _run(name: str, experiment: Experiment, ground: Ground) -> Sample:
    start = CONTENDERS[name](experiment.work, ground.place)
    before = ask_sink(ground, "stats")["cpu_seconds"] if ground.sink_url else None
    cost = run_program(start.arguments, environment=start.environment)
    requests, server_cpu_seconds = None, None
    if ground.sink_url:
        stats = ask_sink(ground, "stats", bucket="destination")
        requests, server_cpu_seconds = stats["requests"], stats["cpu_seconds"] - before
        if stats["objects"] != experiment.work.count and name != "plain curl":
            raise ProgramFailedError(f"{stats['objects']:,} of {experiment.work.count:,} objects arrived")
    return Sample(
        cost=cost,
        working_seconds=float(cost.told.get("seconds", cost.wall_seconds)),
        requests=requests,
        server_cpu_seconds=server_cpu_seconds,
    )


_MEASURES: Mapping[Measure, Callable[[Sample, Experiment], float]] = {
    "CPU seconds": lambda sample, _: sample.cost.cpu_seconds,
    "wall seconds": lambda sample, _: sample.cost.wall_seconds,
    "working seconds": lambda sample, _: sample.working_seconds,
    "objects per second": lambda sample, experiment: experiment.work.count / sample.cost.wall_seconds,
    "peak memory": lambda sample, _: sample.cost.peak_bytes / 2**20,
}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
