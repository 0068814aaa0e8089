"""What Airflow is asked to write when a connection gets another key."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from skyferry.history.airflow_access import AirflowAccess
from skyferry.history.airflow_api import AirflowApi
from skyferry.provisioning.access_keys import AccessKey
from tests.faults.proxy import answer, fault_proxy_in_thread

KEY = AccessKey(key_id="AKIANEW", secret="hunter2", extra={"region_name": "eu-central-1"})
NOBODY = "http://127.0.0.1:9"


def test_a_new_key_leaves_what_somebody_has_set_of_the_connection() -> None:
    with fault_proxy_in_thread(NOBODY, always=answer(200, body=b"{}")) as proxy:
        api = AirflowApi(AirflowAccess(url=proxy.url, token="token"))
        api.write_connection("aws_keyed", KEY, description="of Skyferry", is_new=False)
        (request,) = proxy.requests
    asked = urlsplit(request.target)
    assert (request.method, asked.path) == ("PATCH", "/api/v2/connections/aws_keyed")
    assert sorted(parse_qs(asked.query)["update_mask"]) == ["login", "password"]
