"""The Python example of the storage verbs does what it says."""

from __future__ import annotations

import pytest

from tests.docs.conftest import Shell
from tests.docs.pages import blocks


@pytest.mark.slow
def test_the_example_puts_lists_reads_and_removes(shell: Shell) -> None:
    (shell.folder / "notes").mkdir()
    (shell.folder / "notes" / "june.txt").write_text("second\n")
    (shell.folder / "example.py").write_text(blocks("python", "storage")[0].text)
    done = shell.run("python example.py")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [
        "1 copied, proven by {'md5': 1}",
        "s3://notes-python/all/june.txt 7",
        "b'second\\n'",
        "1 renamed",
        "1 removed",
    ]
