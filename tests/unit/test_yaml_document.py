"""YAML files: plain values with lines; everything else YAML can do is refused with file and line."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skyferry.yaml_document import MAX_FILE_BYTES, YamlError, read_yaml_file, shown_path


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(YamlError) as caught:
        read_yaml_file(written(folder, text))
    return str(caught.value.problem).removeprefix(str(folder) + "/")


def test_values_come_with_their_lines(tmp_path: Path) -> None:
    document = read_yaml_file(written(tmp_path, "# comment\na: 1\nb:\n  c: [x, 2]\n  d: {e: true}\n"))
    assert document.values == {"a": 1, "b": {"c": ["x", 2], "d": {"e": True}}}
    assert document.problems == []
    assert [document.line_of(place) for place in (("a",), ("b", "c"), ("b", "c", 1), ("b", "d", "e"))] == [2, 4, 4, 5]
    assert document.line_of(("b", "missing", "deeper")) == 3
    assert document.line_of(()) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-11-21", "2026-11-21"),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("99999999999999999999", "99999999999999999999"),
        ('"12"', "12"),
        ("'true'", "true"),
        ("<<", "<<"),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(tmp_path: Path, text: str, value: object) -> None:
    values = read_yaml_file(written(tmp_path, f"a: {text}\n")).values
    assert values == {"a": value}
    assert isinstance(values, dict)
    assert type(values["a"]) is type(value)


def test_names_given_twice_are_all_named(tmp_path: Path) -> None:
    document = read_yaml_file(written(tmp_path, "a: 1\nb: {c: 1, c: 2}\na: 2\n"))
    assert [str(problem).rpartition("/")[2] for problem in document.problems] == [
        "file.yaml:2: b.c: given twice, first on line 2",
        "file.yaml:3: a: given twice, first on line 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file.yaml: the file is empty"),
        ("# only a comment\n", "file.yaml: the file is empty"),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", "file.yaml:2: tags are not allowed: tag:yaml.org"),
        ("a: !!str 1\n", "file.yaml:1: tags are not allowed"),
        ("!mine\na: 1\n", "file.yaml:1: tags are not allowed: !mine"),
        ("!!str a: 1\n", "file.yaml:1: tags are not allowed"),
        ("a: &x 1\nb: *x\n", "file.yaml:1: anchors (&) and aliases (*) are not allowed"),
        ("data: *.csv\n", "quote a text that begins with * or &"),
        ("data: **/*.csv\n", "quote a text that begins with * or &"),
        ("data: *csv\n", "file.yaml:1: anchors (&) and aliases (*) are not allowed; write the value out, or quote it"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2: a second document"),
        ("a:\n\tb: 1\n", "file.yaml:2: a tab at the beginning; indent with spaces"),
        ("a:\n  \tb: 1\n", "file.yaml:2: a tab at the beginning"),
        ("a: [1\n", "file.yaml:2: this is not YAML"),
        ("a: 'x\n", "this is not YAML"),
        ("a: 1\n b: 2\n", "file.yaml:2: this is not YAML"),
        ("url: {a}/{b}\n", "this is not YAML"),
        ("{a: 1}: b\n", "file.yaml:1: a list or group as a name"),
        ("a: " + "[" * 20 + "]" * 20 + "\n", "file.yaml:1: nested deeper than 8 levels"),
        ("a: \x07\n", "this is not YAML"),
        (b"a: caf\xe9\n", "file.yaml:1: this is not UTF-8"),
        (b"ok: 1\n\xff\n", "file.yaml:2: this is not UTF-8"),
        ("a: " + "x" * MAX_FILE_BYTES, "file.yaml: the file is larger than 64 KiB"),
    ],
)
def test_what_is_refused_names_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor(tmp_path: Path) -> None:
    levels = "".join(f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 9)}]\n" for n in range(30))
    started = time.process_time()
    assert "file.yaml:1: anchors" in refused(tmp_path, "a0: &a0 [lol]\n" + levels)
    assert time.process_time() - started < 1


def test_hostile_files_cost_little(tmp_path: Path) -> None:
    for text in ("[" * 60_000, "{a: " * 15_000, "- " * 30_000, "? " * 30_000, "a: b\n" * 12_000):
        started = time.process_time()
        with contextlib.suppress(YamlError):
            read_yaml_file(written(tmp_path, text))
        assert time.process_time() - started < 2


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    with path.open("wb") as file:
        file.truncate(2**42)  # sparse; reading it would fail for want of memory
    with pytest.raises(YamlError, match="larger than 64 KiB"):
        read_yaml_file(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name, message in (
        ("pipe.yaml", "not a regular file"),
        ("folder.yaml", "not a regular file"),
        ("absent.yaml", "cannot be read: No such file"),
    ):
        with pytest.raises(YamlError, match=message):
            read_yaml_file(tmp_path / name)


def test_a_byte_order_mark_and_line_feeds_of_windows_are_no_problem(tmp_path: Path) -> None:
    assert read_yaml_file(written(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: x\r\n")).values == {"a": 1, "b": "x"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
).filter(lambda value: str(value).count("[") + str(value).count("{") < 8)


@given(value=st.dictionaries(st.text("abcdef", min_size=1, max_size=3), json_values, min_size=1, max_size=4))
def test_what_yaml_writes_is_read_back(value: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_style='"', default_flow_style=True)
    text = text.replace('!!null "null"', "null").replace('!!bool "true"', "true").replace('!!bool "false"', "false")
    text = re.sub(r'!!int "(-?[0-9]+)"', r"\1", text)
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_yaml_file(path).values == value


def test_paths_are_shown_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "b.yaml") == "a/b.yaml"
    assert shown_path(Path("/elsewhere/b.yaml")) == "/elsewhere/b.yaml"
