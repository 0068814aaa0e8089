"""The documentation as data: pages with their headings, links, code spans and fenced blocks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROJECT = Path(__file__).resolve().parents[2]

_PARSER = MarkdownIt("commonmark").enable("table")
_MARKER = re.compile(r"<!-- (?P<what>not run|fails): (?P<reason>[^>]+) -->\s*")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: First word after the fence.
        kind: The rest; says what the block is an example of.
        marker: `not run` or `fails`, from the comment right above the block; else empty.
        reason: What that comment says.
    """

    page: str
    line: int
    language: str
    kind: str
    text: str
    marker: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One Markdown file; `name` is its path below the project folder."""

    name: str
    text: str
    anchors: frozenset[str]
    headings: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    code_spans: frozenset[str]
    blocks: tuple[Block, ...]


@cache
def pages() -> tuple[Page, ...]:
    """Every page a reader may open; what is installed is not ours."""
    files = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    return tuple(_page(path) for path in sorted(files))


def page(name: str) -> Page:
    return next(one for one in pages() if one.name == name)


def blocks(language: str, kind: str | None = None) -> list[Block]:
    return [
        block
        for one in pages()
        for block in one.blocks
        if block.language == language and (kind is None or block.kind == kind)
    ]


def _page(path: Path) -> Page:
    name = str(path.relative_to(PROJECT))
    text = path.read_text(encoding="utf-8")
    tokens = _PARSER.parse(text)
    inline = [child for token in tokens if token.type == "inline" for child in token.children or ()]
    headings = tuple(following.content for token, following in pairwise(tokens) if token.type == "heading_open")
    return Page(
        name=name,
        text=text,
        anchors=frozenset(_anchor(heading) for heading in headings),
        headings=headings,
        links=tuple(_links(inline)),
        code_spans=frozenset(token.content for token in inline if token.type == "code_inline"),
        blocks=tuple(_blocks(name, tokens)),
    )


def _links(inline: list[Token]) -> Iterator[tuple[str, str]]:
    for token, following in zip(inline, [*inline[1:], None], strict=True):
        if token.type == "link_open":
            yield (following.content if following is not None else ""), str(token.attrs["href"])
        elif token.type == "image":
            yield token.content, str(token.attrs["src"])


def _blocks(name: str, tokens: list[Token]) -> Iterator[Block]:
    for previous, token in zip([None, *tokens], tokens, strict=False):
        if token.type != "fence":
            continue
        language, _, kind = token.info.strip().partition(" ")
        marker = None
        if previous is not None and previous.type == "html_block":
            marker = _MARKER.fullmatch(previous.content)
        yield Block(
            page=name,
            line=(token.map or [0])[0] + 1,
            language=language,
            kind=kind,
            text=token.content,
            marker=marker["what"] if marker else "",
            reason=marker["reason"] if marker else "",
        )


def _anchor(heading: str) -> str:
    """The anchor GitHub gives a heading."""
    plain = heading.replace("`", "").lower()
    kept = "".join(character for character in plain if character in "-_ " or unicodedata.category(character)[0] in "LN")
    return kept.replace(" ", "-")
