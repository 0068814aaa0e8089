"""The parameters of a transfer as Airflow Params: they make the trigger form and are checked before a run begins."""

from __future__ import annotations

import functools
from typing import Any

from airflow.sdk import Param

from skyferry.request import params_defaults, params_schema
from skyferry.routes import Route

_REQUIRED_WITHOUT_ROUTE = ("source", "destination")
_FIRST_SECTION = "What"
_UNFOLDED_SECTION = "Run Parameters"
"""The one section that Airflow's form shows unfolded: its own name for parameters that have none."""

_DIALECT = "http://json-schema.org/draft-07/schema#"
"""Says the same of these schemas as the newest dialect does, and is checked in a third of the time: Airflow checks each
Param's schema whenever a DAG file is parsed, and the newest is defined by eight documents that refer to each other."""


def on_demand_params() -> dict[str, Param]:
    """Return the Params of the DAG that transfers anything.

    Source and destination may be left out, because the route that `id` names can supply them; the plan complains when
    neither does.
    """
    defaults = params_defaults()
    schemas = dict(_form_schemas())
    for name in _REQUIRED_WITHOUT_ROUTE:
        schemas[name] = schemas[name] | {"type": ["string", "null"]}
    return {name: Param(defaults.get(name), **schema) for name, schema in schemas.items()}


def route_params(route: Route) -> dict[str, Param]:
    """Return the Params of a route's own DAG: the route's values are the defaults."""
    values = route.request().to_conf()
    schemas = dict(_form_schemas())
    schemas["id"] = schemas["id"] | {"enum": [route.id]}
    return {name: Param(values[name], **schema) for name, schema in schemas.items()}


@functools.cache
def _form_schemas() -> dict[str, dict[str, Any]]:
    """Return the parameters' schemas as the form wants them.

    The first section lies where it is shown without a click. Help texts lose their backticks: the form shows a
    `description` as it is, and the code in a `description_md` so large that it covers the line above. A list loses its
    examples: the form would offer them as the only choices, and not a field to write into.
    """
    schemas: dict[str, dict[str, Any]] = {}
    for name, schema in params_schema().items():
        section = _UNFOLDED_SECTION if schema["section"] == _FIRST_SECTION else schema["section"]
        description = str(schema["description"]).replace("`", '"')
        schemas[name] = {"$schema": _DIALECT, **schema, "section": section, "description": description}
        if "items" in schema:
            del schemas[name]["examples"]
    return schemas
