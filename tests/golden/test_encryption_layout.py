"""What stands in a record beside an encrypted body, byte by byte; it must be readable as long as there are vaults."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tickvault.objects import entries
from tickvault.objects.encryption.checksums import open_checksums, seal_checksums
from tickvault.objects.encryption.customer_key import open_customer
from tickvault.objects.encryption.stored import (
    UPLOAD_PARTS,
    PartSalt,
    digest_of,
    encode_encryption,
    info_of,
    key_version_of,
    part_salts,
    place_binding,
)
from tickvault.security.cipher import AES_256_GCM

VAULT_ID = bytes(range(16))
SALTS = bytes(range(16)), bytes(range(16, 32))


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 by hand; one block."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")[:size]


def test_the_binding() -> None:
    bound = place_binding(VAULT_ID, 1, 2, 3, b"key", 4, 5, b"pp")
    assert bound == (
        b"tickvault vault 1"
        + VAULT_ID
        + b"\x01\x02"
        + b"tickvault binding 1"
        + (3).to_bytes(8, "big")
        + (4).to_bytes(8, "big")
        + (5).to_bytes(8, "big")
        + b"\x00\x03\x02"
        + b"keypp"
    )
    assert UPLOAD_PARTS == b"upload"


def test_the_parts() -> None:
    parts = [PartSalt(2, SALTS[0]), PartSalt(9_000, SALTS[1])]
    en = encode_encryption("kms", 2, "k", b"w", parts=parts)
    assert en["p"] == b"\x00\x02" + SALTS[0] + b"\x23\x28" + SALTS[1]
    assert part_salts(en, (7, 8)) == parts
    by_hand = hashlib.sha256(
        b"tickvault parts 1"
        + (2).to_bytes(4, "big")
        + (7).to_bytes(8, "big")
        + SALTS[0]
        + (9_000).to_bytes(4, "big")
        + (8).to_bytes(8, "big")
        + SALTS[1]
    ).digest()
    assert digest_of(parts, (7, 8)) == by_hand


def test_the_meta_of_a_record() -> None:
    en = encode_encryption(
        "customer", 1, "default-aes-256-gcm", b"\x01\x01\x00\x00\x00\x07rest", customer_check=b"c" * 32
    )
    meta = entries.encode_put_meta(bytes(16), 0, 5, (), {"en": en})
    assert meta[:28] == bytes(16) + b"\x00\x00" + b"\x04" + b"\x00" + (5).to_bytes(8, "little")
    assert meta[28:] == (
        b"\x81\xa2en\x85\xa1m\x02\xa1s\x01\xa1k\xb3default-aes-256-gcm\xa1w\xc4\x0a\x01\x01\x00\x00\x00\x07rest"
        b"\xa1c\xc4\x20" + b"c" * 32
    )
    assert info_of(en) == ("customer", "aes-256-gcm", "default-aes-256-gcm", 7, b"c" * 32)
    assert (key_version_of(b"\x02" + bytes(20)), key_version_of(b"")) == (0, 0)
    assert (entries.META_ENCRYPTED, entries.ENTRY_ENCRYPTED) == (4, 64)


def test_a_customer_s_key() -> None:
    """Sealed here by hand, opened by the code."""
    key, salt, nonce = b"K" * 32, b"S" * 16, b"N" * 12
    check = salt + hkdf(key, salt, b"tickvault customer key check 1", 16)
    text = b"tickvault customer key wrap 1"
    inner = nonce + AESGCM(hkdf(key, salt, text, 32)).encrypt(nonce, b"d" * 32, b"tickvault wrap 1" + text)
    assert open_customer(key, inner, check) == b"d" * 32


def test_sealed_checksums() -> None:
    """Sealed here by hand, opened by the code: under a key of their own, bound to suite, part and algorithm."""
    data_key, nonce, salt = b"d" * 32, b"N" * 12, SALTS[1]
    own_key = hmac.digest(data_key, b"tickvault value 1 aes-256-gcm \x01", "sha256")
    text = b"AAAAAAAAAAA="
    whole = nonce + AESGCM(own_key).encrypt(nonce, text, b"tickvault value\x01\x01\x00crc64nvme")
    part = nonce + AESGCM(own_key).encrypt(nonce, text, b"tickvault value\x01\x01\x10" + salt + b"crc64nvme")
    assert open_checksums(AES_256_GCM, data_key, {"crc64nvme": whole}) == {"crc64nvme": text.decode()}
    assert open_checksums(AES_256_GCM, data_key, {"crc64nvme": part}, salt) == {"crc64nvme": text.decode()}
    for sealed, beside in ((whole, salt), (part, b""), (part, SALTS[0])):
        assert open_checksums(AES_256_GCM, data_key, {"crc64nvme": sealed}, beside) == {}
    assert open_checksums(AES_256_GCM, data_key, {"crc32": whole}) == {}
    kept = seal_checksums("kms", AES_256_GCM, data_key, {"cs": {"crc64nvme": text.decode()}, "ck": "FULL_OBJECT"})
    assert set(kept) == {"sc", "ck"}
    assert len(kept["sc"]["crc64nvme"]) == 12 + len(text) + 16
    assert open_checksums(AES_256_GCM, data_key, kept["sc"]) == {"crc64nvme": text.decode()}
