"""Errors travel between processes, stay on one line, and every one of them says whether to retry."""

from __future__ import annotations

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry import errors
from skyferry.errors import PermanentError, ReplanError, RetryableError, TransferError, printable

CONCRETE = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, TransferError) and value is not TransferError
]


@pytest.mark.parametrize("error_type", CONCRETE)
def test_pickles_whole(error_type: type[TransferError]) -> None:
    error = error_type("s3://b/k failed", hint="do this", retry_after_seconds=2.5)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.retry_after_seconds) == (error_type, str(error), 2.5)


@pytest.mark.parametrize("error_type", CONCRETE)
def test_is_of_exactly_one_kind(error_type: type[TransferError]) -> None:
    assert sum(issubclass(error_type, kind) for kind in (RetryableError, PermanentError, ReplanError)) == 1


@pytest.mark.parametrize("error_type", CONCRETE)
def test_is_drawn_in_the_tree(error_type: type[TransferError]) -> None:
    assert error_type.__name__ in (errors.__doc__ or "")


@given(st.text())
def test_messages_stay_on_one_line(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in shown)


def test_a_key_cannot_forge_a_log_line() -> None:
    assert str(TransferError("reading s3://b/a\r\nERROR forged\x1b[31m failed")) == (
        r"reading s3://b/a\r\nERROR forged\x1b[31m failed"
    )
