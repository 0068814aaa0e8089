"""YAML files written by people: plain values with the line of each, and nothing that YAML can do beyond that.

Refused with file and line: duplicate names, anchors and aliases (a small file can stand for a gigantic value), tags
(`!!python/object`), several documents, tabs as indentation, files that are too large or nested too deep.

Plain words mean what YAML 1.2 says: only `true` and `false` are booleans, `010` and `12:30` are texts. (YAML 1.1 would
make a boolean of `no`, and 750 of `12:30`.)
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import JsonValue

MAX_FILE_BYTES = 64 * 1024
_MAX_DEPTH = 8

Location = tuple[int | str, ...]
"""Where a value stands: the names that lead to it."""

_Events = Iterator[yaml.Event]

# https://yaml.org/spec/1.2.2/#103-core-schema
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, JsonValue] = {
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong with a configuration file.

    Attributes:
        file: The file; relative to the current folder if it lies in it.
        line: From 1; 0 when the problem is the file itself.
        message: Field, what was found, what was expected.
    """

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


class YamlError(Exception):
    """The file is not readable as YAML of this kind."""

    def __init__(self, problem: ConfigProblem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(slots=True)
class YamlDocument:
    """The values of a file, and the lines they stand on."""

    values: JsonValue = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)

    def line_of(self, location: Location) -> int:
        """Return the line of a value, or of the nearest one around it that has a line."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def shown_path(path: Path) -> str:
    """Return a path as people at a terminal name it: relative to the current folder if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def read_yaml_file(path: Path) -> YamlDocument:
    """Return a file's document; reads at most 64 KiB.

    Raises:
        YamlError: The file cannot be read, or is no YAML of this kind.
    """
    text = _read_text(path)
    try:
        return _Builder(shown_path(path)).build(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        is_glob = "alias" in str(error.context) or "anchor" in str(error.context)
        hint = "; quote a text that begins with * or &" if is_glob else ""
        raise YamlError(ConfigProblem(shown_path(path), line, f"this is not YAML: {error.problem}{hint}")) from error
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", "it holds characters YAML does not allow")
        raise YamlError(ConfigProblem(shown_path(path), 0, f"this is not YAML: {reason}")) from error


def _read_text(path: Path) -> str:
    def refused(message: str, line: int = 0) -> YamlError:
        return YamlError(ConfigProblem(shown_path(path), line, message))

    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever
            raise refused("this is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise refused(f"the file cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise refused(f"the file is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused("this is not UTF-8", content.count(b"\n", 0, error.start) + 1) from error
    tab = re.search(r"^ *\t", text, re.MULTILINE)
    if tab:
        raise refused("a tab at the beginning; indent with spaces", text.count("\n", 0, tab.start()) + 1)
    return text


@dataclass(slots=True)
class _Builder:
    """Builds the values from the parser's events; its recursion ends at `_MAX_DEPTH`."""

    file: str
    document: YamlDocument = field(default_factory=YamlDocument)

    def build(self, events: _Events) -> YamlDocument:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.document.lines:
                    raise self._refused(event, "a second document; one file holds one")
                self.document.values = self._value(next(events), events, ())
        if not self.document.lines:
            raise YamlError(ConfigProblem(self.file, 0, "the file is empty"))
        return self.document

    def _value(self, event: yaml.Event, events: _Events, location: Location) -> JsonValue:
        self._check_plain(event, location)
        self.document.lines.setdefault(location, _line(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, location)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, location)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        raise self._refused(event, "this cannot be read")

    def _check_plain(self, event: yaml.Event, location: Location) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refused(event, "anchors (&) and aliases (*) are not allowed; write the value out, or quote it")
        tag = getattr(event, "tag", None)
        if tag:
            raise self._refused(
                event, f"tags are not allowed: {str(tag)[:80]}; write the value without it, or quote it"
            )
        if len(location) > _MAX_DEPTH:
            raise self._refused(event, f"nested deeper than {_MAX_DEPTH} levels")

    def _mapping(self, events: _Events, location: Location) -> JsonValue:
        values: dict[str, JsonValue] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refused(event, "a list or group as a name; if the value holds { or [, quote it")
            self._check_plain(event, location)
            name = str(event.value)
            line = _line(event)
            if name in values:
                first = self.document.lines[(*location, name)]
                self._note(line, f"{'.'.join(map(str, (*location, name)))}: given twice, first on line {first}")
            self.document.lines.setdefault((*location, name), line)
            values[name] = self._value(next(events), events, (*location, name))
        return values

    def _sequence(self, events: _Events, location: Location) -> JsonValue:
        values: list[JsonValue] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            values.append(self._value(event, events, (*location, len(values))))
        return values

    def _note(self, line: int, message: str) -> None:
        self.document.problems.append(ConfigProblem(self.file, line, message))

    def _refused(self, event: yaml.Event, message: str) -> YamlError:
        return YamlError(ConfigProblem(self.file, _line(event), message))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _scalar(event: yaml.ScalarEvent) -> JsonValue:
    text = str(event.value)
    is_quoted = not event.implicit[0]
    if is_quoted:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
