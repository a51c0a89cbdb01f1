"""Published results of the ciphers, and bytes of our own formats that may never change."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tickvault.security.cipher import AES_256_GCM, SM4_GCM, body_binding, parts_digest, suite_named
from tickvault.security.cipher.aead import Aead
from tickvault.security.cipher.aes_gcm import CopyingAesGcm
from tickvault.security.cipher.frames import Frames, body_key
from tickvault.security.cipher.sm4_gcm import GcryptSm4Gcm, OpensslSm4Gcm, libgcrypt

# McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, test cases 13 to 16.
_KEY = "feffe9928665731c6d6a8f9467308308" * 2
_PLAIN = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
_SEALED = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
AES_CASES = {
    13: ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    14: ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    15: (_KEY, "cafebabefacedbaddecaf888", _PLAIN, "", _SEALED, "b094dac5d93471bdec1a502270e3cc6c"),
    16: (
        _KEY,
        "cafebabefacedbaddecaf888",
        _PLAIN[:120],
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        _SEALED[:120],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
}

# RFC 8998, appendix A.1.
SM4_CASE = (
    "0123456789abcdeffedcba9876543210",
    "00001234567800000000abcd",
    "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
    "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa",
    "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
    "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d",
    "83de3541e4c2b58177e065a9bf7b62ec",
)


def check(cipher: Aead, nonce: str, plain: str, associated: str, sealed: str, tag: str) -> None:
    arguments = bytes.fromhex(nonce), bytes.fromhex(plain), bytes.fromhex(associated)
    stored = bytes.fromhex(sealed + tag)
    assert cipher.encrypt(*arguments) == stored
    out = bytearray(len(stored))
    assert cipher.encrypt_into(*arguments, out) == len(stored)
    assert out == stored
    assert cipher.decrypt(arguments[0], stored, arguments[2]) == arguments[1]
    back = bytearray(len(arguments[1]))
    cipher.decrypt_into(arguments[0], memoryview(stored), arguments[2], back)
    assert back == arguments[1]


@pytest.mark.parametrize("case", AES_CASES)
def test_aes_gcm(case: int) -> None:
    key, *rest = AES_CASES[case]
    check(AES_256_GCM.aead(bytes.fromhex(key)), *rest)
    check(CopyingAesGcm(bytes.fromhex(key)), *rest)


def test_sm4_gcm() -> None:
    key, *rest = SM4_CASE
    check(SM4_GCM.aead(bytes.fromhex(key)), *rest)
    check(OpensslSm4Gcm(bytes.fromhex(key)), *rest)
    library = libgcrypt()[0]
    if library is not None:
        check(GcryptSm4Gcm(library, bytes.fromhex(key)), *rest)


@pytest.mark.parametrize("name", ["aes-256-gcm", "sm4-gcm"])
def test_the_key_of_a_part_is_hkdf(name: str) -> None:
    suite, salt = suite_named(name), bytes(range(16))
    data_key = bytes(range(suite.key_size))
    expand = HKDFExpand(SHA256(), suite.key_size, b"tickvault body 1 " + name.encode() + b" " + salt)
    assert body_key(suite, data_key, salt) == expand.derive(data_key)
    assert body_key(suite, data_key, b"") == data_key


def test_the_bytes_of_a_frame_never_change() -> None:
    key = bytes(range(32))
    frames = Frames(AES_256_GCM, key)
    plain = bytes(65_520) + b"end"
    out = memoryview(bytearray(len(plain) + 32))
    frames.seal(memoryview(plain), out, 0, final=True)
    bare = AESGCM(key)
    first, last = bytes(4) + b"\x00", b"\x00\x00\x00\x01" + b"\x01"
    assert out[:65_536] == bare.encrypt(bytes(7) + first, plain[:65_520], b"tickvault body\x01\x01" + first)
    assert out[65_536:] == bare.encrypt(bytes(7) + last, b"end", b"tickvault body\x01\x01" + last)


def test_the_bytes_of_a_binding_never_change() -> None:
    binding = body_binding(bucket_id=1, key=b"a/b", sequence=2, size=3, parts=b"")
    numbers = b"".join(number.to_bytes(8, "big") for number in (1, 2, 3))
    assert binding == b"tickvault binding 1" + numbers + b"\x00\x03" + b"\x00" + b"a/b"
    salt = bytes(range(16))
    spelled = b"tickvault parts 1" + b"".join(
        number.to_bytes(4, "big") + size.to_bytes(8, "big") + salt for number, size in ((1, 5), (2, 6))
    )
    assert parts_digest([(1, 5, salt), (2, 6, salt)]) == hashlib.sha256(spelled).digest()
