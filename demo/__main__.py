"""`python -m demo`: runs the demo on the local stack, which must be up (`make demo` sees to that)."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from demo.display import Display
from demo.files import DemoError
from demo.runs import AirflowRuns
from demo.scenario import BUCKET, DROPPED, EVENTS, MOVED, RETURNED, UPLOADED
from demo.story import Story
from demo.vendor_buckets import AzureContainer, GcsBucket, S3Bucket, azure_service, gcs_client
from stack.components import component
from stack.environment import AZURITE_ACCOUNT, PASSWORD, USER, azurite_connection_string, stack_environment
from stack.layout import Layout, recorded_layout


def main() -> int:
    # A build's log has no width of its own; rich would take it to be 80 columns.
    display = Display(Console(highlight=False, width=None if sys.stdout.isatty() else 120))
    try:
        layout = recorded_layout()
        if layout is None:
            raise DemoError("the stack is not running; `make demo` starts it")
        # The vendors' clients read proxies and the like from there.
        os.environ.update(stack_environment(layout))
        with _alone(layout):
            is_good = _story(layout, display).tell()
        _say_where_to_look(layout, display)
    except DemoError as error:
        display.complain([f"error: {error}"])
        return 1
    except KeyboardInterrupt:
        display.say("\nStopped. The stack is still up; `make down` stops it.")
        return 130
    return 0 if is_good else 1


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Refuse to run beside another demo, which would empty the buckets of this one."""
    with (layout.state / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError("another `make demo` is running on this stack; wait until it has ended") from None
        yield


def _story(layout: Layout, display: Display) -> Story:
    s3_url, gcs_url = layout.url(component("moto")), layout.url(component("fake-gcs-server"))
    azurite_url = f"{layout.url(component('azurite'))}/{AZURITE_ACCOUNT}"
    source, events = (S3Bucket(name, endpoint_url=s3_url) for name in (BUCKET, EVENTS))
    azure, gcs = azure_service(azurite_connection_string(azurite_url)), gcs_client(gcs_url)
    return Story(
        display=display,
        runs=AirflowRuns(
            layout.url(component("api-server")), user=USER, password=PASSWORD, logs=layout.airflow_home / "logs"
        ),
        source=source,
        buckets={
            "s3": source,
            "s3-returned": S3Bucket(RETURNED, endpoint_url=s3_url),
            "s3-dropped": S3Bucket(DROPPED, endpoint_url=s3_url),
            "events": events,
            "azure": AzureContainer(BUCKET, service=azure),
            "azure-moved": AzureContainer(MOVED, service=azure),
            "azure-events": AzureContainer(EVENTS, service=azure),
            "gcs": GcsBucket(BUCKET, client=gcs),
            "gcs-uploaded": GcsBucket(UPLOADED, client=gcs),
        },
        folder=layout.exchange / "demo",
        state=layout.state / "skyferry-state",
        events=events,
    )


def _say_where_to_look(layout: Layout, display: Display) -> None:
    airflow = layout.url(component("api-server"))
    display.say("checked: with the vendors' own clients, against the files on disk; read: downloaded, byte for byte")
    display.say(f"The runs:    {airflow}/dags/transfer/runs (user {USER}, password {PASSWORD})")
    display.say(f"Log files:   {layout.airflow_home / 'logs'}")
    display.say("The stack is still up; `make down` stops it, and another `make demo` empties its own buckets first.")


if __name__ == "__main__":
    sys.exit(main())
