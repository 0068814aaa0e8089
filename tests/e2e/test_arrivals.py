"""The asset of a route: what is announced to other DAGs, and what is not."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from skyferry.history.transfer_run import REPORTED_ASSET
from tests.docs.pages import blocks
from tests.e2e.buckets import S3Bucket
from tests.e2e.conftest import Buckets, Emulators, Runner

ROUTE = "orders_to_lake"
DAG_ID = f"transfer__{ROUTE}"


def events(route_id: str = ROUTE) -> list[dict[str, Any]]:
    """Return the extras of all events of a route's asset, in order."""
    return events_of(f"transfer__{route_id}.arrived")


def events_of(asset: str) -> list[dict[str, Any]]:
    """Return the extras of all events of an asset, in order."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    with create_session() as session:
        return list(session.scalars(query.where(AssetModel.name == asset).order_by(AssetEvent.id)))


class Shop:
    """The bucket the route reads, and a folder in it for one test."""

    def __init__(self, emulators: Emulators) -> None:
        self.bucket = S3Bucket("shop-exports", emulators.s3)
        if not self.bucket.exists():
            self.bucket.create()
        self.folder = f"orders/{uuid.uuid4()}"

    def put(self, name: str) -> None:
        self.bucket.put(f"{self.folder}/{name}", b"four")

    def remove(self, name: str) -> None:
        self.bucket.client.delete_object(Bucket=self.bucket.name, Key=f"{self.folder}/{name}")


@pytest.fixture
def shop(emulators: Emulators) -> Shop:
    return Shop(emulators)


def test_an_arrival_is_announced_once_and_with_the_report_s_numbers(airflow: Runner, shop: Shop) -> None:
    shop.put("a.csv")
    before = len(events())
    first = airflow.run({}, DAG_ID)
    assert airflow.run({}, DAG_ID).state == first.state == "success"
    [event] = events()[before:]
    without_names = {name: value for name, value in first.report.items() if name != "problems"}
    assert event == without_names | {"failed_runs_before": []}
    assert event["objects_copied"] >= 1
    assert shop.folder not in json.dumps(event)
    assert len(json.dumps(event)) < 2000


def test_what_a_failed_run_copied_is_announced_by_the_next_that_succeeds(airflow: Runner, shop: Shop) -> None:
    shop.put("good.csv")
    shop.put("bad./name.csv")
    before = len(events())
    failed = airflow.run({}, DAG_ID)
    assert (failed.state, failed.report["objects_copied"]) == ("failed", 1)
    assert len(events()) == before
    shop.remove("bad./name.csv")
    assert airflow.run({}, DAG_ID).report["objects_copied"] == 0
    [event] = events()[before:]
    assert event["objects_copied"] == 0
    [missed] = event["failed_runs_before"]
    assert missed == {name: failed.report[name] for name in ("run_id", "objects_copied", "bytes_copied", "records")}
    assert airflow.run({}, DAG_ID).state == "success"
    assert len(events()) == before + 1, "announced once"


def test_a_report_that_is_no_arrival_is_an_event_that_names_no_object(airflow: Runner, shop: Shop) -> None:
    shop.put("a.csv")
    assert airflow.run({}, DAG_ID).state == "success"
    arrived, told = len(events()), len(events_of(REPORTED_ASSET))
    unchanged = airflow.run({}, DAG_ID)
    [event] = events_of(REPORTED_ASSET)[told:]
    assert event == {name: value for name, value in unchanged.report.items() if name != "problems"}
    shop.put("b.csv")
    assert airflow.run({}, DAG_ID).state == "success"
    shop.put("bad./name.csv")
    assert airflow.run({}, DAG_ID).state == "failed"
    assert (len(events()), len(events_of(REPORTED_ASSET))) == (arrived + 1, told + 1), "told once, failures never"
    shop.remove("bad./name.csv")


@pytest.mark.parametrize("conf", [{"dry_run": True}, {"destination": "<other>"}])
def test_what_did_not_come_to_the_route_s_destination_is_no_arrival(
    airflow: Runner, shop: Shop, buckets: Buckets, conf: dict[str, Any]
) -> None:
    shop.put("a.csv")
    before = len(events())
    conf = {name: buckets.new("az").url if value == "<other>" else value for name, value in conf.items()}
    assert airflow.run(conf, DAG_ID).state == "success"
    assert len(events()) == before


def test_the_on_demand_dag_announces_for_the_route_it_names(airflow: Runner, shop: Shop, buckets: Buckets) -> None:
    shop.put("a.csv")
    before = len(events())
    assert airflow.run({"id": ROUTE}).state == "success"
    assert [event["route"] for event in events()[before:]] == [ROUTE]
    source = buckets.new("s3")
    source.put("a", b"1")
    assert airflow.run({"source": source.url, "destination": buckets.new("az").url}).state == "success"
    assert len(events()) == before + 1


def test_the_dag_of_the_guide_reads_what_arrived_and_reads_it_once(
    airflow: Runner, shop: Shop, tmp_path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    [example] = [block.text for block in blocks("python", "dag") if block.page == "docs/guide/downstream.md"]
    file = tmp_path / "downstream.py"
    file.write_text(example)
    bag = DagBag(str(file))
    assert bag.import_errors == {}
    shop.put("a.csv")
    arrived = airflow.run({}, DAG_ID)
    sync_bag_to_db(bag, "dags-folder", None)
    read = Runner(bag, capfd).run({}, "orders_arrived")
    assert read.state == "success", read.log
    told = arrived.report
    line = f"{told['objects_copied']} objects in {told['destination']}, see {told['records']}"
    assert line in read.log
    assert line not in Runner(bag, capfd).run({}, "orders_arrived").log
