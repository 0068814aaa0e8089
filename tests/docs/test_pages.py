"""The pages hold together: links lead somewhere, names exist, nothing is left out, nothing is of this machine."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from skyferry import errors
from skyferry.request import parameter_names
from tests.docs.pages import PROJECT, Page, page, pages

SOURCES = ("include", "plugins", "dags", "stack", "tests", "demo")
CODE_SUFFIXES = {".py", ".yaml", ".toml", ".env", ".in", ".sh"}

# Names in code spans that belong to somebody else and that our own files need not mention.
FOREIGN_NAMES = {
    "key_secret_name", "credential_config_file", "impersonation_chain", "config_kwargs", "client_secret", "try_number",
    "object_store", "dag_run.conf", "QueuedForUpload", "AIRFLOW__METRICS__OTEL_ON", "s3_to_az",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "task_instances_without_heartbeats_killed",
}  # fmt: skip
# Other names of classes in code spans are the vendors' (`PutObject`).
OUR_KIND_OF_CLASS = re.compile(
    r"Test[A-Z]\w+|([A-Z][a-z0-9]+)+(Error|Store|Upload|Operator|Sensor|Opener|Request|Failed)|Capabilities"
)
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(work|root|home|tmp|usr|opt)/|\bpip\.conf\b|10\.\d+\.\d+\.\d+")

every_page = pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)


@every_page
def test_relative_links_and_anchors_resolve(one: Page) -> None:
    broken = []
    for _, target in one.links:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (PROJECT / one.name).parent / path if path else PROJECT / one.name
        name = str(file.resolve().relative_to(PROJECT))
        if not file.exists() or (anchor and anchor not in page(name).anchors):
            broken.append(target)
    assert broken == []


@every_page
def test_links_to_other_hosts_are_https(one: Page) -> None:
    elsewhere = [target for _, target in one.links if re.match(r"[a-z]+:", target)]
    assert [target for target in elsewhere if not target.startswith("https://")] == []


@every_page
def test_links_named_after_a_test_lead_to_its_file(one: Page) -> None:
    for text, target in one.links:
        if text.endswith(".py"):
            assert Path(target.partition("#")[0]).name == text


@every_page
def test_nothing_of_a_machine_is_named(one: Page) -> None:
    assert MACHINE_PATHS.findall(one.text) == []


@every_page
def test_names_in_code_spans_exist(one: Page) -> None:
    unknown = sorted(span for span in one.code_spans if not _exists(span))
    assert unknown == [], f"{one.name} names what is not there"


def _exists(span: str) -> bool:
    """Whether a code span that looks like a name of ours is one; other spans are anybody's."""
    if re.fullmatch(r"skyferry(\.\w+)+", span):
        return _is_importable(span)
    if re.fullmatch(r"(include|docs|dags|plugins|stack|tests|demo)/[\w./-]*", span):
        return (PROJECT / span).exists()
    if OUR_KIND_OF_CLASS.fullmatch(span):
        return span in FOREIGN_NAMES or span in _class_names()
    if re.fullmatch(r"[a-z]\w*_\w+|SKYFERRY_\w+|AIRFLOW__\w+", span):
        return span in FOREIGN_NAMES or re.search(rf"\b{re.escape(span)}\b", _all_code()) is not None
    return True


def _is_importable(dotted: str) -> bool:
    module, _, attribute = dotted.rpartition(".")
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        return hasattr(importlib.import_module(module), attribute)
    return True


@cache
def _class_names() -> frozenset[str]:
    names = set()
    for file in _code_files():
        if file.suffix == ".py":
            tree = ast.parse(file.read_text(encoding="utf-8"))
            names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return frozenset(names)


@cache
def _all_code() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in _code_files())


@cache
def _code_files() -> tuple[Path, ...]:
    found = [file for file in PROJECT.iterdir() if file.is_file() and file.suffix in {".yaml", ".toml"}]
    for folder in SOURCES:
        found += [
            file
            for file in (PROJECT / folder).rglob("*")
            if file.suffix in CODE_SUFFIXES and "node_modules" not in file.parts and file.parent.name != "docs"
        ]
    return tuple(found)


def test_every_error_class_has_a_section_and_a_row() -> None:
    guide = page("docs/guide/what-can-go-wrong.md")
    kinds = (errors.TransferError, errors.RetryableError, errors.PermanentError, errors.ReplanError)
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TransferError) and value not in kinds
    }
    documented = {heading for heading in guide.headings if heading.endswith("Error")}
    assert documented == classes
    for name in classes:
        row = next(line for line in guide.text.splitlines() if line.startswith(f"| [{name}]"))
        is_retried = issubclass(getattr(errors, name), errors.RetryableError)
        assert ("| yes |" in row) == is_retried


def test_every_parameter_is_explained() -> None:
    guide = page("docs/guide/parameters.md").text
    assert [name for name in parameter_names() if not re.search(rf"\b{name}\b", guide)] == []


def test_the_index_lists_every_page() -> None:
    linked = {
        str((PROJECT / "docs" / target.partition("#")[0]).resolve().relative_to(PROJECT))
        for _, target in page("docs/README.md").links
    }
    assert {one.name for one in pages()} - {"README.md", "docs/README.md"} <= linked


@pytest.mark.parametrize("one", [one for one in pages() if one.name.startswith("docs/adr/")], ids=lambda one: one.name)
def test_a_decision_says_what_why_and_what_would_violate_it(one: Page) -> None:
    assert one.headings[1:] == ("Context", "Decision", "Consequences", "Evidence")
    assert "A change violates this decision when" in one.text
    assert one.headings[0].startswith(Path(one.name).name[:4])


def test_every_right_the_stores_ask_for_is_in_the_guide() -> None:
    guide = page("docs/guide/connections.md").text
    stores = "\n".join(file.read_text(encoding="utf-8") for file in (PROJECT / "include/skyferry/stores").glob("*.py"))
    rights = set(re.findall(r'needs="([\w:.]+)"', stores)) | set(re.findall(r"Storage Blob Data \w+", stores))
    assert len(rights) > 8
    assert [right for right in rights if right not in guide and not _is_shortened(right, guide)] == []


def _is_shortened(right: str, guide: str) -> bool:
    """`storage.objects.create` may stand as `.create` in a row that names another one of its kind in full."""
    head, _, tail = right.rpartition(".")
    return bool(head) and f"`{head}." in guide and f"`.{tail}`" in guide
