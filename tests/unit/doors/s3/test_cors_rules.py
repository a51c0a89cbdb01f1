"""CORS rules: who matches, and which headers follow."""

import pytest

from tickvault.doors.s3.cors_rules import find_rule, from_element, rule_headers, to_document
from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.xml import parse

DOCUMENT = b"""<CORSConfiguration>
<CORSRule><ID>one</ID><AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>
<AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader>
<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds></CORSRule>
<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>
</CORSConfiguration>"""


def test_matching():
    cors = from_element(parse(DOCUMENT))
    assert from_element(parse(to_document(cors))) == cors
    assert find_rule(cors, "https://a.example.com", "PUT", ["x-amz-date", "content-type"])["id"] == "one"
    assert find_rule(cors, "https://a.example.com", "PUT", ["x-other"]) is None
    assert find_rule(cors, "https://example.org", "PUT") is None
    assert find_rule(cors, "https://aXexampleYcom", "PUT") is None
    assert find_rule(cors, "https://example.org", "GET")["allowed_origins"] == ["*"]
    assert find_rule(None, "https://example.org", "GET") is None


def test_headers():
    first, second = from_element(parse(DOCUMENT))["rules"]
    headers = rule_headers(first, "https://a.example.com")
    assert headers["Access-Control-Allow-Origin"] == "https://a.example.com"
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Access-Control-Max-Age"] == "30"
    assert headers["Access-Control-Expose-Headers"] == "ETag"
    headers = rule_headers(second, "https://a.example.com")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("", "MalformedXML"),
        ("<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>", "MalformedXML"),
        (
            "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule>",
            "InvalidRequest",
        ),
        (
            "<CORSRule><AllowedOrigin>*.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>",
            "InvalidRequest",
        ),
        (
            "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>x</MaxAgeSeconds>"
            "</CORSRule>",
            "MalformedXML",
        ),
    ],
)
def test_refused(inside, code):
    with pytest.raises(S3Error) as caught:
        from_element(parse(f"<CORSConfiguration>{inside}</CORSConfiguration>".encode()))
    assert caught.value.code == code
