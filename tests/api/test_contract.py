"""Requests that the OpenAPI document allows, and many that it does not: every answer is one that it announces."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS

from tests.airflow_home import PROJECT
from tests.api.conftest import API, token
from tests.local_airflow import LocalAirflow, same_routes_afterwards

pytestmark = pytest.mark.slow

EXAMPLES = 12
"""Of each operation; more find more, at 30 ms each on an idle machine."""

SCHEMA = schemathesis.openapi.from_dict(json.loads((PROJECT / "docs/reference/openapi.json").read_text()))
AGREEMENT = [
    CHECKS.get_one(name)
    for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
]


@pytest.fixture(scope="module")
def login(airflow_services: LocalAirflow) -> Iterator[dict[str, str]]:
    # Among what the document allows is to remove the route that its examples name.
    with same_routes_afterwards(airflow_services):
        yield {"Authorization": f"Bearer {token(airflow_services, 'op')}"}


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_the_document_announces(
    case: schemathesis.Case, airflow_services: LocalAirflow, login: dict[str, str]
) -> None:
    answer = case.call(base_url=airflow_services.url + API, headers=login, timeout=180)
    # 503: Airflow's SQLite was busy.
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    case.validate_response(answer, checks=AGREEMENT)
