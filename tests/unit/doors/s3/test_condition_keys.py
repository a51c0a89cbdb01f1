"""Condition keys: one form each, and never a value that the operators could not read."""

from __future__ import annotations

import time

import pytest

from tickvault.doors.s3.authorization.ask import Ask
from tickvault.doors.s3.authorization.condition_keys import body_keys, header_keys, origin_keys, text_of
from tickvault.doors.s3.authorization.signer import root_signer
from tickvault.doors.s3.body import EMPTY_BODY
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Request
from tickvault.objects.condition_keys import Keys, lock_keys, moment_keys
from tickvault.security.policy.keys import REQUEST_KEYS, is_known_key

NOW = 1_800_000_000.5
ALL = frozenset(key.lower() for key in REQUEST_KEYS) | {"s3:requestobjecttag/a"}


def request(method="PUT", key="k", query=None, headers=None, **more):
    return Request(
        method, "/b/k", "b", key, query or {}, headers or {}, EMPTY_BODY, "AK", "ID",
        signer=root_signer("AK", "secret"), **more,
    )  # fmt: skip


def keys_of(asked, reads=ALL, version_id=None):
    return dict(Keys(Ask(asked, None, None, lambda: NOW), reads, None, asked.key, version_id, "s3:PutObject").items())


def test_every_key_is_one_that_policies_know():
    asked = request(
        headers={
            "x-amz-acl": "private", "x-amz-copy-source": "b/k", "x-amz-metadata-directive": "COPY",
            "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "key",
            "x-amz-storage-class": "STANDARD", "x-amz-tagging": "a=b&c=d", "user-agent": "me", "referer": "there",
            "x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-legal-hold": "ON",
            "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z", "x-amz-content-sha256": "00",
            "authorization": "AWS4-HMAC-SHA256 …", "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW - 7)),
        },
        remote="192.0.2.7", secure=True,
    )  # fmt: skip
    found = keys_of(asked, version_id="v")
    assert all(is_known_key(name) for name in found)
    assert found["aws:SourceIp"] == "192.0.2.7"
    assert found["aws:SecureTransport"] == "true"
    assert found["s3:RequestObjectTag/a"] == "b"
    assert found["s3:RequestObjectTagKeys"] == ("a", "c")
    assert found["s3:authType"] == "REST-HEADER"
    assert 7000 <= int(found["s3:signatureAge"]) <= 8000
    assert found["s3:VersionId"] == "v"
    assert found["s3:object-lock-mode"] == "GOVERNANCE"
    assert int(found["s3:object-lock-remaining-retention-days"]) > 300
    # What no policy reads is not made at all.
    assert "aws:SourceIp" not in keys_of(asked, frozenset({"s3:prefix"}))


def test_a_listing_has_its_prefix_and_an_object_has_none():
    query = {"prefix": "", "delimiter": "/", "max-keys": "10"}
    found = keys_of(request("GET", "", query))
    assert (found["s3:prefix"], found["s3:delimiter"], found["s3:max-keys"]) == ("", "/", "10")
    assert "s3:prefix" not in keys_of(request("GET", "k", query)), "a client could write one where none is meant"
    assert "s3:prefix" not in keys_of(request("GET", ""))


@pytest.mark.parametrize(
    ("remote", "expected"), [("fe80::1%eth0", "fe80::1"), ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("", None)]
)
def test_addresses(remote, expected):
    assert origin_keys(request(remote=remote)).get("aws:SourceIp") == expected


def test_a_forwarded_address_is_no_address():
    asked = request(headers={"x-forwarded-for": "10.0.0.1", "x-real-ip": "10.0.0.1"}, remote="192.0.2.7")
    assert keys_of(asked)["aws:SourceIp"] == "192.0.2.7"


def test_times():
    found = moment_keys(NOW)
    assert found == {"aws:CurrentTime": "2027-01-15T08:00:00Z", "aws:EpochTime": "1800000000"}


def test_begun_days_count():
    day_ns = 86_400 * 10**9
    now_ns = int(NOW * 10**9)
    for after_ns, days in ((1, "1"), (day_ns, "1"), (day_ns + 1, "2"), (-day_ns, "0")):
        found = lock_keys("GOVERNANCE", now_ns + after_ns, None, NOW)
        assert found["s3:object-lock-remaining-retention-days"] == days


def test_what_stands_in_a_body():
    tagging = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    assert body_keys("PutObjectTagging", tagging, NOW)["s3:RequestObjectTag/a"] == "b"
    retention = b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>"
    assert body_keys("PutObjectRetention", retention, NOW)["s3:object-lock-mode"] == "GOVERNANCE"
    hold = b"<LegalHold><Status>ON</Status></LegalHold>"
    assert body_keys("PutObjectLegalHold", hold, NOW) == {"s3:object-lock-legal-hold": "ON"}
    assert body_keys("PutObject", b"anything", NOW) == {}
    for action in ("PutObjectTagging", "PutObjectRetention", "PutObjectLegalHold"):
        for body in (b"", b"<", b"<Other/>", b"\x00", b"<a>" * 1000):
            with pytest.raises(S3Error):
                body_keys(action, body, NOW)


def test_headers_are_text():
    assert text_of("Z\xc3\xbcrich") == "Zürich"
    assert text_of("\xff") == "\xff"


@pytest.mark.parametrize(
    "written",
    ["b/top/secret", "/b/top/secret", "b%2Ftop%2Fsecret", "b/%74op/secret", "/b/top/secret?versionId=7"],
)
def test_the_source_of_a_copy_is_seen_as_the_store_takes_it(written):
    assert header_keys({"x-amz-copy-source": written}) == {"s3:x-amz-copy-source": "b/top/secret"}


@pytest.mark.parametrize("written", ["desk-7", "arn:aws:kms:us-east-1:000000000000:key/desk-7", "arn:x:key/desk-7"])
def test_a_key_is_seen_by_its_id_however_it_is_named(written):
    name = "x-amz-server-side-encryption-aws-kms-key-id"
    assert header_keys({name: written}) == {f"s3:{name}": "desk-7"}


def test_a_directive_is_seen_in_one_case():
    assert header_keys({"x-amz-metadata-directive": "replace"}) == {"s3:x-amz-metadata-directive": "REPLACE"}
