from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3.addressing import bucket_and_key, canonical_path, canonical_query, split_target
from tickvault.doors.s3.errors import S3Error


def place(target: str, host: str = "127.0.0.1:9000", domains: tuple[str, ...] = ()) -> tuple[str, str]:
    return bucket_and_key(split_target(target.encode()).decoded_path, host, domains)


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        ("/", "", ""),
        ("/b", "b", ""),
        ("/b/", "b", ""),
        ("/b/k", "b", "k"),
        ("/b/k?x=y", "b", "k"),
        ("/b//k", "b", "/k"),
        ("/b/../../etc/passwd", "b", "../../etc/passwd"),
        ("/b/%2e%2e/x", "b", "../x"),
        ("/b/a//b/./c/", "b", "a//b/./c/"),
        ("/b/a%2Fb", "b", "a/b"),
        ("/b/a%252Fb", "b", "a%2Fb"),
        ("/b/a+b%20c", "b", "a+b c"),
        ("/b/%C3%BC%F0%9F%93%88", "b", "ü📈"),
        ("http://127.0.0.1:9000/b/k", "b", "k"),
        ("*", "", ""),
    ],
)
def test_path_style_keeps_the_key_as_it_is(target: str, bucket: str, key: str) -> None:
    assert place(target) == (bucket, key)


@pytest.mark.parametrize(
    ("host", "bucket", "key"),
    [
        ("raw.s3.example.com", "raw", "a/k"),
        ("RAW.S3.Example.com:9000", "raw", "a/k"),
        ("my.dotted.bucket.s3.example.com", "my.dotted.bucket", "a/k"),
        ("s3.example.com", "a", "k"),
        ("evils3.example.com", "a", "k"),
        ("other.example.com", "a", "k"),
        (".s3.example.com", "a", "k"),
    ],
)
def test_a_subdomain_is_a_bucket(host: str, bucket: str, key: str) -> None:
    assert place("/a/k", host, ("s3.example.com",)) == (bucket, key)


@pytest.mark.parametrize("target", ["/b/%", "/b/%zz", "/b/%4", "/b/%ff", "/b/%C3", "b/k", "ftp://x/y", "/b?x=%zz"])
def test_what_cannot_be_decoded_is_refused(target: str) -> None:
    with pytest.raises(S3Error) as caught:
        split_target(target.encode())
    assert caught.value.code == "InvalidURI"


def test_bytes_beyond_ascii_must_be_encoded() -> None:
    with pytest.raises(S3Error) as caught:
        split_target("/b/ü".encode())
    assert caught.value.code == "InvalidURI"


def test_query() -> None:
    target = split_target(b"/b?prefix=a%2Fb+c&uploads&x=1&x=2&=&empty=&e=a=b")
    assert target.query["prefix"] == "a/b c"
    assert target.query["uploads"] == ""
    assert target.query["x"] == "1"
    assert target.query["e"] == "a=b"
    assert canonical_query(target.query_pairs) == "=&e=a%3Db&empty=&prefix=a%2Fb%20c&uploads=&x=1&x=2"


def test_canonical_query_sorts_by_encoded_name() -> None:
    # '%' sorts before letters and digits once encoded, and 'B' before 'a'.
    target = split_target(b"/?b=1&a%20=2&a=3&B=4&a0=5")
    assert canonical_query(target.query_pairs) == "B=4&a=3&a%20=2&a0=5&b=1"


@given(key=st.text(min_size=1, max_size=60).filter(lambda t: t.isprintable() or "\n" in t))
def test_any_key_comes_through_and_is_canonical(key: str) -> None:
    try:
        sent = quote(key, safe="/~")
    except UnicodeEncodeError:
        return
    target = split_target(f"/b/{sent}".encode())
    assert bucket_and_key(target.decoded_path, "h", ()) == ("b", key)
    assert canonical_path(target) == f"/b/{sent}"
    everything_encoded = "".join(f"%{byte:02x}" for byte in key.encode())
    assert canonical_path(split_target(f"/b/{everything_encoded}".encode())) == f"/b/{sent}"
