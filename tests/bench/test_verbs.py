"""The benchmark of put and get runs our verbs against the sink, and its table says who failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import verbs
from bench.grounds import Grounds


@pytest.mark.parametrize("kind", verbs.KINDS)
def test_our_verbs_put_and_get_one_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "CONTENDERS", {"ours": verbs.ours})
    with Grounds(tmp_path, delay_seconds=0) as grounds:
        for verb in verbs.VERBS:
            errand = verbs.Errand(verb=verb, kind=kind, size_bytes=100_000)
            row = verbs.measure(errand, grounds, turns=1)
            assert row["failed"] == {}
            assert 0 < row["ours"]["working_seconds"] < row["ours"]["wall_seconds"]


def test_a_contender_that_gets_something_else_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_bytes(errand: verbs.Errand, place: verbs.Place) -> verbs.Start:
        del errand
        script = f"head -c 1000 /dev/zero > {place.folder}/got"
        return verbs.Start(arguments=("bash", "-c", script), environment=verbs.BASE_ENVIRONMENT)

    monkeypatch.setattr(verbs, "CONTENDERS", {"ours": other_bytes})
    with Grounds(tmp_path, delay_seconds=0) as grounds:
        row = verbs.measure(verbs.Errand(verb="get", kind="s3", size_bytes=1000), grounds, turns=1)
    assert "other bytes arrived" in row["failed"]["ours"]
    report = {"machine": {"python": "3", "cores": 2, "load": (0, 0, 0)}, "measured_at": "2026-11-21", "turns": 1}
    monkeypatch.setattr(verbs, "CONTENDERS", {"ours": other_bytes, "rclone": other_bytes})
    assert verbs.markdown({**report, "figures": [row]}).splitlines()[-1] == (
        "| get | s3 | 0 | failed | failed | failed | failed | failed | failed | failed |"
    )
