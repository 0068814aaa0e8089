"""Every error message the documentation quotes is in the words of the code.

A message is put together from texts of the code and from data. So each word of it that is not data must stand in the
code beside the word that follows it, or end one text where the other begins one.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import pytest

from tests.docs.pages import PROJECT, Block, blocks

_GAP = "\0"
"""Stands for what is filled in when the message is made."""

_WORD = re.compile(r"[A-Za-z][a-z'-]*[,;:.?]?")


@dataclass(frozen=True)
class Wording:
    """What the texts of the code say: neighbouring words, and words beside a gap or at an end."""

    pairs: frozenset[tuple[str, str]]
    first: frozenset[str]
    last: frozenset[str]


@pytest.mark.parametrize("block", blocks("text", "message"), ids=str)
def test_a_quoted_message_is_in_the_words_of_the_code(block: Block) -> None:
    message = block.text.strip()
    assert "\n" not in message
    assert strangers(message) == []


def test_messages_that_are_worded_otherwise_are_found_out() -> None:
    texts = [block.text.strip() for block in blocks("text", "message")]
    assert len(texts) > 20
    for text in texts:
        words = text.split(" ")
        places = [place for place, word in enumerate(words) if _WORD.fullmatch(word)]
        assert strangers(" ".join([*words[: places[0]], "zebra", *words[places[0] + 1 :]]))
        middle = places[len(places) // 2]
        assert strangers(" ".join([*words[:middle], "zebra", *words[middle:]]))


def strangers(message: str) -> list[tuple[str, str]]:
    """The neighbouring words of a message that no text of the code brings together."""
    wording = _wording()
    tokens = [_plain(token) for token in message.split(" ")]
    found = []
    for one, other in zip([_GAP, *tokens], [*tokens, _GAP], strict=True):
        crosses = (one == _GAP or one in wording.last) and (other == _GAP or other in wording.first)
        if (one, other) not in wording.pairs and not crosses:
            found.append((one, other))
    return found


def _plain(token: str) -> str:
    """The word without its punctuation; a gap for what is data: names, numbers, URLs, quoted values."""
    return token.rstrip(",;:.?") if _WORD.fullmatch(token) else _GAP


@cache
def _wording() -> Wording:
    pairs: set[tuple[str, str]] = set()
    for text in _texts():
        tokens = [_GAP, *(_GAP if _GAP in token else _plain(token) for token in text.split()), _GAP]
        pairs |= set(pairwise(tokens))
    return Wording(
        pairs=frozenset(pairs),
        first=frozenset(other for one, other in pairs if one == _GAP),
        last=frozenset(one for one, other in pairs if other == _GAP),
    )


def _texts() -> list[str]:
    """Every text in the code that may become part of a message, with gaps for what is filled in."""
    found = []
    for folder in ("include/skyferry", "plugins"):
        for file in (PROJECT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(_literal(part) for part in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    found.append(node.value)
    return found


def _literal(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else _GAP
