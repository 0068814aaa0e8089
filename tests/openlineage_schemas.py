"""OpenLineage's published JSON schemas, and whether an event keeps to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from skyferry.lineage import facet_schema_text

_AIRFLOW = "https://github.com/apache/airflow/"


class LineageSchemas:
    """The schemas of a folder, by the addresses events name them with.

    Args:
        folder: Holds `published/<version>/OpenLineage.json` and `published/facets/<version>/*.json`.
    """

    def __init__(self, folder: Path) -> None:
        schemas = [json.loads(file.read_text()) for file in sorted(folder.glob("published/**/*.json"))]
        schemas = [schema for schema in schemas if "$id" in schema] + [json.loads(facet_schema_text())]
        self._known = {schema["$id"] for schema in schemas}
        self._registry: Registry[Any] = Registry().with_resources(
            (schema["$id"], Resource.from_contents(schema)) for schema in schemas
        )

    def errors(self, event: dict[str, Any]) -> list[str]:
        """Return what is wrong with an event and with each of its facets; facets of Airflow's own are not checked."""
        found = list(self._errors(event, event["schemaURL"], "event"))
        for where, facet in _facets(event):
            url = facet["_schemaURL"]
            if url.partition("#")[0] in self._known:
                found += self._errors(facet, url, where)
            elif not url.startswith(_AIRFLOW):
                found.append(f"{where}: nobody knows the schema {url}")
        return found

    def _errors(self, instance: dict[str, Any], url: str, where: str) -> Iterator[str]:
        validator = Draft202012Validator(
            {"$ref": url}, registry=self._registry, format_checker=Draft202012Validator.FORMAT_CHECKER
        )
        for error in validator.iter_errors(instance):
            yield f"{where}: {error.json_path}: {error.message[:300]}"


def facet_errors(facet: dict[str, Any]) -> list[str]:
    """Return what is wrong with a facet of ours."""
    return [error.message for error in Draft202012Validator(json.loads(facet_schema_text())).iter_errors(facet)]


def _facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    holders = [("run", event["run"], "facets"), ("job", event["job"], "facets")]
    for side, own in (("inputs", "inputFacets"), ("outputs", "outputFacets")):
        for dataset in event[side]:
            holders += [(f"{side} {dataset['name']}", dataset, name) for name in ("facets", own)]
    for where, holder, name in holders:
        for facet_name, facet in (holder.get(name) or {}).items():
            yield f"{where} {facet_name}", facet
