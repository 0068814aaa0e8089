"""What is wrong with a value, in words: the errors of a pydantic model as messages for the person who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

_REASON_TYPE = "skyferry"
_KIND = "kind"
"""The field that tells which of several models a group of fields is."""
_WRONG_KIND_TYPES = "union_tag_"


def reason_error(reason: str) -> PydanticCustomError:
    """Return an error a validator may raise, whose message is just this reason.

    The reason travels as a value: pydantic fills in the braces of a message template, and names may hold braces.
    """
    return PydanticCustomError(_REASON_TYPE, "{reason}", {"reason": reason})


def problem_text(detail: ErrorDetails, model: type[BaseModel], *, names_field: bool = True) -> str:
    """Return what is wrong with one field: what was expected, what was found, and the nearest name if that is wrong.

    Args:
        model: The model that was validated; fields that are models are gone down into.
        names_field: Begin with the field's name (unless the reason does so itself).
    """
    if detail["type"] == _REASON_TYPE:
        return str(detail["ctx"]["reason"])
    place = _place_of(detail, model)
    last = place.names[-1] if place.names else ""
    if detail["type"] == "extra_forbidden":
        return unknown_name_text(last, place.siblings)
    name = ".".join(str(part) for part in place.names)
    subject = f"{name} is " if names_field else ""
    if detail["type"].startswith(_WRONG_KIND_TYPES):
        return _wrong_kind_text(detail, place, names_field=names_field)
    field = place.field
    expected = expected_text(field) if field is not None else detail["msg"]
    if detail["type"] == "missing":
        return f"{subject}missing; expected {expected}"
    # A connection pasted as a URI holds a password: it is not shown.
    is_hidden = str(last).endswith("conn_id") and isinstance(detail["input"], str)
    found = "another text" if is_hidden else found_text(detail["input"])
    return f"{subject}{found}; expected {expected}" if names_field else f"found {found}; expected {expected}"


def field_location(detail: ErrorDetails, model: type[BaseModel]) -> tuple[int | str, ...]:
    """Return the names that lead to the field an error is about, as they stand in the file."""
    return _place_of(detail, model).names


def alternatives(annotation: object) -> dict[str, type[BaseModel]]:
    """Return the models a field may hold, by their kind; empty for a field that is not one of several models."""
    models: dict[str, type[BaseModel]] = {}
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel) and _KIND in argument.model_fields:
            models[str(get_args(argument.model_fields[_KIND].annotation)[0])] = argument
        else:
            models |= alternatives(argument)
    return models


def model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model a field holds, also one that may be left out; None for a field that holds none, or several."""
    options = [annotation, *get_args(annotation)]
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return models[0] if len(models) == 1 else None


def unknown_name_text(name: object, names: Iterable[str]) -> str:
    """Return the problem with a name that no field has, and the nearest one that there is."""
    shown = name if isinstance(name, str) else repr(name)[:60]
    close = difflib.get_close_matches(shown[:60].lower(), list(names), n=1, cutoff=0.6)
    hint = f'did you mean "{close[0]}"?' if close else f"known: {', '.join(names)}"
    return f"{found_text(shown)} is not a known name; {hint}"


def expected_text(field: FieldInfo) -> str:
    """Return in words which values a field takes."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "expected" in extra:
        return str(extra["expected"])
    model = model_in(field.annotation)
    if model is not None:
        return f"a group of {', '.join(_names(model))}"
    options = get_args(field.annotation)
    if options:
        return ("one of " if len(options) > 1 else "") + ", ".join(str(option) for option in options)
    low = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), None)
    high = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
    return f"a whole number from {low:,} to {high:,}"


def found_text(value: object) -> str:
    """Return a value as JSON would show it, shortened to one short line, whatever it is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # str() of a huge integer takes quadratic time, and Python refuses it beyond 4,300 digits.
        return str(value) if value.bit_length() < 64 else "a number of more than 19 digits"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 80 else f'"{value[:60]}..." ({len(value):,} characters)'
    if isinstance(value, Mapping):
        return f"a group of {len(value):,} fields"
    if isinstance(value, Sequence):
        return f"a list of {len(value):,}"
    return repr(value)[:80] if isinstance(value, float) else f"a {type(value).__name__}"


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What an error is about.

    Attributes:
        names: Those that lead to it in the file.
        field: None for a name no field has.
        siblings: The fields there are beside it.
    """

    names: tuple[int | str, ...]
    field: FieldInfo | None
    siblings: Sequence[str]


def _place_of(detail: ErrorDetails, model: type[BaseModel]) -> _Place:
    """Return the place of an error, going down into models that are fields of models.

    Pydantic's own location has one part more for a field that holds one of several models: the kind.
    """
    names: list[int | str] = []
    field: FieldInfo | None = None
    current: type[BaseModel] | None = model
    siblings: Sequence[str] = _names(model)
    kinds: Mapping[str, type[BaseModel]] = {}
    for part in detail["loc"]:
        if isinstance(part, int):
            names.append(part)  # one of a list, of which all are alike
            continue
        if kinds:
            current, kinds = kinds.get(str(part)), {}
            continue
        names.append(part)
        if current is not None:
            fields = {each.alias or name: each for name, each in current.model_fields.items()}
            field, siblings = fields.get(str(part)), list(fields)
            annotation = field.annotation if field is not None else None
            current = model_in(annotation)
            kinds = alternatives(annotation)
    if detail["type"].startswith(_WRONG_KIND_TYPES):
        names.append(_KIND)
    return _Place(names=tuple(names), field=field, siblings=siblings)


def _wrong_kind_text(detail: ErrorDetails, place: _Place, *, names_field: bool) -> str:
    kinds = list(alternatives(place.field.annotation)) if place.field is not None else []
    subject = f"{'.'.join(str(name) for name in place.names)} is " if names_field else "found "
    if "tag" not in detail["ctx"]:
        return f"{subject if names_field else ''}missing; expected one of {', '.join(kinds)}"
    found = str(detail["ctx"]["tag"])
    close = difflib.get_close_matches(found[:60], kinds, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f"{subject}{found_text(found)}; expected one of {', '.join(kinds)}{hint}"
