"""Rows say what the samples say: which way a ratio goes, what counts as met, and that every child's time counts."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime

import pytest

from bench.contenders import CONTENDERS, Work
from bench.dag_run_overhead import overhead_rows, seconds_by_step
from bench.experiments import FULL, QUICK, Experiment, Rule, experiments
from bench.process_cost import ProcessCost, ProgramFailedError, run_program
from bench.report import Report, margin, markdown
from bench.runs import Outcome, Sample
from skyferry.sharded_listing import PLAIN_OBJECTS

BURN = "import time\nwhile time.process_time() < 0.5: pass\n"


def sample(cpu_seconds: float) -> Sample:
    cost = ProcessCost(cpu_seconds=cpu_seconds, wall_seconds=10, peak_bytes=2**20, told={})
    return Sample(cost=cost, working_seconds=10, requests={"GET": 1}, server_cpu_seconds=0.1)


def outcome(ours: list[float], rival: list[float], rule: Rule) -> Outcome:
    experiment = Experiment(
        work=Work(source="s3", destination="az", count=10, size_bytes=1024),
        ground="sink",
        contenders=("ours", "rclone, 64 transfers"),
        rules=(rule,),
    )
    samples = {"ours": [sample(one) for one in ours], "rclone, 64 transfers": [sample(one) for one in rival]}
    return Outcome(experiment=experiment, samples=samples, failures={})


CPU = Rule(measure="CPU seconds", rivals=("rclone, 64 transfers",), target=0.9)
FASTER = Rule(
    measure="CPU seconds", rivals=("rclone, 64 transfers",), target=12, is_rival_over_ours=True, is_at_least=True
)


def test_a_row_compares_medians():
    (row,) = outcome([1.0, 8.0, 2.0], [4.0, 4.0, 100.0], CPU).rows()
    assert row == {
        "name": "S3 -> Azure, 10 x 1 KiB, sink: CPU seconds",
        "ours": 2.0,
        "rival": 4.0,
        "rival_name": "rclone, 64 transfers",
        "ratio": 0.5,
        "target": "<= 0.9",
        "met": True,
    }


@pytest.mark.parametrize(
    ("ours", "rival", "rule", "ratio", "is_met"),
    [
        (4.0, 4.0, CPU, 1.0, False),
        (1.0, 12.0, FASTER, 12.0, True),
        (2.0, 12.0, FASTER, 6.0, False),
    ],
)
def test_a_target_is_met_on_its_own_side(ours, rival, rule, ratio, is_met):
    (row,) = outcome([ours], [rival], rule).rows()
    assert (row["ratio"], row["met"]) == (ratio, is_met)
    assert (margin(row) >= 1) == is_met


def test_a_contender_without_samples_meets_nothing():
    (row,) = outcome([1.0], [], CPU).rows()
    assert (row["rival"], row["ratio"], row["met"]) == (None, None, False)


def test_the_time_of_children_counts():
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}]); print('{{\"seconds\": 7}}')"
    cost = run_program([sys.executable, "-c", script], environment=os.environ)
    assert cost.cpu_seconds >= 0.5
    assert cost.told == {"seconds": 7}
    assert cost.peak_bytes > 2**20


def test_the_memory_of_whoever_measures_is_not_the_program_s() -> None:
    ballast = b"x" * 200_000_000
    cost = run_program([sys.executable, "-c", "b'x' * 30_000_000"], environment=os.environ)
    assert 30_000_000 < cost.peak_bytes < len(ballast)


def test_a_program_that_takes_too_long_is_no_sample() -> None:
    with pytest.raises(ProgramFailedError, match="ended with -9"):
        run_program([sys.executable, "-c", "import time; time.sleep(600)"], environment=os.environ, timeout_seconds=0.5)


def test_a_program_that_fails_is_no_sample():
    with pytest.raises(ProgramFailedError, match="out of luck"):
        run_program([sys.executable, "-c", "raise SystemExit('out of luck')"], environment=os.environ)


@pytest.mark.parametrize("scale", [FULL, QUICK])
def test_every_experiment_can_be_started_and_has_a_name_of_its_own(scale):
    planned = experiments(scale)
    names = [one.name for one in planned]
    assert len(names) == len(set(names))
    for one in planned:
        assert set(one.contenders) <= set(CONTENDERS)
        for rule in one.rules:
            assert set(rule.rivals) <= set(one.contenders)


def test_a_full_run_takes_at_least_five_turns():
    assert FULL.runs >= 5


def test_the_report_names_every_row_and_survives_json():
    report = Report(
        mode="quick",
        delay_seconds=0.04,
        measured_at=datetime(2026, 1, 1, tzinfo=UTC),
        outcomes=[outcome([1.0], [2.0], CPU)],
        figures=[],
        note="The machine was busy.",
    )
    values = report.to_json(machine={"cores": 2, "load_average": [1], "system": "s", "python": "p", "versions": {}})
    assert json.loads(json.dumps(values)) == values
    text = markdown(values, picture="x.png")
    assert "**The machine was busy.**" in text
    assert "S3 -> Azure, 10 x 1 KiB, sink: CPU seconds | 1 | 2 rclone, 64 transfers | 0.5 | <= 0.9 | yes |" in text


def test_the_steps_of_a_dag_run_end_with_the_commit():
    def at(second: float) -> datetime:
        return datetime.fromtimestamp(1_700_000_000 + second, UTC)

    seconds = seconds_by_step(at(0), {"plan": (at(1), at(3)), "copy": (at(3.5), at(5)), "report": (at(6), at(7))})
    assert seconds == {
        "trigger until plan begins": 1,
        "plan": 2,
        "until copy begins": 0.5,
        "copy": 1.5,
        "trigger to commit": 5,
    }
    *steps, whole = overhead_rows(seconds)
    assert all(row["met"] is None and row["target"] == "stated" for row in steps)
    assert (whole["ours"], whole["rival"], whole["met"]) == (5, 3.0, False)


def test_a_plan_of_made_up_listings_has_every_key_however_long_they_are() -> None:
    keys = 2 * PLAIN_OBJECTS
    told = run_program([sys.executable, "-m", "bench.plan_case", str(keys)], environment=os.environ).told
    assert (told["objects_planned"], told["objects_to_copy"]) == (keys, keys // 5)
