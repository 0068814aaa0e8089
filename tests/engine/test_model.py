"""Any source, any destination, any options: what a run leaves behind is what a few lines of arithmetic say."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.conftest import Workshop

# Few names and contents, so that twins, folders beside files, and equal contents are common.
keys = st.sampled_from(["a", "a-b", "a/b", "a/c", "b/a", "b/a.txt", "é", "z z"])
contents = st.sampled_from([b"", b"1", b"2", b"12", b"21"])
trees = st.dictionaries(keys, contents, max_size=6).map(
    lambda tree: {key: body for key, body in tree.items() if not any(other.startswith(f"{key}/") for other in tree)}
)
policies = st.sampled_from(["replace_if_different", "skip", "replace", "fail"])


def cannot_hold(destination: dict[str, bytes], key: str) -> bool:
    """A file cannot be where a folder is, nor below a file."""
    return any(other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in destination)


@settings(max_examples=120, deadline=None)
@given(source=trees, destination=trees, on_conflict=policies, copy=st.booleans(), batch_objects=st.integers(1, 3))
def test_a_run_leaves_what_the_model_says(
    source: dict[str, bytes], destination: dict[str, bytes], on_conflict: str, copy: bool, batch_objects: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        workshop.destination.mkdir()
        for key, body in source.items():
            workshop.put(key, body)
        for key, body in destination.items():
            workshop.put(key, body, where=workshop.destination)
        conf = {"on_conflict": on_conflict, "copy": copy, "batch_objects": batch_objects}
        report = asyncio.run(workshop.run(**conf))

        expected_destination, expected_source = dict(destination), dict(source)
        copied = skipped = not_copied = bytes_copied = 0
        for key, body in source.items():
            if cannot_hold(destination, key):
                not_copied += 1
                continue
            there = destination.get(key)
            equal = there == body
            if there is None or on_conflict == "replace" or (on_conflict == "replace_if_different" and not equal):
                expected_destination[key] = body
                copied += 1
                bytes_copied += len(body)
                gone = not copy
            elif on_conflict == "fail" and not equal:
                not_copied += 1
                gone = False
            else:
                skipped += 1
                gone = equal and not copy
            if gone:
                del expected_source[key]

        assert workshop.tree(workshop.destination) == expected_destination
        assert workshop.tree(workshop.source) == expected_source
        assert (report.objects_copied, report.objects_skipped) == (copied, skipped)
        assert report.objects_refused + report.objects_failed == not_copied
        assert report.refused_by_reason == ({"conflict": report.objects_refused} if report.objects_refused else {})
        assert report.objects_planned == copied + skipped + not_copied == len(source)
        assert report.objects_deleted_at_source == len(source) - len(expected_source)
        assert (report.state == "success") == (not_copied == 0)
        assert report.bytes_copied == bytes_copied
