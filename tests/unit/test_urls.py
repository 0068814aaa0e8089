"""Locations: what is accepted and in which spelling, what is refused and with which words, and who is inside whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyferry.errors import RequestError
from skyferry.urls import Location, ensure_disjoint, lands_in_source, parse_location


@pytest.mark.parametrize(
    ("url", "location", "spelling"),
    [
        ("s3://shop", Location("s3", "shop", ""), "s3://shop/"),
        ("s3://shop/", Location("s3", "shop", ""), "s3://shop/"),
        ("s3://shop/a/b", Location("s3", "shop", "a/b/"), "s3://shop/a/b/"),
        ("s3://shop//a", Location("s3", "shop", "/a/"), "s3://shop//a/"),
        ("s3://shop.eu-1/a%20b/", Location("s3", "shop.eu-1", "a%20b/"), "s3://shop.eu-1/a%20b/"),
        ("s3://shop/users/@me:1/", Location("s3", "shop", "users/@me:1/"), "s3://shop/users/@me:1/"),
        ("az://lake/raw", Location("az", "lake", "raw/"), "az://lake/raw/"),
        ("az://$web", Location("az", "$web", ""), "az://$web/"),
        ("gs://my_archive.example.com/x", Location("gs", "my_archive.example.com", "x/"), None),
        ("file:///srv/out", Location("file", "/srv/out", ""), "file:///srv/out/"),
        ("file:////srv//out/", Location("file", "/srv/out", ""), "file:///srv/out/"),
        ("file:///", Location("file", "/", ""), "file:///"),
        ("file:///a b/é/{{ x }}", Location("file", "/a b/é/{{ x }}", ""), "file:///a b/é/{{ x }}/"),
    ],
)
def test_each_url_has_one_spelling(url: str, location: Location, spelling: str | None) -> None:
    assert parse_location(url) == location
    assert location.url == (spelling or url + "/")
    assert parse_location(location.url) == location


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "source is empty; expected"),
        ("   ", "source is empty"),
        ("shop/orders", "has no scheme; expected s3://"),
        ("/srv/out", 'has no scheme; for a local folder write "file:///srv/out"'),
        ("s3a://shop", "did you mean s3://bucket/prefix?"),
        ("S3://shop", "did you mean s3://bucket/prefix?"),
        ("azure://lake", "did you mean az://container/prefix?"),
        ("wasbs://lake@account.blob.core.windows.net/x", "did you mean az://container/prefix?"),
        ("gcs://archive", "did you mean gs://bucket/prefix?"),
        ("https://shop.s3.eu-central-1.amazonaws.com/x", "did you mean s3://bucket/prefix?"),
        ("https://account.blob.core.windows.net/lake", "did you mean az://container/prefix?"),
        ("https://storage.googleapis.com/archive", "did you mean gs://bucket/prefix?"),
        ("https://example.com/s3", 'unknown scheme "https"'),
        ("ftp://host/x", 'unknown scheme "ftp"'),
        ("s3://", "names no bucket"),
        ("s3:///orders", "names no bucket"),
        ("az:///x", "names no container"),
        ("s3://Shop/x", '"Shop" for a bucket; expected 3 to 63 lower-case'),
        ("s3://ab", '"ab" for a bucket'),
        ("s3://" + "b" * 64, "for a bucket"),
        ("s3://a..b", "for a bucket"),
        ("s3://192.168.5.4/x", "not an IP address"),
        ("s3://xn--shop", "for a bucket"),
        ("s3://shop-", "for a bucket"),
        ("az://lake--raw", "single hyphens"),
        ("az://lake.raw", "for a container"),
        ("gs://google-data", 'without "google"'),
        ("gs://goog-data", "for a bucket"),
        ("s3://shop/../other", 'path element ".."'),
        ("s3://shop/./x", r'path element "."'),
        ("file:///srv/../etc", 'path element ".."'),
        ("file://srv/out", 'names a host; expected an absolute folder with three slashes, such as "file:///srv/out"'),
        ("file://localhost/srv", "names a host"),
        ("file://./out", 'is a relative path; expected an absolute folder with three slashes, such as "file:///out"'),
        ("s3://shop/a\nb", r"control character U\+000A"),
        ("s3://shop/a\x00", r"control character U\+0000"),
        ("s3://shop/a\ud800", r"control character U\+D800"),
        ("s3://shop/a ", "begins or ends with a space"),
        ("s3://shop/" + "a" * 5000, "5,010 characters; expected a URL of at most 4,096"),
    ],
)
def test_what_is_no_location_is_refused_with_what_to_write(url: str, message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("?", r"\?").replace("$", r"\$")) as caught:
        parse_location(url)
    assert str(caught.value).startswith("source ")
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:SECRET@shop/x",
        "s3://SECRET@shop/x",
        "az://lake/x?sv=2026&sig=SECRET",
        "https://account.blob.core.windows.net/lake?sig=SECRET",
        "https://user:SECRET@account.blob.core.windows.net/lake",
        "wasbs://SECRET@account.blob.core.windows.net/x",
        "gs://archive/x#SECRET",
        "file:///srv/out?SECRET",
        "SECRET@shop",
        "s3:/SECRET@shop?x",
        "http://storage.googleapis.com/archive/x?X-Goog-Signature=SECRET#y",
    ],
)
def test_a_secret_in_a_url_is_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_location(url)
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in repr(caught.value)


def test_a_port_is_refused_because_endpoints_belong_into_the_connection() -> None:
    with pytest.raises(RequestError, match="holds a port") as caught:
        parse_location("s3://shop:9000/x", what="destination")
    assert str(caught.value).startswith("destination ")
    assert "connection" in str(caught.value)


@given(st.text(max_size=40), st.sampled_from(["", "s3://", "az://", "gs://", "file:///", "s3://shop/"]))
def test_any_text_is_either_a_location_with_one_spelling_or_a_request_error(text: str, start: str) -> None:
    try:
        location = parse_location(start + text)
    except RequestError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert len(message.splitlines()) == 1
        return
    assert parse_location(location.url) == location
    assert location.prefix == "" or location.prefix.endswith("/")
    assert ".." not in (location.prefix + location.bucket).split("/")


@pytest.mark.parametrize(
    ("source", "destination", "is_refused"),
    [
        ("s3://shop/a", "s3://shop/a", True),
        ("s3://shop/a", "s3://shop/a/b", True),
        ("s3://shop", "s3://shop/a", True),
        ("s3://shop/a", "s3://shop/ab", False),
        ("s3://shop/a", "s3://shop", False),
        ("s3://shop/a", "s3://shop-2/a", False),
        ("s3://shop/a", "gs://shop/a", False),
        ("file:///srv/a", "file:///srv/a/b", True),
        ("file:///srv/a", "file:///srv/ab", False),
        ("file:///", "file:///srv", True),
        ("file:///srv/a", "file:///srv", False),
    ],
)
def test_a_destination_inside_the_source_is_refused(source: str, destination: str, is_refused: bool) -> None:
    places = parse_location(source), parse_location(destination)
    if not is_refused:
        ensure_disjoint(*places)
        return
    with pytest.raises(RequestError, match=r"feed itself.*nothing was changed"):
        ensure_disjoint(*places)


def test_two_paths_of_one_folder_are_one_folder(tmp_path: Path) -> None:
    for name in ("in/deep", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "link_deep").symlink_to(tmp_path / "in/deep")
    source = parse_location(f"file://{tmp_path}/in")
    for destination in ("link", "link/deep", "link/absent/yet", "link_deep", "in"):
        with pytest.raises(RequestError, match="feed itself"):
            ensure_disjoint(source, parse_location(f"file://{tmp_path}/{destination}"))
    for source_name, destination in (("in", "other"), ("in", "absent"), ("absent", "in"), ("in/deep", "link")):
        places = (parse_location(f"file://{tmp_path}/{name}") for name in (source_name, destination))
        ensure_disjoint(*places)


def test_a_key_lands_in_a_source_that_is_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "all/part").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "all/part")
    source, destination = parse_location(f"file://{tmp_path}/link"), parse_location(f"file://{tmp_path}/all")
    assert lands_in_source("part/x", source=source, destination=destination)
    assert not lands_in_source("parts/x", source=source, destination=destination)


def test_buckets_of_one_name_behind_two_connections_are_two_buckets_but_folders_are_not() -> None:
    bucket = parse_location("s3://shop/a")
    ensure_disjoint(bucket, bucket, same_connection=False)
    folder = parse_location("file:///srv/a")
    with pytest.raises(RequestError, match="the same as"):
        ensure_disjoint(folder, folder, same_connection=False)


@pytest.mark.parametrize(
    ("key", "source", "destination", "lands"),
    [
        ("a/x", "s3://shop/a", "s3://shop", True),
        ("ab/x", "s3://shop/a", "s3://shop", False),
        ("a/x", "s3://shop/a", "s3://other", False),
        ("a/x", "s3://shop/a", "az://shop", False),
        ("a/x", "file:///srv/a", "file:///srv", True),
        ("b/x", "file:///srv/a", "file:///srv", False),
    ],
)
def test_a_single_key_may_land_in_the_source(key: str, source: str, destination: str, lands: bool) -> None:
    assert lands_in_source(key, source=parse_location(source), destination=parse_location(destination)) == lands
