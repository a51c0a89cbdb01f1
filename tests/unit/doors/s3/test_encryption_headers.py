"""The headers of encryption: what is taken, what is refused and how, and what is told."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tickvault.doors.s3.body import EMPTY_BODY
from tickvault.doors.s3.encryption_headers import (
    COPY_SOURCE,
    asked_encryption,
    check_part,
    check_readable,
    encryption_headers,
    parse_key_id,
    read_customer_key,
)
from tickvault.doors.s3.errors import S3Error, as_s3_error
from tickvault.doors.s3.message import Request
from tickvault.objects.encryption.customer_key import seal_customer
from tickvault.objects.encryption.stored import EncryptionInfo

SSE = "x-amz-server-side-encryption"
KEY = bytes(range(32))


def md5_of(key: bytes) -> str:
    return base64.b64encode(hashlib.md5(key).digest()).decode()


def customer(brought: bytes = KEY, prefix: str = f"{SSE}-customer-", **changed: str | None) -> dict[str, str]:
    headers: dict[str, str | None] = {
        "algorithm": "AES256",
        "key": base64.b64encode(brought).decode(),
        "key-md5": md5_of(brought),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return {prefix + name: value for name, value in headers.items() if value is not None}


def request(headers: dict[str, str], *, secure: bool = True, remote: str = "192.0.2.7") -> Request:
    return Request("PUT", "/b/k", "b", "k", {}, headers, EMPTY_BODY, "AK", "ID", remote=remote, secure=secure)


def refusal(call: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(Exception) as caught:
        call(*arguments)
    error = as_s3_error(caught.value)
    assert base64.b64encode(KEY).decode() not in f"{error} {error.details}"
    return error.status, error.code


def test_what_a_write_asks_for() -> None:
    assert asked_encryption(request({"content-type": "x"})) is None
    managed = asked_encryption(request({SSE: "AES256"}))
    assert managed is not None
    assert (managed.mode, managed.suite, managed.key_id) == ("managed", None, None)
    for named, expected in ((None, None), ("mine", "mine"), ("arn:aws:kms:eu-west-1:1:key/mine", "mine")):
        headers = {SSE: "aws:kms"} | ({f"{SSE}-aws-kms-key-id": named} if named else {})
        found = asked_encryption(request(headers))
        assert found is not None
        assert (found.mode, found.key_id) == ("kms", expected)
    brought = asked_encryption(request(customer()))
    assert brought is not None
    assert (brought.mode, brought.customer_key) == ("customer", KEY)
    assert asked_encryption(request({SSE: "aws:kms", f"{SSE}-bucket-key-enabled": "true"})) is not None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({SSE: "rot13"}, (400, "InvalidEncryptionAlgorithmError")),
        ({SSE: ""}, (400, "InvalidEncryptionAlgorithmError")),
        ({SSE: "aws:kms:dsse"}, (501, "NotImplemented")),
        ({SSE: "aws:kms", f"{SSE}-context": "e30="}, (501, "NotImplemented")),
        ({f"{SSE}-of-tomorrow": "x"}, (501, "NotImplemented")),
        ({SSE: "AES256", f"{SSE}-aws-kms-key-id": "k"}, (400, "InvalidArgument")),
        ({f"{SSE}-aws-kms-key-id": "k"}, (400, "InvalidArgument")),
        ({f"{SSE}-bucket-key-enabled": "true"}, (400, "InvalidArgument")),
        ({SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "../x"}, (400, "KMS.NotFoundException")),
        ({SSE: "AES256", **customer()}, (400, "InvalidArgument")),
        (customer(algorithm="DES"), (400, "InvalidEncryptionAlgorithmError")),
        (customer(algorithm=None), (400, "InvalidArgument")),
        (customer(key=None), (400, "InvalidArgument")),
        (customer(key_md5=None), (400, "InvalidArgument")),
        (customer(key_md5=md5_of(bytes(32))), (400, "InvalidArgument")),
        (customer(key_md5="not base64!"), (400, "InvalidArgument")),
        (customer(KEY[:31]), (400, "InvalidArgument")),
        (customer(KEY + b"x"), (400, "InvalidArgument")),
        (customer(key="\xe4"), (400, "InvalidArgument")),
        (customer(key="A" * 100_000), (400, "InvalidArgument")),
    ],
)
def test_what_a_write_may_not_ask_for(headers: dict[str, str], expected: tuple[int, str]) -> None:
    assert refusal(asked_encryption, request(headers)) == expected


@pytest.mark.parametrize(
    ("remote", "taken"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_a_key_travels_encrypted_or_not_at_all(remote: str, taken: bool) -> None:
    asked = request(customer(), secure=False, remote=remote)
    if taken:
        assert read_customer_key(asked) == KEY
    else:
        assert refusal(read_customer_key, asked) == (400, "InvalidRequest")
    assert read_customer_key(request(customer(), secure=True, remote=remote)) == KEY


def test_the_key_of_a_copy_s_source_is_another() -> None:
    headers = customer() | customer(bytes(32), COPY_SOURCE)
    assert read_customer_key(request(headers)) == KEY
    assert read_customer_key(request(headers), COPY_SOURCE) == bytes(32)
    assert COPY_SOURCE == "x-amz-copy-source-server-side-encryption-customer-"


def info(mode: Any = "customer", key: bytes = KEY) -> EncryptionInfo:
    return EncryptionInfo(mode, "aes-256-gcm", "k", 1, seal_customer(key, bytes(32))[1] if mode == "customer" else b"")


def test_what_a_read_brings() -> None:
    check_readable(request({}), None)
    check_readable(request({}), info("managed"))
    check_readable(request(customer()), info())
    assert refusal(check_readable, request({}), info()) == (400, "InvalidRequest")
    assert refusal(check_readable, request(customer(bytes(32))), info()) == (403, "AccessDenied")
    assert refusal(check_readable, request(customer(key_md5=md5_of(b""))), info()) == (400, "InvalidArgument")
    for found in (None, info("managed"), info("kms")):
        assert refusal(check_readable, request(customer()), found) == (400, "InvalidRequest")
    assert refusal(check_readable, request({SSE: "AES256"}), info("managed")) == (400, "InvalidArgument")


def test_what_a_part_brings() -> None:
    assert check_part(request({}), None) is None
    assert check_part(request({}), info("kms")) is None
    assert check_part(request(customer()), info()) == KEY
    assert refusal(check_part, request({}), info()) == (400, "InvalidRequest")
    assert refusal(check_part, request(customer()), None) == (400, "InvalidRequest")
    assert refusal(check_part, request(customer(bytes(32))), info()) == (403, "AccessDenied")
    assert refusal(check_part, request({SSE: "AES256"}), info("managed")) == (501, "NotImplemented")


def test_what_is_told() -> None:
    assert encryption_headers(None) == {}
    assert encryption_headers(info("managed")) == {SSE: "AES256"}
    assert encryption_headers(info("kms")) == {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "k"}
    told = encryption_headers(info(), request(customer()))
    assert told == {f"{SSE}-customer-algorithm": "AES256", f"{SSE}-customer-key-MD5": md5_of(KEY)}
    split = encryption_headers(info(), request({f"{SSE}-customer-key-md5": "a\r\nb: c"}))
    assert split == {f"{SSE}-customer-algorithm": "AES256"}


def test_key_ids() -> None:
    assert parse_key_id("desk-7") == "desk-7"
    for wrong in ("", "a b", "arn:aws:kms:eu:1:alias/x", "k" * 129, "ä"):
        with pytest.raises(S3Error) as caught:
            parse_key_id(wrong)
        assert caught.value.status == 400
