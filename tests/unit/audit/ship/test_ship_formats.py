"""Syslog, CEF and S3 access log lines, read by readers of their own."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syslog_reading import frames, read_access_log, read_cef, read_message
from trails import HOSTILE, TIME_NS, TRAIL, make

from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ship.cef import cef_line
from tickvault.audit.ship.event import clean, epoch_seconds, event_id, rfc3339, to_json
from tickvault.audit.ship.rfc5424 import frame, message
from tickvault.audit.ship.s3_access_log import access_log_line
from tickvault.audit.ship.s3_operations import operation
from tickvault.errors import InvalidInputError

text = st.text(max_size=60) | st.sampled_from(
    [HOSTILE, "", "\\", "=", "|", "\\=", "\\n", "\n", "]", '"', "\udc80", " a=b"]
)
records = st.builds(
    lambda sequence, category, action, result, identity, source, bucket, key, version_id, detail, size, status: make(
        sequence,
        category=category,
        action=action,
        result=result,
        identity=identity,
        source=source,
        bucket=bucket,
        key=key,
        version_id=version_id,
        detail=detail,
        size_bytes=size,
        status=status,
    ),
    st.integers(1, 2**40),
    st.sampled_from(Category),
    text.map(lambda t: t[:25]),
    st.just("ok") | text.map(lambda t: t[:25]),
    text,
    st.sampled_from(["192.0.2.1", "2001:db8::1", "pid 7 of desk", ""]) | text,
    text,
    text,
    text,
    st.dictionaries(text, text, max_size=3),
    st.integers(0, 2**62),
    st.integers(0, 599),
)


def shown(value: str) -> str:
    """What is left of a text whose control characters have no escape."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", "\ufffd", clean(value))


def shown_in_extension(value: str) -> str:
    return re.sub("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]", "\ufffd", clean(value))


@settings(deadline=None, max_examples=120)
@given(records)
def test_a_line_of_cef_gives_back_what_went_in(record: AuditRecord) -> None:
    header, extension = read_cef(cef_line(TRAIL, record))
    assert header[:3] == ["0", "TickVault", "TickVault"]
    assert header[4] == shown(record.action)
    assert header[5] == shown(f"{record.action} {record.result}")
    assert 0 <= int(header[6]) <= 10
    assert extension["cs6"] == event_id(TRAIL, record.sequence)
    assert extension["externalId"] == str(record.sequence)
    assert extension["rt"] == str(record.time_ns // 10**6)
    for key, label, value in (
        ("cs1", "bucket", record.bucket),
        ("cs2", "key", record.key),
        ("cs3", "versionId", record.version_id),
        ("cs4", "door", record.door),
    ):
        assert extension.get(key, "") == shown_in_extension(value)
        assert extension.get(f"{key}Label") == (label if value else None)
    assert extension.get("suser", "") == shown_in_extension(record.identity)
    assert extension["outcome"] == ("success" if record.result == "ok" else "failure")


def test_a_line_of_cef_to_the_letter() -> None:
    line = cef_line("T", make(7, action="Put|Object\\", key="a=b|c\\d\ne", identity="x", detail={}))
    version = line.split("|")[3]
    assert line == (
        f"CEF:0|TickVault|TickVault|{version}|Put\\|Object\\\\|Put\\|Object\\\\ ok|3|rt=1700000000123 externalId=7 "
        "deviceExternalId=T cat=change act=Put|Object\\\\ outcome=success suser=x src=192.0.2.3 cs1Label=bucket "
        "cs1=ticks cs2Label=key cs2=a\\=b|c\\\\d\\ne cs3Label=versionId cs3=null cs4Label=door cs4=s3 "
        "cs6Label=eventId cs6=T-7 flexString1Label=requestId flexString1=REQ7 cn1Label=vaultSequence cn1=1007 "
        "cn2Label=sizeBytes cn2=4096 cn3Label=httpStatus cn3=200"
    )


def test_addresses_in_cef() -> None:
    assert read_cef(cef_line(TRAIL, make(1, source="192.0.2.1:99")))[1]["src"] == "192.0.2.1"
    six = read_cef(cef_line(TRAIL, make(1, source="2001:db8::1")))[1]
    assert (six["c6a2"], six["c6a2Label"]) == ("2001:db8::1", "Source IPv6 Address")
    assert read_cef(cef_line(TRAIL, make(1, source="pid 7 of desk")))[1]["shost"] == "pid 7 of desk"


def test_what_cef_has_no_room_for() -> None:
    detail = {"reason": "é" * 9000}
    cut = read_cef(cef_line(TRAIL, make(1, detail=detail)))[1]["cs5"]
    assert len(cut) == 4000
    assert cut.endswith("…")
    assert "cs5" not in read_cef(cef_line(TRAIL, make(1, detail=detail), detail_max=0))[1]
    with pytest.raises(InvalidInputError, match="act may have 63 characters, this one has 64"):
        cef_line(TRAIL, make(1, action="a" * 64))
    assert len(read_cef(cef_line(TRAIL, make(1, key="k" * 1024)))[1]["cs2"]) == 1024


@settings(deadline=None, max_examples=120)
@given(records, text)
def test_a_syslog_message_keeps_to_its_grammar(record: AuditRecord, hostname: str) -> None:
    line = to_json({"a": record.key.encode("utf-8", "replace").decode()}).decode()
    data = frame(message(TRAIL, record, line, hostname=hostname, app_name="tick vault"))
    (one,) = frames(data)
    read = read_message(one)
    assert read.priority // 8 == 13
    assert read.time == "2023-11-14T22:13:20." + f"{record.time_ns % 10**9:09d}"[:6] + "Z" or record.sequence > 10**8
    assert read.element_id == "tickvault@32473"
    assert read.parameters["eventId"] == event_id(TRAIL, record.sequence)
    assert read.parameters["timeNs"] == str(record.time_ns)
    assert read.parameters["action"] == re.sub("[\x00-\x1f\x7f]", "\ufffd", clean(record.action))
    assert read.text == line
    assert read.app == "tick?vault"
    assert b"\n" not in one


def test_priorities_and_a_message_to_the_letter() -> None:
    data = message("T", make(2, result="AccessDenied", category=Category.REFUSAL), "CEF:0|…", hostname="desk")
    assert data.decode() == (
        "<108>1 2023-11-14T22:13:20.123456Z desk tickvault - PutObject "
        '[tickvault@32473 eventId="T-2" sequence="2" timeNs="1700000000123456791" action="PutObject" '
        'result="AccessDenied"] CEF:0|…'
    )
    assert read_message(message("T", make(1), "x")).priority == 13 * 8 + 5
    assert read_message(message("T", make(1, category=Category.READ), "x")).priority == 13 * 8 + 6
    assert read_message(message("T", make(1), "x", hostname="")).host == "-"
    assert frame("é".encode()) == b"2 \xc3\xa9"


def test_a_line_as_amazon_writes_it() -> None:
    """The first example of "Amazon S3 server access log format" is read by the same reader."""
    amazon = (
        "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be amzn-s3-demo-bucket1 "
        "[06/Feb/2019:00:00:38 +0000] 192.0.2.3 79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be "
        '3E57427F3EXAMPLE REST.GET.VERSIONING - "GET /amzn-s3-demo-bucket1?versioning HTTP/1.1" 200 - 113 - 7 - "-" '
        '"S3Console/0.4" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 '
        "ECDHE-RSA-AES128-GCM-SHA256 AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSV1.2 "
        "arn:aws:s3:us-west-1:123456789012:accesspoint/example-AP Yes us-east-1"
    )
    theirs = read_access_log(amazon)
    assert theirs["acl_required"] == "Yes"
    assert theirs["source_region"] == "us-east-1"
    detail = {
        "user_agent": 'aws-cli/2 "x"',
        "signature_version": "SigV4",
        "cipher_suite": "TLS_AES_128_GCM_SHA256",
        "authentication_type": "AuthHeader",
        "host_header": "s3.example.com",
        "tls_version": "TLSv1.3",
    }
    ours = access_log_line(TRAIL, make(9, category=Category.READ, action="GetObject", detail=detail), "owner", "eu-1")
    assert ours == (
        "owner ticks [14/Nov/2023:22:13:20 +0000] 192.0.2.3 arn:aws:iam::000000000000:user/alice REQ9 REST.GET.OBJECT "
        f'ES/9 "-" 200 - 4096 4096 - - "-" "aws-cli/2 %22x%22" - {TRAIL}-9 SigV4 TLS_AES_128_GCM_SHA256 AuthHeader '
        "s3.example.com TLSv1.3 - - eu-1"
    )
    assert list(read_access_log(ours)) == list(theirs)


@settings(deadline=None, max_examples=120)
@given(records)
def test_an_access_log_line_has_all_fields_whatever_is_in_them(record: AuditRecord) -> None:
    line = access_log_line(TRAIL, record)
    assert line.isascii()
    assert line.isprintable()
    read = read_access_log(line)
    assert unquote(read["key"]) == (clean(record.key) or "-")
    assert unquote(read["bucket"]) == (clean(record.bucket) or "-")
    assert unquote(read["requester"]) == (clean(record.identity) or "-")
    assert read["host_id"] == event_id(TRAIL, record.sequence)
    assert unquote(read["error_code"]) == ("-" if record.result == "ok" else clean(record.result) or "-")
    assert re.fullmatch(r"-|\d{1,3}", read["http_status"])
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", read["time"])


def test_operations() -> None:
    assert operation("CopyObject") == "REST.COPY.OBJECT"
    assert operation("PutObjectRetention") == "REST.PUT.RETENTION"
    assert operation("DeleteBucketPolicy") == "REST.DELETE.BUCKETPOLICY"
    assert operation("Put Something") == "TICKVAULT.PUT_SOMETHING"
    assert operation("") == "-"


def test_times() -> None:
    assert rfc3339(TIME_NS, 0) == "2023-11-14T22:13:20Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"
    assert rfc3339(2**63 - 1) == "2262-04-11T23:47:16.854775807Z"
    assert epoch_seconds(1) == "0.000000001"


@given(st.text(alphabet=st.characters(), max_size=20))
def test_clean_text_is_utf8_and_keeps_what_was(value: str) -> None:
    clean(value).encode("utf-8")
    if not any("\ud800" <= c <= "\udfff" for c in value):
        assert clean(value) == value
    assert len(to_json({"x": clean(value)}).decode().splitlines()) == 1
