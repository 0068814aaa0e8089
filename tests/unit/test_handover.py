"""What a route file may say about claiming, telling and setting aside, and what it makes of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry.claim import Claiming
from skyferry.config_folder import project_folder
from skyferry.errors import RouteConfigError
from skyferry.handover import NO_HANDOVER, Handover, Notify
from skyferry.routes import Route, load_route
from skyferry.urls import parse_location

GOOD = """\
id: watch
source: {url: "file:///srv/Watch", claim: "file:///srv/Queued", done: "file:///srv/Uploaded"}
destination:
  url: s3://shop/in
  notify: {queue_url: "https://sqs.us-east-1.amazonaws.com/123456789012/uploads", create_queue: true}
detect: {kind: files, settle_seconds: 7, done_suffix: .done}
schedule: event
"""


def load(folder: Path, text: str) -> Route:
    path = folder / "watch.yaml"
    path.write_text(text)
    return load_route(path)


def test_a_watch_folder_in_full(tmp_path: Path) -> None:
    route = load(tmp_path, GOOD)
    assert (route.request().source, route.request().keep_source) == ("file:///srv/Queued/", False)
    assert route.source.url == "file:///srv/Watch/", "what is looked at is not what is transferred"
    handover = route.handover()
    assert handover == Handover(
        watched="file:///srv/Watch/",
        done="file:///srv/Uploaded/",
        settle_seconds=7,
        done_suffix=".done",
        notify=Notify(queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/uploads", create_queue=True),
    )
    assert Handover.model_validate(handover.model_dump(mode="json")) == handover
    assert handover.claiming(parse_location("file:///srv/Queued/")) == Claiming(
        watched=Path("/srv/Watch"),
        claimed=Path("/srv/Queued"),
        done=Path("/srv/Uploaded"),
        settle_seconds=7,
        done_suffix=".done",
    )


def test_a_route_that_says_nothing_hands_nothing_over(tmp_path: Path) -> None:
    route = load(tmp_path, "id: watch\nsource: {url: s3://shop/a}\ndestination: {url: s3://lake/b}\n")
    assert route.handover() == NO_HANDOVER
    location = parse_location("file:///srv/Queued/")
    assert (NO_HANDOVER.claiming(location), NO_HANDOVER.release(location)) == (None, None)


def test_folders_may_be_below_the_project(tmp_path: Path) -> None:
    text = GOOD.replace("file:///srv/", "file:./exchange/")
    assert load(tmp_path, text).handover().done == f"file://{project_folder()}/exchange/Uploaded/"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"file:///srv/Watch"', "s3://shop/Watch", "source.claim: is for local folders: only a file can be moved"),
        ('"file:///srv/Queued"', "s3://shop/x", "source.claim: is for local folders"),
        ('"file:///srv/Queued"', "Queued", "has no scheme"),
        ("/srv/Queued", "/srv/Watch/Queued", "file:///srv/Watch/Queued/ lies inside file:///srv/Watch/, so that files"),
        ("/srv/Uploaded", "/srv/Queued/Uploaded", "file:///srv/Queued/Uploaded/ lies inside file:///srv/Queued/"),
        ("/srv/Queued", "/srv/Uploaded", "lies inside|feed itself"),
        (', done: "file:///srv/Uploaded"', "", "source.claim needs source.done, or copy.keep_source: false"),
        (', claim: "file:///srv/Queued", done: "file:///srv/Uploaded"', "", "destination.notify needs source.done, or"),
        ("schedule: event", "copy: {keep_source: true}", "copy.keep_source is true, but source.done moves"),
        ("s3://shop/in", "az://lake/in", "shape is s3_event, and destination is az://lake/in/; expected raw"),
        ("create_queue: true", "shape: s3", 'destination.notify.shape: found "s3"; expected one of s3_event, raw'),
        ("create_queue: true", "queue: x", 'destination.notify: "queue" is not a known name; did you mean "queue_url"'),
        ("uploads", "uploads.fifo", "is a FIFO queue"),
        ("https://sqs", "https://user:secret@sqs", "destination.notify.queue_url: found another text; expected the"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(RouteConfigError, match=message) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert "secret" not in str(caught.value)


def test_a_queue_is_not_both_read_and_told(tmp_path: Path) -> None:
    text = """\
id: watch
source: {url: s3://shop/in}
destination: {url: s3://lake/in, notify: {queue_url: "https://sqs.us-east-1.amazonaws.com/123456789012/b"}}
detect: {kind: sqs, queue_url: "https://sqs.us-east-1.amazonaws.com/123456789012/a"}
copy: {keep_source: false}
"""
    with pytest.raises(RouteConfigError, match="destination.notify is not for routes that read a queue"):
        load(tmp_path, text)
