"""SM4 (GB/T 32907) in Galois/Counter Mode, as RFC 8998 has it: by libgcrypt where it is installed, else by OpenSSL.

libgcrypt is several times faster at it.  It is taken only if it gives the published result of RFC 8998.

Invariants: both give equal bytes; a handle lives for one operation of one thread, so that threads need no lock;
no representation shows a key.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any

import cryptography
import numpy as np
from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tickvault.errors import InvalidInputError, StorageError
from tickvault.security.cipher.aead import Aead, Buffer, InvalidTag
from tickvault.security.cipher.libgcrypt import TAG_SIZE, Libgcrypt


def _pointer(data: Buffer) -> Any:
    """Return what ctypes passes as the address of the bytes, and what keeps them alive."""
    if isinstance(data, bytes):
        return data
    if not len(data):
        return b""
    return np.frombuffer(data, np.uint8).__array_interface__["data"][0]  # quicker than ``.ctypes``


def _address(buf: Buffer) -> int:
    array = np.frombuffer(buf, np.uint8)
    if not array.flags.writeable:
        raise InvalidInputError("the output buffer must be writable")
    return int(array.__array_interface__["data"][0])


class GcryptSm4Gcm:
    """SM4-GCM with one key of 16 bytes."""

    __slots__ = ("_key", "_library")

    def __init__(self, library: Libgcrypt, key: bytes) -> None:
        self._library = library
        self._key = key

    def __repr__(self) -> str:
        return "GcryptSm4Gcm(…)"

    def encrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, /) -> bytes:
        """Return ciphertext and tag."""
        out = ctypes.create_string_buffer(len(data) + TAG_SIZE)
        self._encrypt(nonce, data, associated_data, ctypes.addressof(out))
        return out.raw

    def decrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, /) -> bytes:
        """Return the plaintext of ciphertext and tag."""
        size = len(data) - TAG_SIZE
        if size < 0:
            raise InvalidTag
        out = ctypes.create_string_buffer(size or 1)
        self._decrypt(nonce, data, associated_data, ctypes.addressof(out))
        return out.raw if size else b""

    def encrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write ciphertext and tag into `buf`, which must be exactly as large."""
        _check_size(len(buf), len(data) + TAG_SIZE)
        return self._encrypt(nonce, data, associated_data, _address(buf))

    def _encrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, target: int) -> int:
        size, library = len(data), self._library
        handle = library.start(self._key, nonce, associated_data)
        try:
            library.encrypt(handle, target, _pointer(data), size)
        finally:
            library.close(handle)
        return size + TAG_SIZE

    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write the plaintext into `buf`, which must be exactly as large."""
        size = len(data) - TAG_SIZE
        if size < 0:
            raise InvalidTag
        _check_size(len(buf), size)
        return self._decrypt(nonce, data, associated_data, _address(buf) if size else None)

    def _decrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, target: int | None) -> int:
        size, library = len(data) - TAG_SIZE, self._library
        handle = library.start(self._key, nonce, associated_data)
        try:
            good = library.decrypt(handle, target, _pointer(data), size, bytes(data[size:]))
        finally:
            library.close(handle)
        if not good:
            raise InvalidTag
        return size


def _check_size(size: int, needed: int) -> None:
    if size != needed:
        raise InvalidInputError(f"the output buffer must have {needed} bytes, has {size}")


class OpensslSm4Gcm:
    """The same by OpenSSL, through ``cryptography``."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "OpensslSm4Gcm(…)"

    def encrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, /) -> bytes:
        """Return ciphertext and tag."""
        encryptor = Cipher(algorithms.SM4(self._key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data or b"")
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: Buffer, associated_data: bytes | None, /) -> bytes:
        """Return the plaintext of ciphertext and tag."""
        size = len(data) - TAG_SIZE
        if size < 0:
            raise InvalidTag
        view = memoryview(data)
        decryptor = Cipher(algorithms.SM4(self._key), modes.GCM(nonce, bytes(view[size:]))).decryptor()
        decryptor.authenticate_additional_data(associated_data or b"")
        return decryptor.update(view[:size]) + decryptor.finalize()

    def encrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write ciphertext and tag into `buf`, which must be exactly as large."""
        _check_size(len(buf), len(data) + TAG_SIZE)
        memoryview(buf)[:] = self.encrypt(nonce, data, associated_data)
        return len(buf)

    def decrypt_into(self, nonce: bytes, data: Buffer, associated_data: bytes | None, buf: Buffer, /) -> int:
        """Write the plaintext into `buf`, which must be exactly as large."""
        plain = self.decrypt(nonce, data, associated_data)
        _check_size(len(buf), len(plain))
        memoryview(buf)[:] = plain
        return len(plain)


def known_answer(cipher: Aead) -> bool:
    """Return whether a cipher, made with `KNOWN_KEY`, gives the published result of RFC 8998, appendix A.1."""
    plain = b"".join(bytes((byte,)) * 8 for byte in b"\xaa\xbb\xcc\xdd\xee\xff\xee\xaa")
    sealed = bytes.fromhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        "83de3541e4c2b58177e065a9bf7b62ec"
    )
    nonce = bytes.fromhex("00001234567800000000abcd")
    associated_data = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    try:
        return (
            cipher.encrypt(nonce, plain, associated_data) == sealed
            and cipher.decrypt(nonce, sealed, associated_data) == plain
        )
    except InvalidTag:
        return False


#: The key of RFC 8998, appendix A.1.
KNOWN_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")

_loading = threading.Lock()


def libgcrypt() -> tuple[Libgcrypt | None, str]:
    """Return the library, or None and why it is not used; asked once in each process."""
    with _loading:  # its initialisation is not for two threads
        return _libgcrypt()


@cache
def _libgcrypt() -> tuple[Libgcrypt | None, str]:
    try:
        library = Libgcrypt()
        if not known_answer(GcryptSm4Gcm(library, KNOWN_KEY)):
            return None, f"libgcrypt {library.version} does not give the result of RFC 8998"
        return library, ""
    except StorageError as error:
        return None, str(error)
    except (OSError, AttributeError):
        return None, "libgcrypt is not installed (Debian: apt-get install libgcrypt20)"


def sm4_gcm(key: bytes) -> Aead:
    """Return the cipher of a key of 16 bytes."""
    library = libgcrypt()[0]
    return OpensslSm4Gcm(key) if library is None else GcryptSm4Gcm(library, key)


def module() -> str:
    """Return which library does the work, and its version."""
    library = libgcrypt()[0]
    if library is not None:
        return f"libgcrypt {library.version}"
    return f"cryptography {cryptography.__version__}, {backend.openssl_version_text()}"
