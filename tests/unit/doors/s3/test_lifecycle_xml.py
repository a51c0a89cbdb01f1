"""Lifecycle: S3's XML and the document the runner reads."""

import pytest

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.lifecycle_xml import from_element, to_document
from tickvault.doors.s3.xml import parse


def read(inside):
    return from_element(parse(f"<LifecycleConfiguration>{inside}</LifecycleConfiguration>".encode()))


def rule(inside, status="Enabled", chosen="<Filter/>"):
    return f"<Rule><ID>r</ID>{chosen}<Status>{status}</Status>{inside}</Rule>"


DAY = "<Expiration><Days>1</Days></Expiration>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule(DAY), {"filter": {}, "expiration": {"days": 1}}),
        (rule(DAY, chosen="<Prefix>a/</Prefix>"), {"filter": {"prefix": "a/"}, "expiration": {"days": 1}}),
        (
            rule(
                "<Expiration><Date>2026-01-01T00:00:00.000Z</Date></Expiration>",
                chosen="<Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>"
                "<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>"
                "</And></Filter>",
            ),
            {
                "filter": {"prefix": "a", "tags": {"k": "v"}, "size_greater_than": 1, "size_less_than": 9},
                "expiration": {"date": "2026-01-01T00:00:00Z"},
            },
        ),
        (
            rule("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
            {"filter": {}, "expiration": {"expired_object_delete_marker": True}},
        ),
        (
            rule(
                "<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>"
                "<NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
            ),
            {
                "filter": {},
                "noncurrent_version_expiration": {"noncurrent_days": 3, "newer_noncurrent_versions": 2},
            },
        ),
        (
            rule(
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
                "</AbortIncompleteMultipartUpload>"
            ),
            {"filter": {}, "abort_incomplete_multipart_upload": {"days_after_initiation": 7}},
        ),
    ],
)
def test_round_trip(text, expected):
    document = read(text)
    assert document == {"rules": [{"id": "r", "status": "Enabled", **expected}]}
    assert from_element(parse(to_document(document))) == document


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "MalformedXML"),
        (rule(DAY, status="On"), "MalformedXML"),
        (rule(DAY, chosen=""), "MalformedXML"),
        (rule(""), "InvalidRequest"),
        (rule("<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
        (rule("<Expiration><Days>-1</Days></Expiration>"), "MalformedXML"),
        (rule("<Expiration><Days>1</Days><Date>2026-01-01T00:00:00Z</Date></Expiration>"), "MalformedXML"),
        (rule("<Expiration><Date>2026-01-01T01:00:00Z</Date></Expiration>"), "InvalidArgument"),
        (rule("<Expiration><Date>soon</Date></Expiration>"), "MalformedXML"),
        (
            rule("<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
            "NotImplemented",
        ),
        (rule(DAY) + rule(DAY), "InvalidArgument"),
        (rule(DAY, chosen=f"<ID>{'x' * 256}</ID><Filter/>").replace("<ID>r</ID>", ""), "InvalidArgument"),
    ],
)
def test_refused(text, code):
    with pytest.raises(S3Error) as caught:
        read(text)
    assert caught.value.code == code
