"""What a transfer read and wrote, as OpenLineage data sets.

Airflow's own collector knows no converter for Azure and stops at 100 data sets, so source and destination are named
here: one data set each, the folder and not its objects, under the names the specification gives them
(https://openlineage.io/docs/spec/naming/). The names are built from parsed locations; no credential or query can be in
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from skyferry.urls import Location

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    Lineage: TypeAlias = OperatorLineage[Any, Any]


def dataset_name(location: Location, *, account_name: str) -> tuple[str, str]:
    """Return namespace and name of a location.

    Args:
        account_name: The Azure storage account; not used for the other stores.
    """
    name = location.prefix.rstrip("/") or "/"
    if location.kind == "file":
        return "file", location.bucket
    if location.kind == "az":
        return f"wasbs://{location.bucket}@{account_name}.blob.core.windows.net", name
    return f"{location.kind}://{location.bucket}", name


def transfer_lineage(source: tuple[str, str], destination: tuple[str, str], *, report: Mapping[str, Any]) -> Lineage:
    """Return the lineage of a run; its numbers are those of the report.

    Args:
        source: Namespace and name.
        destination: Namespace and name.
        report: The run's report as JSON values.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    statistics = OutputStatisticsOutputDatasetFacet(size=report["bytes_copied"], fileCount=report["objects_copied"])
    return OperatorLineage(
        inputs=[Dataset(*source)],
        outputs=[OutputDataset(*destination, outputFacets={"outputStatistics": statistics})],
    )


def no_lineage() -> Lineage:
    """Return the lineage of a run that got nowhere."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage()
