"""A component runs for as long as its block, and a failed start says where to look."""

import dataclasses
import sys
import urllib.request

import pytest

from stack.components import component
from stack.health import is_port_free
from stack.running import ComponentError, running


def test_it_answers_inside_the_block_and_is_gone_after_it(tmp_path):
    with running(component("fake-gcs-server"), tmp_path) as gcs:
        with urllib.request.urlopen(f"{gcs.url}/storage/v1/b?project=test") as answer:
            assert answer.status == 200
    assert is_port_free(gcs.port)


def test_a_component_that_ends_is_reported_with_its_last_words(tmp_path):
    script = "print('no such disk'); raise SystemExit(3)"
    broken = dataclasses.replace(component("moto"), command=lambda port, folder: [sys.executable, "-c", script])
    with pytest.raises(ComponentError, match=r"moto ended; its log is .*moto\.log\n(.*\n)*.*no such disk"):
        with running(broken, tmp_path):
            pass


def test_a_component_that_stays_silent_meets_its_deadline(tmp_path):
    script = "import time; time.sleep(60)"
    silent = dataclasses.replace(
        component("moto"), command=lambda port, folder: [sys.executable, "-c", script], deadline_seconds=1
    )
    with pytest.raises(ComponentError, match="was not healthy within 1 seconds"), running(silent, tmp_path):
        pass


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(KeyError, match="no component 'minio'; known: moto, azurite"):
        component("minio")
