"""Selection: which objects below the source a transfer takes, from the parameter `data`.

    ""                  everything
    "2026/"             a folder: every key below it
    "2026/*.csv"        a glob: it holds one of * ? [ {
    "2026/may.csv"      a key

In a glob `*` is any run of characters but `/`, `?` one of them, `[a-z]` and `[!a-z]` one of a set, `{a,b}` and `{1..9}`
alternatives, and `**`, alone between slashes, any number of folders (`**/*.csv`; `2026/**` is everything below).
Names that begin with a dot are names like any other; case matters. `[*]` is a literal `*`; a backslash is a backslash.

Matching takes time proportional to pattern times key, whatever they hold. A path element is matched by the standard
library's `fnmatch`, whose expressions do not backtrack across a `*`, and the elements between `**` are matched like the
characters between `*`. Glob libraries for file systems are not used: they take `a//b` for `a/b`, and one expression
for the whole key backtracks across each `**` (wcmatch 12: 17 s for six of them and a key of 120 characters).
"""

from __future__ import annotations

import fnmatch
import os.path
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import bracex

from skyferry.errors import RequestError

MAX_DATA_CHARACTERS = 1024
"""No `data` is longer; keys are not either."""

_MAX_ALTERNATIVES = 64
_MAX_BRACES = 32
_GLOB_CHARACTERS = frozenset("*?[{")

_SET = re.compile(r"\[!?\]?[^\]/]*\]")
_PLAIN_CHARACTERS = string.ascii_lowercase + string.digits + string.ascii_uppercase + "_-. +~"

_Element = re.Pattern[str] | None
"""What one path element must match; None stands for `**`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The objects a transfer takes; keys are relative to the source's prefix.

    Attributes:
        kind: For `glob` the caller first looks for an object of exactly this key: one that exists wins, so that
            `report[1].csv` can be named; it then uses `Selection.exactly`.
        data: The text the selection was made from.
        literal_prefix: Every matching key begins with this, so a listing may be narrowed to it.
    """

    kind: Literal["everything", "folder", "glob", "key"]
    data: str
    literal_prefix: str
    _alternatives: tuple[tuple[_Element, ...], ...] = ()

    @classmethod
    def parse(cls, data: str) -> Selection:
        """Return the selection `data` means.

        Raises:
            RequestError: The glob is too long or has too many alternatives, or `data` is a URL.
        """
        if len(data) > MAX_DATA_CHARACTERS:
            raise RequestError(
                f"data has {len(data):,} characters; expected a key, folder or glob of at most {MAX_DATA_CHARACTERS:,}"
            )
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", data):
            raise RequestError("data is a URL; expected a key, a folder or a glob relative to the source")
        if not data:
            return cls("everything", data, "")
        if _GLOB_CHARACTERS.isdisjoint(data):
            return cls("folder" if data.endswith("/") else "key", data, data)
        alternatives = _expand_braces(data)
        prefix = os.path.commonprefix([_literal_head(glob) for glob in alternatives])  # noqa: RUF071 - characters are meant
        return cls("glob", data, prefix, tuple(_compile(glob) for glob in alternatives))

    @classmethod
    def exactly(cls, key: str) -> Selection:
        """Return the selection of the one object of this relative key, whatever characters it holds."""
        return cls("key", key, key)

    def matches(self, relative_key: str) -> bool:
        """Return whether the object is selected; takes time in proportion to pattern times key."""
        if self.kind == "key":
            return relative_key == self.data
        if self.kind != "glob":
            return relative_key.startswith(self.data)
        names = relative_key.split("/")
        return any(_matches_elements(names, elements) for elements in self._alternatives)

    def keys_with(self, name: str) -> Iterator[str]:
        """Yield keys that may be selected and hold a name nobody else gives; none where every key is given.

        Args:
            name: Without a slash; it stands for everything below a folder, or for a `*` of a glob.
        """
        if self.kind == "key":
            return
        if self.kind != "glob":
            yield self.data + name
            return
        for glob in _expand_braces(self.data):
            key = _filled(glob, name)
            if name in key and self.matches(key):
                yield key


def _filled(glob: str, name: str) -> str:
    """Return a key for a glob: the name for its last `*`, no folder for a `**`, and something short for the rest."""
    elements = glob.split("/")
    kept = [one for one in elements[:-1] if one != "**"] + [elements[-1].replace("**", "*")]
    last = max((number for number, one in enumerate(kept) if "*" in one), default=-1)
    for number, one in enumerate(kept):
        head, star, tail = one.rpartition("*") if number == last else (one, "", "")
        kept[number] = _shortest(head) + (name if star else "") + _shortest(tail)
    return "/".join(kept)


def _shortest(pattern: str) -> str:
    """Return a text for a part of a path element: a character for each that is left open, the first one of a set."""
    pattern = _SET.sub(lambda found: _first_of(found[0]), pattern)
    return pattern.replace("*", "x").replace("?", "x")


def _first_of(characters: str) -> str:
    # A set that takes none of these is matched by nothing that is asked for here.
    expression = re.compile(fnmatch.translate(characters))
    return next((one for one in _PLAIN_CHARACTERS if expression.match(one)), "")


def _expand_braces(data: str) -> Sequence[str]:
    if data.count("{") > _MAX_BRACES:
        raise RequestError(f"data opens more than {_MAX_BRACES} braces", hint="use a * in the place of some of them")
    try:
        # bracex reads a backslash as an escape; here it is a character of the key.
        return bracex.expand(data.replace("\\", "\\\\"), limit=_MAX_ALTERNATIVES)
    except bracex.ExpansionLimitException as error:
        raise RequestError(
            f"data has more than {_MAX_ALTERNATIVES} alternatives in its braces",
            hint="use fewer braces, or a * in their place, or several transfers",
        ) from error


def _literal_head(glob: str) -> str:
    return re.split(r"[*?\[]", glob, maxsplit=1)[0]


def _compile(glob: str) -> tuple[_Element, ...]:
    """Return the elements of a glob; a final `**` stands for at least one, so `a/**` does not take the object `a`."""
    names = glob.split("/")
    if names[-1] == "**":
        names.append("*")
    return tuple(None if name == "**" else re.compile(fnmatch.translate(name)) for name in names)


def _matches_elements(names: Sequence[str], elements: Sequence[_Element]) -> bool:
    """Match path elements, each `**` taking as few as it can; going back only to the last `**` is enough.

    The classic wildcard walk: a run of elements between two `**` may as well be matched at its first place, since the
    later `**` reaches everything that follows.
    """
    at_name = at_element = 0
    resume: tuple[int, int] | None = None
    while at_name < len(names):
        element = elements[at_element] if at_element < len(elements) else None
        if at_element < len(elements) and element is None:
            at_element += 1
            resume = (at_element, at_name)
        elif element is not None and element.match(names[at_name]):
            at_name += 1
            at_element += 1
        elif resume is not None:
            at_element, at_name = resume[0], resume[1] + 1
            resume = (at_element, at_name)
        else:
            return False
    return all(element is None for element in elements[at_element:])
