"""Lineage of the stages of a transfer, as Airflow's OpenLineage provider asks for it.

Airflow's own collector knows no converter for Azure and stops at 100 data sets, so each stage says by itself what it
reads and writes. When the provider asks, a task talks to nobody any more: everything is remembered beforehand, so that
lineage can neither fail nor delay a stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_bridge.lineage_datasets import dataset_name
from airflow_bridge.store_opener import PreparedStores
from airflow_bridge.transfer_connections import StoreUse
from skyferry import __version__
from skyferry.lineage import FACET_NAME, SCHEMA_URL, TransferFacet

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import InputDataset, OutputDataset, RunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    Lineage: TypeAlias = OperatorLineage[Any, Any]

_PRODUCER = f"urn:skyferry:{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What was read from one folder and written to another.

    Attributes:
        source: Namespace and name; None when unknown.
        destination: The same.
        objects: How many objects were copied; None when the stage copies none, or has not yet.
        size_bytes: Their content.
    """

    source: tuple[str, str] | None
    destination: tuple[str, str] | None
    objects: int | None = None
    size_bytes: int | None = None


def flow_of(
    source: StoreUse, destination: StoreUse, *, stores: PreparedStores | None, facet: TransferFacet | None = None
) -> Flow:
    """Return the flow between the places of a transfer.

    Args:
        stores: Knows the accounts; None when the connections were not asked for yet.
        facet: Has the numbers.
    """
    names = [
        dataset_name(use.location, account_name=stores.account_name(use) if stores else "")
        for use in (source, destination)
    ]
    objects, size_bytes = (facet.objects_copied, facet.bytes_copied) if facet else (None, None)
    return Flow(source=names[0], destination=names[1], objects=objects, size_bytes=size_bytes)


def lineage_of(flows: Iterable[Flow], *, facet: TransferFacet | None = None) -> Lineage:
    """Return the lineage of a stage: each folder once, with what was read from it or written to it."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    flows = list(flows)
    return OperatorLineage(
        inputs=[_input(name, of) for name, of in _by_name((flow.source, flow) for flow in flows).items()],
        outputs=[_output(name, of) for name, of in _by_name((flow.destination, flow) for flow in flows).items()],
        run_facets={FACET_NAME: _run_facet(facet)} if facet else {},
    )


def input_lineage(name: tuple[str, str] | None) -> Lineage:
    """Return the lineage of what only looks: a sensor."""
    return lineage_of([Flow(source=name, destination=None)])


def _by_name(named: Iterable[tuple[tuple[str, str] | None, Flow]]) -> dict[tuple[str, str], list[Flow]]:
    found: dict[tuple[str, str], list[Flow]] = {}
    for name, flow in named:
        if name is not None:
            found.setdefault(name, []).append(flow)
    return found


def _sums(flows: list[Flow]) -> tuple[int, int] | None:
    """Return objects and bytes of a folder; None when nothing was counted."""
    counted = [flow for flow in flows if flow.objects is not None]
    if not counted:
        return None
    return sum(flow.objects or 0 for flow in counted), sum(flow.size_bytes or 0 for flow in counted)


def _input(name: tuple[str, str], flows: list[Flow]) -> InputDataset:
    from airflow.providers.common.compat.openlineage.facet import InputDataset
    from openlineage.client.facet_v2 import InputDatasetFacet, input_statistics_input_dataset

    facets: dict[str, InputDatasetFacet] = {}
    if sums := _sums(flows):
        objects, size_bytes = sums
        facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            fileCount=objects, size=size_bytes
        )
    return InputDataset(*name, inputFacets=facets)


def _output(name: tuple[str, str], flows: list[Flow]) -> OutputDataset:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet
    from openlineage.client.facet_v2 import OutputDatasetFacet

    facets: dict[str, OutputDatasetFacet] = {}
    if sums := _sums(flows):
        objects, size_bytes = sums
        facets["outputStatistics"] = OutputStatisticsOutputDatasetFacet(fileCount=objects, size=size_bytes)
    return OutputDataset(*name, outputFacets=facets)


def _run_facet(facet: TransferFacet) -> RunFacet:
    return _facet_class()(producer=_PRODUCER).with_additional_properties(**facet.to_json())  # type: ignore[return-value]


@cache
def _facet_class() -> type[RunFacet]:
    from airflow.providers.common.compat.openlineage.facet import RunFacet

    class TransferRunFacet(RunFacet):
        @staticmethod
        def _get_schema() -> str:
            return SCHEMA_URL

    return TransferRunFacet
