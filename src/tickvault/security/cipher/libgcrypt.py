"""What is used of libgcrypt, through ctypes: SM4-GCM handles.

The library is optional (Debian: ``libgcrypt20``).  It is taken only when it is at least 1.9.0, where SM4 came, and
passes its own self-test.

Invariants: every call's result is checked; the interpreter's lock is released around long work only, because taking
it back costs more than short work; initialisation that another library of the process made is left as it is.
"""

from __future__ import annotations

import ctypes
from typing import Any

from tickvault.errors import InvalidInputError, StorageError
from tickvault.security.cipher.aead import NONCE_SIZE

_SONAME = "libgcrypt.so.20"
_VERSION_MIN = b"1.9.0"
TAG_SIZE = 16

# From gcrypt.h of libgcrypt 1.10.
_CIPHER_SM4 = 318
_MODE_GCM = 9
_DISABLE_SECMEM = 37
_INITIALIZATION_FINISHED = 38
_INITIALIZATION_FINISHED_P = 39
_FIPS_MODE_P = 55
_SELFTEST = 57
_TEST_ALGO = 8

#: From this many bytes on other Python threads run meanwhile.
_RELEASE_SIZE = 16 * 1024

_Pointer = ctypes.c_void_p
_Size = ctypes.c_size_t


class Libgcrypt:
    """The loaded library.

    Raises
    ------
    OSError
        It is not installed.
    StorageError
        It is too old, failed its self-test, or cannot do SM4-GCM.
    """

    def __init__(self, soname: str = _SONAME) -> None:
        held, released = ctypes.PyDLL(soname), ctypes.CDLL(soname)
        held.gcry_check_version.restype = ctypes.c_char_p
        held.gcry_check_version.argtypes = (ctypes.c_char_p,)
        held.gcry_strerror.restype = ctypes.c_char_p
        held.gcry_strerror.argtypes = (ctypes.c_uint,)
        self._control = held.gcry_control
        self._strerror = held.gcry_strerror
        version = held.gcry_check_version(_VERSION_MIN)
        if version is None:
            raise StorageError(f"{soname} is older than {_VERSION_MIN.decode()}, which is the first to have SM4")
        self.version: str = version.decode("ascii", "replace")
        # Another library of the process may have been first; what it chose holds.
        if not self._control(_INITIALIZATION_FINISHED_P, 0):
            # Locked memory needs a right that most processes lack, and Python's own copies are not locked either.
            self._control(_DISABLE_SECMEM, 0)
            self._control(_INITIALIZATION_FINISHED, 0)
        self._expect(self._control(_SELFTEST, 0), "its self-test")
        held.gcry_cipher_algo_info.argtypes = (ctypes.c_int, ctypes.c_int, _Pointer, _Pointer)
        self._expect(held.gcry_cipher_algo_info(_CIPHER_SM4, _TEST_ALGO, None, None), "the question for SM4")

        def bind(library: ctypes.CDLL, name: str, *types: Any) -> Any:
            function = library[name]  # by index: a function of its own, whose argtypes are not shared
            function.argtypes = types
            function.restype = ctypes.c_uint
            return function

        self._open = bind(held, "gcry_cipher_open", _Pointer, ctypes.c_int, ctypes.c_int, ctypes.c_uint)
        self._set_key = bind(held, "gcry_cipher_setkey", _Pointer, _Pointer, _Size)
        self._set_nonce = bind(held, "gcry_cipher_setiv", _Pointer, _Pointer, _Size)
        self._authenticate = bind(held, "gcry_cipher_authenticate", _Pointer, _Pointer, _Size)
        self._tag = bind(held, "gcry_cipher_gettag", _Pointer, _Pointer, _Size)
        self._check_tag = bind(held, "gcry_cipher_checktag", _Pointer, _Pointer, _Size)
        work = (_Pointer, _Pointer, _Size, _Pointer, _Size)
        self._encrypt = bind(held, "gcry_cipher_encrypt", *work), bind(released, "gcry_cipher_encrypt", *work)
        self._decrypt = bind(held, "gcry_cipher_decrypt", *work), bind(released, "gcry_cipher_decrypt", *work)
        self._close = held.gcry_cipher_close
        self._close.argtypes = (_Pointer,)
        self._close.restype = None

    def fips_mode(self) -> bool:
        """Return whether the library is in its FIPS mode."""
        return bool(self._control(_FIPS_MODE_P, 0))

    def _expect(self, code: int, doing: str) -> None:
        if code:
            text = (self._strerror(code) or b"").decode("ascii", "replace")
            raise StorageError(f"libgcrypt {self.version}: {doing} failed: {text}")

    def start(self, key: bytes, nonce: bytes, associated_data: bytes | None) -> ctypes.c_void_p:
        """Return an open handle of SM4-GCM; the caller must `close` it."""
        if len(nonce) != NONCE_SIZE:
            raise InvalidInputError(f"a nonce must have {NONCE_SIZE} bytes, has {len(nonce)}")
        handle = _Pointer()
        self._expect(self._open(ctypes.byref(handle), _CIPHER_SM4, _MODE_GCM, 0), "opening SM4-GCM")
        try:
            self._expect(self._set_key(handle, key, len(key)), "setting the key")
            self._expect(self._set_nonce(handle, nonce, NONCE_SIZE), "setting the nonce")
            if associated_data:
                self._expect(self._authenticate(handle, associated_data, len(associated_data)), "authenticating")
        except BaseException:
            self._close(handle)
            raise
        return handle

    def close(self, handle: ctypes.c_void_p) -> None:
        """Close a handle, which wipes its key schedule."""
        self._close(handle)

    def encrypt(self, handle: ctypes.c_void_p, target: int, source: Any, size: int) -> None:
        """Encrypt `size` bytes and write the tag behind them."""
        if size:
            code = self._encrypt[size >= _RELEASE_SIZE](handle, target, size, source, size)
            self._expect(code, "encrypting")
        self._expect(self._tag(handle, target + size, TAG_SIZE), "reading the tag")

    def decrypt(self, handle: ctypes.c_void_p, target: int | None, source: Any, size: int, tag: bytes) -> bool:
        """Decrypt `size` bytes; return whether the tag holds."""
        if size:
            code = self._decrypt[size >= _RELEASE_SIZE](handle, target, size, source, size)
            self._expect(code, "decrypting")
        return not self._check_tag(handle, tag, TAG_SIZE)
