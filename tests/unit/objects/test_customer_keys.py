"""Keys that customers bring: without the key there is no body, and of the key there is nothing in the vault."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import tickvault as tv
from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.objects.bucket import Bucket
from tickvault.objects.encryption.customer_key import CustomerKeyError, open_customer, seal_customer
from tickvault.objects.encryption.setting import EncryptionRequest

KEY = bytes(range(32))
MIB = 1 << 20


@pytest.fixture
def raw(vault: tv.Vault) -> Bucket:
    return vault.create_bucket("raw", versioning=True)


@pytest.mark.parametrize("size", [0, 10, 70_000, MIB])
def test_it_takes_the_key_to_read(raw: Bucket, size: int) -> None:
    body = os.urandom(size)
    info = raw.put("k", body, encryption={"customer_key": KEY})
    assert info.encryption is not None
    assert info.encryption.mode == "customer"
    assert info.etag != hashlib.md5(body).hexdigest()
    assert bytes(raw.get("k", customer_key=KEY)) == body
    assert bytes(raw.read("k", customer_key=KEY, version_id=info.version_id).bytes()) == body
    assert [bytes(blob) for blob in raw.get_ranges("k", [(0, size // 2)], customer_key=KEY)] == [body[: size // 2]]
    for wrong in (bytes(32), KEY[::-1]):
        with pytest.raises(AccessDeniedError, match="is not the one that the object was written with") as caught:
            raw.get("k", customer_key=wrong)
        assert wrong.hex() not in repr(caught.value)
    for way in (lambda: raw.get("k"), lambda: raw.get_many(["k"]), lambda: raw.read("k"), lambda: raw.copy("k", "l")):
        with pytest.raises(CustomerKeyError, match="give it: customer_key="):
            way()
    with pytest.raises(InvalidInputError, match="32 bytes"):
        raw.get("k", customer_key=b"short")
    assert raw.head("k") == info
    assert raw.delete("k").existed


def test_a_key_where_none_is_asked_for(raw: Bucket) -> None:
    raw.put("plain", b"x")
    raw.put("managed", b"x", encryption="aes-256-gcm")
    raw.put("large", bytes(MIB))
    for key in ("plain", "managed", "large"):
        for way in (
            lambda key=key: raw.get(key, customer_key=KEY),
            lambda key=key: raw.read(key, customer_key=KEY),
            lambda key=key: raw.read_resident(key, customer_key=KEY),
        ):
            with pytest.raises(CustomerKeyError, match="leave customer_key out"):
                way()


def test_nothing_of_the_key_is_kept(raw: Bucket, vault: tv.Vault, tmp_path: Path) -> None:
    key = os.urandom(32)
    request = EncryptionRequest.of({"customer_key": key})
    assert key.hex() not in repr(request)
    assert repr(key) not in repr(request)
    raw.put("k", b"x", encryption=request)
    upload = raw.create_upload("mp", encryption=request)
    part = raw.put_part("mp", upload.upload_id, 1, b"p", customer_key=key)
    raw.complete_upload("mp", upload.upload_id, [(1, part.etag)])
    vault.audit.catch_up()
    derived = {key, hashlib.md5(key).digest(), hashlib.sha256(key).digest()}
    files = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert files
    for secret in derived:
        assert not any(secret in data or secret.hex().encode() in data for data in files)
    first, second = raw.put("a", b"x", encryption=request), raw.put("b", b"x", encryption=request)
    assert first.encryption is not None
    assert second.encryption is not None
    assert first.encryption.customer_check != second.encryption.customer_check, "nor whether two keys are the same"


def test_an_upload_needs_the_key_for_its_parts_and_not_to_be_completed(raw: Bucket) -> None:
    upload = raw.create_upload("mp", encryption={"customer_key": KEY, "suite": "sm4-gcm"})
    with pytest.raises(CustomerKeyError):
        raw.put_part("mp", upload.upload_id, 1, b"")
    with pytest.raises(AccessDeniedError):
        raw.put_part("mp", upload.upload_id, 1, b"", customer_key=bytes(32))
    bodies = [os.urandom(5 * MIB), os.urandom(1000)]
    parts = [
        (number, raw.put_part("mp", upload.upload_id, number, body, customer_key=KEY).etag)
        for number, body in enumerate(bodies, 1)
    ]
    info = raw.complete_upload("mp", upload.upload_id, parts)
    assert info.encryption is not None
    assert (info.encryption.mode, info.encryption.suite) == ("customer", "sm4-gcm")
    assert bytes(raw.get("mp", customer_key=KEY)) == b"".join(bodies)
    with pytest.raises(CustomerKeyError):
        raw.get("mp")
    plain = raw.create_upload("plain")
    with pytest.raises(CustomerKeyError, match="leave customer_key out"):
        raw.put_part("plain", plain.upload_id, 1, b"", customer_key=KEY)


def test_copies_and_rewraps(raw: Bucket, vault: tv.Vault) -> None:
    other = bytes(32)
    raw.put("k", b"x", encryption={"customer_key": KEY})
    raw.copy("k", "plain", source_customer_key=KEY)
    assert bytes(raw.get("plain")) == b"x"
    raw.copy("k", "theirs", source_customer_key=KEY, encryption={"customer_key": other})
    assert bytes(raw.get("theirs", customer_key=other)) == b"x"
    with pytest.raises(AccessDeniedError):
        raw.get("theirs", customer_key=KEY)
    vault.store.keys.rotate("default-aes-256-gcm")
    assert raw.rewrap().rewrapped == 2, "the vault's own keys are exchanged without the customer's"
    assert bytes(raw.get("k", customer_key=KEY)) == b"x"
    with pytest.raises(AccessDeniedError):
        raw.get("k", customer_key=other)


def test_a_customer_s_wrap_by_itself() -> None:
    inner, check = seal_customer(KEY, b"d" * 32)
    assert len(check) == 32
    assert open_customer(KEY, inner, check) == b"d" * 32
    with pytest.raises(AccessDeniedError):
        open_customer(bytes(32), inner, check)
    assert seal_customer(KEY, b"d" * 32)[1] != check
