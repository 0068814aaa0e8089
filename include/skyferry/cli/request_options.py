"""The parameters of a transfer as options of a command, made from the model of the request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from skyferry.request import TransferRequest
from skyferry.routes import route_ids
from skyferry.validation_text import expected_text

CONF_ARGUMENT = "conf"
_PANEL = "Parameters of the transfer"


def takes_request(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function as a command that has an option for each parameter of a transfer beside its own ones.

    The parameters that were given reach it as the dictionary `conf`, under the names they have in `dag_run.conf`.
    """
    own = [
        each for each in inspect.signature(function, eval_str=True).parameters.values() if each.name != CONF_ARGUMENT
    ]
    added = list(_options())

    def command(**values: Any) -> None:
        given = {each.name: values.pop(each.name) for each in added}
        conf = {name: value for name, value in given.items() if value is not None}
        function(**values, **{CONF_ARGUMENT: conf})

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [*own, *added]]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def option_of(name: str) -> str:
    """Return the option for a parameter."""
    return "--" + name.replace("_", "-")


def _options() -> Iterator[inspect.Parameter]:
    for key, field in TransferRequest.model_fields.items():
        name = field.alias or key
        annotation, option = _option(option_of(name), field)
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, option]
        )


def _option(flag: str, field: FieldInfo) -> tuple[Any, Any]:
    """Return type and option; a switch that is off by default needs no value, one that is on does."""
    help_text = (field.description or "").replace("`", '"')
    if field.annotation is bool and field.default is False:
        return bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", help=help_text, rich_help_panel=_PANEL)
    if field.annotation is bool:
        return str | None, typer.Option(
            flag, parser=_boolean, metavar="true|false", help=help_text, rich_help_panel=_PANEL
        )
    if field.annotation is int:
        bounds = expected_text(field).replace("a whole number from", "From")
        return int | None, typer.Option(flag, metavar="N", help=f"{help_text} {bounds}.", rich_help_panel=_PANEL)
    if flag == "--id":
        return str | None, typer.Option(
            flag, metavar="TEXT", help=help_text, autocompletion=complete_route, rich_help_panel=_PANEL
        )
    option = typer.Option(flag, metavar=_metavar(field.annotation), help=help_text, rich_help_panel=_PANEL)
    return field.annotation | None, option  # type: ignore[operator]


def _metavar(annotation: Any) -> str | None:
    """Return what stands for a value in the help; None for choices, which name themselves."""
    if annotation is str:
        return "TEXT"
    if annotation == tuple[str, ...]:
        return "PATTERN"
    return "N" if annotation == int | None else None


def complete_route(incomplete: str) -> list[str]:
    """Return the ids of the routes of this machine that begin so, for the shell."""
    return [route_id for route_id in route_ids() if route_id.startswith(incomplete)]


def _boolean(text: str) -> bool:
    words = {"true": True, "false": False}
    if text.lower() not in words:
        raise typer.BadParameter(f'"{text[:40]}" is neither true nor false')
    return words[text.lower()]
