"""Errors as S3 answers them."""

import logging
from xml.etree import ElementTree

import pytest

from tickvault import errors
from tickvault.doors.s3.errors import CODES, TICKVAULT_CODES, S3Error, as_s3_error, error_response
from tickvault.objects.encryption.customer_key import missing_key, needless_key


def every_error():
    pending = [errors.TickVaultError]
    while pending:
        kind = pending.pop()
        yield kind
        pending.extend(kind.__subclasses__())


ERRORS = sorted(
    {kind for kind in every_error() if kind.__module__ == "tickvault.errors"}, key=lambda kind: kind.__name__
)


@pytest.mark.parametrize("kind", ERRORS)
def test_each_error_of_tickvault_has_a_code(kind):
    assert kind in TICKVAULT_CODES
    assert as_s3_error(kind("secret")).code in CODES


def test_the_xml():
    response = error_response(S3Error("NoSuchKey", Key="a<b>&\x01", Nothing=None), "ID", "/b/a%3Cb", method="GET")
    assert response.status == 404
    assert b"a&lt;b&gt;&amp;&#x1;" in response.body
    root = ElementTree.fromstring(bytes(response.body).replace(b"&#x1;", b""))
    assert root.tag == "Error"
    assert root.findtext("Code") == "NoSuchKey"
    assert root.findtext("RequestId") == "ID"
    assert root.findtext("Resource") == "/b/a%3Cb"
    assert root.find("Nothing") is None


@pytest.mark.parametrize(("error", "method"), [(S3Error("NoSuchKey"), "HEAD"), (S3Error("NotModified"), "GET")])
def test_no_body_for_head_and_304(error, method):
    assert error_response(error, "ID", method=method).body == b""


def test_the_unexpected_is_logged_and_says_nothing(caplog):
    with caplog.at_level(logging.ERROR, "tickvault.s3"):
        response = error_response(RuntimeError("/data/secret key=hunter2"), "ID")
    assert response.status == 500
    assert b"InternalError" in response.body
    assert b"hunter2" not in response.body
    assert "hunter2" in caplog.text


def test_a_message_about_the_disk_stays_on_the_server():
    for kind in (errors.StorageError, errors.DiskFullError, errors.IntegrityError, errors.PoisonedError):
        assert b"/data" not in error_response(kind("open /data/segment.1"), "ID").body


def test_a_code_that_the_object_layer_names_is_kept():
    error = errors.InvalidInputError("part 1 is too small")
    error.s3_code = "EntityTooSmall"
    assert as_s3_error(error).code == "EntityTooSmall"


def test_delete_markers_are_told():
    error = errors.NotFoundError("gone")
    error.delete_marker, error.version_id = True, "v1"
    assert error_response(error, "ID").headers["x-amz-delete-marker"] == "true"
    assert error_response(error, "ID").headers["x-amz-version-id"] == "v1"


def test_busy_is_slow_down():
    assert error_response(errors.BusyError("x"), "ID").status == 503


def test_a_customer_s_key_is_asked_for_in_the_words_of_who_asks():
    """Python's `get` said S3's sentence, which names no argument."""
    for error, words in ((missing_key(), "The object was stored using a form of"), (needless_key(), "The encryption")):
        answer = as_s3_error(error)
        assert (answer.code, answer.status) == ("InvalidRequest", 400)
        assert answer.message.startswith(words)
        assert "customer_key" in str(error)
        assert "customer_key" not in answer.message
