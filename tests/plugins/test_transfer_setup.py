"""Which request a DAG run stands for, and which connections and folders it may use."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from airflow_bridge.transfer_setup import setup_from_run
from skyferry.errors import ConnectionConfigError, RequestError, RouteConfigError, TransferError, UnknownRouteError

ROUTE = """\
id: nightly
source: {url: "s3://shop/orders/", conn_id: aws_shop}
destination: {url: "az://lake/raw/", conn_id: azure_lake}
data: "*.csv"
copy: {keep_source: false, on_conflict: skip}
"""
DEFAULTS = "connections: [aws_default, wasb_default]\nlocal_roots: []\n"
PLAIN = {"source": "s3://shop/", "destination": "az://lake/"}


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    folder = tmp_path / "config"
    (folder / "routes").mkdir(parents=True)
    (folder / "routes" / "nightly.yaml").write_text(ROUTE)
    (folder / "routes" / "broken.yaml").write_text("id: broken\n")
    (folder / "defaults.yaml").write_text(DEFAULTS)
    monkeypatch.setenv("SKYFERRY_CONFIG", str(folder))
    monkeypatch.setenv("SKYFERRY_LOCAL_ROOTS", str(tmp_path / "roots"))
    monkeypatch.setenv("SKYFERRY_STATE_URL", f"file://{tmp_path}/state")
    return folder


def run_of(conf, **values):
    at = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    return SimpleNamespace(
        **{"conf": conf, "dag_id": "transfer", "run_id": "manual__1", "start_date": at, "run_after": at} | values
    )


def setup(conf, *, route_id=None, pinned=None):
    return setup_from_run(run_of(conf), route_id=route_id, pinned_request=pinned)


def test_a_request_that_stands_on_its_own():
    transfer = setup(PLAIN)
    assert transfer.request.source == "s3://shop/"
    assert (transfer.source.conn_id, transfer.destination.conn_id) == ("aws_default", "wasb_default")
    assert transfer.run.route == "on-demand"
    assert transfer.run.started_at == "2026-05-04T03:02:01+00:00"


def test_a_run_that_lists_what_a_queue_tells_of_is_a_reconciliation(config):
    queue = "detect: {kind: sqs, queue_url: 'https://sqs.example.com/1/orders'}\n"
    (config / "routes" / "fed.yaml").write_text(ROUTE.replace("nightly", "fed") + queue)
    assert setup({}, route_id="fed").is_reconciliation
    assert setup({"data": "may.csv"}, route_id="fed").is_reconciliation
    assert not setup({"source": "s3://shop/orders/may/"}, route_id="fed").is_reconciliation
    assert not setup({}, route_id="nightly").is_reconciliation
    assert not setup(PLAIN).is_reconciliation


@pytest.mark.parametrize("how", ["by id", "by DAG"])
def test_a_route_supplies_what_the_conf_leaves_out(how):
    conf = {"id": "nightly"} if how == "by id" else None
    transfer = setup(conf, route_id=None if how == "by id" else "nightly")
    assert transfer.request.to_conf() | {"id": "nightly"} == transfer.request.to_conf()
    assert (transfer.request.data, transfer.request.on_conflict) == ("*.csv", "skip")
    assert not transfer.request.keep_source
    assert transfer.source.conn_id == "aws_shop"


def test_the_conf_wins_over_the_route_and_null_means_not_given():
    request = setup({"id": "nightly", "copy": True, "data": None, "on_conflict": "fail"}).request
    assert (request.keep_source, request.data, request.on_conflict) == (True, "*.csv", "fail")


def test_another_kind_of_store_does_not_keep_the_route_s_connection(tmp_path):
    (tmp_path / "roots").mkdir()
    transfer = setup({"id": "nightly", "source": f"file://{tmp_path}/roots/x/"})
    assert transfer.source.conn_id == ""


def test_a_run_goes_by_the_request_of_its_plan_whatever_the_route_says_now(config):
    pinned = setup({"id": "nightly"}).pinned_request()
    (config / "routes" / "nightly.yaml").write_text(ROUTE.replace("on_conflict: skip", "on_conflict: replace"))
    assert setup({"id": "nightly"}).request.on_conflict == "replace"
    assert setup({"id": "nightly"}, pinned=pinned).request.on_conflict == "skip"


def test_the_pinned_request_holds_no_key():
    names = {"data": "the/secret/key.csv", "include": ["the/secret/"], "exclude": ["the/secret/*"]}
    pinned = setup({**PLAIN, **names}).pinned_request()
    assert not names.keys() & pinned.keys()
    assert "secret" not in str(pinned)


@pytest.mark.parametrize(
    "conf",
    [
        {"source_conn_id": "aws_shop"},  # nobody allowed it
        {"source": "s3://shop/orders/", "source_conn_id": "aws_shop"},  # the route's own place, but no route is named
        {"id": "nightly", "source": "s3://payroll/"},  # the route's connection for another bucket
        {"id": "nightly", "source": "s3://payroll/orders/"},
        {"id": "nightly", "source": "s3://shop/"},  # for more than the route's folder
        {"id": "nightly", "source": "s3://shop/orders-secret/"},
        {"id": "nightly", "destination": "s3://shop/orders/", "destination_conn_id": "azure_lake"},
    ],
)
def test_a_route_s_connection_opens_the_route_s_places_only(conf):
    request = conf if "id" in conf else {**PLAIN, **conf}
    with pytest.raises(ConnectionConfigError, match=r'_conn_id "\w+" may not be used for .*aws_default, wasb_default'):
        setup(request)


def test_a_route_s_connection_opens_a_folder_inside_its_place():
    assert setup({"id": "nightly", "source": "s3://shop/orders/2026/"}).source.conn_id == "aws_shop"


@pytest.mark.parametrize("missing", ["source", "destination"])
def test_a_field_left_empty_in_the_form_is_what_the_message_names(missing):
    with pytest.raises(RequestError, match=f"not started: {missing} is missing"):
        setup({"id": "on-demand", **PLAIN, missing: None})


def test_a_folder_outside_the_roots_is_refused(tmp_path):
    with pytest.raises(RequestError, match="source: local folder .* outside the allowed roots"):
        setup({**PLAIN, "source": f"file://{tmp_path}/elsewhere/"})


@pytest.mark.parametrize(
    ("conf", "error"),
    [
        ({"id": "nightlyy"}, UnknownRouteError),
        ({"id": "../../etc/passwd"}, UnknownRouteError),
        ({"id": "broken"}, RouteConfigError),
        ({"id": ["nightly"]}, RequestError),
        ({**PLAIN, "surplus": 1}, RequestError),
        ({**PLAIN, "dry_run": "no"}, RequestError),
    ],
)
def test_what_is_wrong_is_an_error_of_its_kind(conf, error):
    with pytest.raises(error) as caught:
        setup(conf)
    assert isinstance(caught.value, TransferError)


def test_an_id_may_be_just_a_name():
    assert setup({**PLAIN, "id": "try-out"}).run.route == "try-out"


def test_the_state_folder_is_private_and_made_when_missing(tmp_path):
    assert setup(PLAIN).state.location.bucket == f"{tmp_path}/state"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_without_a_setting_the_state_lies_beside_airflow_s_home(monkeypatch):
    from airflow.configuration import AIRFLOW_HOME

    monkeypatch.delenv("SKYFERRY_STATE_URL")
    state = setup(PLAIN).state
    assert state.location.url == f"file://{AIRFLOW_HOME.removesuffix('/airflow')}/skyferry-state/"


def test_the_state_may_live_in_a_bucket(monkeypatch):
    monkeypatch.setenv("SKYFERRY_STATE_URL", "s3://platform/skyferry/")
    state = setup(PLAIN).state
    assert (state.location.url, state.conn_id) == ("s3://platform/skyferry/", "aws_default")


WATCH = """\
id: watch
source: {url: "file:///srv/Watch", claim: "file:///srv/Queued", done: "file:///srv/Uploaded"}
destination:
  url: s3://shop/in
  conn_id: aws_shop
  notify: {queue_url: "https://sqs.us-east-1.amazonaws.com/123456789012/uploads"}
"""


@pytest.fixture
def watch(config, tmp_path, monkeypatch):
    (config / "routes" / "watch.yaml").write_text(WATCH.replace("/srv/", f"{tmp_path}/roots/"))
    return f"file://{tmp_path}/roots"


def test_a_route_s_handover_travels_with_the_pinned_request(watch, config):
    transfer = setup(None, route_id="watch")
    assert (transfer.handover.watched, transfer.handover.done) == (f"{watch}/Watch/", f"{watch}/Uploaded/")
    pinned = transfer.pinned_request()
    (config / "routes" / "watch.yaml").write_text(WATCH.replace("Uploaded", "Elsewhere"))
    assert setup(None, route_id="watch", pinned=pinned).handover == transfer.handover


@pytest.mark.parametrize(
    "conf", [{"source": "file:///srv/other/"}, {"destination": "s3://shop/"}, {"destination_conn_id": "aws_default"}]
)
def test_a_run_cannot_take_a_route_s_handover_elsewhere(watch, conf):
    (name,) = conf
    for route_id, given in (("watch", conf), (None, conf | {"id": "watch"})):
        with pytest.raises(RequestError, match=f'{name} is not that of the route "watch", which claims files'):
            setup(given, route_id=route_id)


def test_a_conf_cannot_hold_a_handover():
    with pytest.raises(RequestError, match='"handover" is not a known name'):
        setup({**PLAIN, "handover": {"watched": "file:///srv/Watch/"}})


@pytest.mark.parametrize("folder", ["Watch", "Uploaded"])
def test_folders_of_a_handover_must_lie_in_the_local_roots(watch, config, folder):
    file = config / "routes" / "watch.yaml"
    file.write_text(file.read_text().replace(f"{watch}/{folder}", f"file:///elsewhere/{folder}"))
    with pytest.raises(RequestError, match=f"source: local folder file:///elsewhere/{folder} is outside the allowed"):
        setup(None, route_id="watch")


@pytest.mark.parametrize(("notify", "conn_id"), [("conn_id: aws_queue, ", "aws_queue"), ("", "aws_shop")])
def test_the_queue_is_opened_with_its_connection(watch, config, monkeypatch, notify, conn_id):
    file = config / "routes" / "watch.yaml"
    file.write_text(file.read_text().replace("notify: {", f"notify: {{{notify}"))
    transfer = setup(None, route_id="watch")
    with pytest.raises(ConnectionConfigError, match=f'no Airflow connection "{conn_id}", which destination.notify'):
        transfer.notifier_opener()
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", '{"conn_type": "wasb"}')
    with pytest.raises(ConnectionConfigError, match='has the type "wasb"; expected "aws"'):
        transfer.notifier_opener()


def test_nobody_is_told_by_a_plain_transfer():
    assert setup(PLAIN).notifier_opener() is None
