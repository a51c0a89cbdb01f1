"""Tags: S3's limits."""

import pytest

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.tag_sets import check, from_element, from_header, tagging_document
from tickvault.doors.s3.xml import parse


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([("", "v")], "InvalidTag"),
        ([("k" * 129, "v")], "InvalidTag"),
        ([("k", "v" * 257)], "InvalidTag"),
        ([("k!", "v")], "InvalidTag"),
        ([("aws:k", "v")], "InvalidTag"),
        ([("k", "1"), ("k", "2")], "InvalidTag"),
        ([(str(i), "v") for i in range(11)], "BadRequest"),
    ],
)
def test_limits(pairs, code):
    with pytest.raises(S3Error) as caught:
        check(pairs)
    assert caught.value.code == code


def test_header():
    assert from_header("a=1&b=%C3%A4+c&d") == {"a": "1", "b": "ä c", "d": ""}
    assert from_header("") == {}
    with pytest.raises(S3Error):
        from_header("a=%FF")


def test_document_round_trip():
    tags = {"a": "x <&> y".replace("<&>", "+-="), "ü": ""}
    assert from_element(parse(tagging_document(tags))) == tags


@pytest.mark.parametrize(
    "text",
    [
        "<Tagging/>",
        "<X><TagSet/></X>",
        "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        "<Tagging><TagSet><Other/></TagSet></Tagging>",
    ],
)
def test_malformed(text):
    with pytest.raises(S3Error) as caught:
        from_element(parse(text.encode()))
    assert caught.value.code == "MalformedXML"
