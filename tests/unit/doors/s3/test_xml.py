"""S3's XML: hostile documents refused, every key written so that it can be read back."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickvault.doors.s3 import xml
from tickvault.doors.s3.xml import MalformedXMLError, escape, escape_url, parse


def test_names_lose_their_namespace_and_keys_keep_their_spaces():
    root = parse(b'<a:Delete xmlns:a="urn:x"><a:Object><a:Key> k </a:Key></a:Object></a:Delete>', "Delete")
    assert next(root.all("Object")).raw("Key") == " k "
    assert next(root.all("Object")).value("Key") == "k"
    assert root.value("Quiet") is None
    assert root.value("Quiet", "false") == "false"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<a>",
        b"<a></b>",
        b"no xml",
        b"<a>\x01</a>",
        b"<a>&unknown;</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" + b"<b/>" * 60_000 + b"</a>",
        b"<a>\xff\xfe</a>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b"<a>" + b"x" * 200_000 + b"</a>",
    ],
)
def test_hostile_documents_are_refused(document):
    with pytest.raises(MalformedXMLError):
        parse(document)


def test_a_billion_laughs_are_refused_at_once():
    lines = ['<!ENTITY l0 "lol">']
    lines += [f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12)]
    bomb = f"<?xml version='1.0'?><!DOCTYPE x [{''.join(lines)}]><x>&l11;</x>".encode()
    started = time.perf_counter()
    with pytest.raises(MalformedXMLError):
        parse(bomb)
    assert time.perf_counter() - started < 1


def test_a_document_larger_than_the_limit_is_not_even_looked_at():
    with pytest.raises(MalformedXMLError, match="at most"):
        parse(b"<" * (xml.DOCUMENT_SIZE_MAX + 1))


def test_indentation_of_many_parts_is_no_text():
    part = "\n          <Part><PartNumber>1</PartNumber></Part>"
    assert len(parse(f"<R>{part * 10_000}\n</R>".encode()).children) == 10_000


def test_another_root_is_refused():
    with pytest.raises(MalformedXMLError, match="root element must be Delete, was Tagging"):
        parse(b"<Tagging/>", "Delete")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_what_is_escaped_is_read_back(text):
    text = "".join(c for c in text if c not in "￾￿")
    assert parse(f"<a>{escape(text)}</a>".encode()).text == text


def test_line_ends_survive():
    assert parse(f"<a>{escape(chr(13) + chr(10) + chr(9))}</a>".encode()).text == "\r\n\t"


def test_what_xml_cannot_hold_becomes_a_reference():
    assert escape("a\x00b\x1f") == "a&#x0;b&#x1f;"


@given(st.text(st.characters(codec="utf-8")))
def test_url_encoding_is_read_back_by_clients_that_decode_plus_and_by_those_that_do_not(text):
    from urllib.parse import unquote, unquote_plus

    assert unquote(escape_url(text)) == text
    assert unquote_plus(escape_url(text)) == text


def test_timestamps_have_whole_seconds_like_the_header():
    assert xml.timestamp(1_700_000_000_999_999_999) == "2023-11-14T22:13:20.000Z"


def test_document_and_tag():
    assert xml.tag("A", None) == ""
    assert xml.document("R", xml.tag("A", "<")).endswith(b"<A>&lt;</A></R>")
