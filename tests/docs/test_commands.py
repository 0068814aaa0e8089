"""Every shell command of the documentation runs, or says why it cannot run here."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs.conftest import Shell
from tests.docs.pages import PROJECT, Block, Page, blocks, pages

REASONS = {
    "needs Docker",
    "needs a cluster",
    "needs a cloud account",
    "needs the state folder of a real run",
    "needs a running Airflow",
    "changes the locks",
    "takes minutes",
    "takes ten minutes and more",
    "needs a run that is under way",
}
"""Why a block may be left out; the marker above it says which. Those that need Airflow are run by tests/api."""

STACK_ENVIRONMENT = 'eval "$(make -s env)"'

SAYS = {
    ("README.md", 1): "2 of 2 objects copied (22 bytes)",
    ("README.md", 2): "1 of 1 objects copied (13 bytes)",
    ("docs/guide/getting-started.md", 1): "dry run: 2 objects (22 bytes) would be copied",
    ("docs/guide/getting-started.md", 2): "2 of 2 objects copied (22 bytes)",
    ("docs/guide/routes.md", 1): "dry run: ",
    ("docs/guide/ci.md", 1): "the transfer was not started: ",
}
"""What the nth `airflow dags test` of a page must end with."""

NEED_AIRFLOW = {"docs/guide/command-line.md", "docs/guide/doctor.md", "docs/guide/provisioning.md"}
"""Their commands talk to a running Airflow."""

PAGES_WITH_COMMANDS = [one for one in pages() if any(block.language == "bash" for block in one.blocks)]


def runnable(block: Block) -> str:
    """The commands of a block without those that stand for the shell the test gives them."""
    lines = [line for line in block.text.splitlines() if line != STACK_ENVIRONMENT and not line.startswith("make ")]
    return "\n".join(lines).strip()


@pytest.mark.slow
@pytest.mark.parametrize("one", PAGES_WITH_COMMANDS, ids=lambda one: one.name)
def test_the_commands_of_a_page_do_what_it_says(one: Page, shell: Shell, request: pytest.FixtureRequest) -> None:
    if one.name == "docs/guide/routes.md":
        request.getfixturevalue("shop")
    if one.name in NEED_AIRFLOW:
        shell = request.getfixturevalue("shell_of_stack")
    runs = 0
    for block in one.blocks:
        script = runnable(block)
        if block.language != "bash" or block.marker == "not run" or not script:
            continue
        done = shell.run(script)
        assert (done.returncode != 0) == (block.marker == "fails"), f"{block}: {done.stdout}"
        if "airflow dags test" in script:
            runs += 1
            assert SAYS[one.name, runs] in done.stdout, f"{block}: {done.stdout}"
            assert "Traceback" not in done.stdout
    assert runs == sum(name == one.name for name, _ in SAYS)
    if one.name == "docs/guide/getting-started.md":
        again = shell.run(next(block.text for block in reversed(one.blocks) if "airflow dags test" in block.text))
        assert "nothing copied: all 2 objects were skipped (2 identical)" in again.stdout


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_a_block_that_is_left_out_says_why(block: Block) -> None:
    if block.marker == "not run":
        assert block.reason in REASONS
    for name in ("docker", "make lock"):
        assert name not in runnable(block) or block.marker == "not run"


@pytest.mark.parametrize("block", blocks("bash"), ids=str)
def test_bash_can_read_it(block: Block) -> None:
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_make_targets_exist_wherever_they_are_named() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for one in pages():
        in_spans = [span for span in one.code_spans if re.match(r"make [a-z]", span)]
        commands = [block for block in one.blocks if block.language == "bash" or block.kind == "workflow"]
        in_blocks = [line for block in commands for line in re.findall(r"\bmake [^\n\")]+", block.text)]
        for command in in_spans + in_blocks:
            named = next(word for word in command.split()[1:] if re.fullmatch(r"[a-z-]+", word) and word != "-s")
            assert named in targets, f"{one.name}: {command}"


def test_variables_of_make_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    named = {name for one in pages() for name in re.findall(r"make \S+ ([A-Z_]+)=", one.text)}
    assert named
    assert [name for name in named if name not in makefile] == []
