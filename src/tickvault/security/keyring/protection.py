"""What a keyring file is sealed with: a passphrase, or a file with a key.

Invariants: the parameters of the derivation stand in the file, and are judged before any work is done with them, so
that a hostile file costs neither memory nor hours; every new protection has a fresh salt; a passphrase is derived
once for each salt, because that is slow on purpose; no representation shows a secret.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import unicodedata
from collections.abc import Mapping
from typing import Any, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tickvault.errors import AccessDeniedError, FormatError, InvalidInputError
from tickvault.seam.private_file import read_private

#: scrypt's cost of new keyrings (RFC 7914): 128 MiB and some tenths of a second.
SCRYPT_N = 1 << 17
SCRYPT_N_MIN, SCRYPT_N_MAX = 1 << 10, 1 << 20
_SCRYPT_R, _SCRYPT_P = 8, 1
_SCRYPT_R_MAX, _SCRYPT_P_MAX = 16, 4
_SCRYPT_MEMORY_MAX = 1 << 30

PASSPHRASE_SIZE_MIN, PASSPHRASE_SIZE_MAX = 8, 1024
KEY_FILE_SIZE = 32
_SALT_SIZE = 16
_MASTER_SIZE = 32


class Protection(Protocol):
    """Gives the master key of a keyring file."""

    @property
    def kind(self) -> str:
        """Name of the way, as the file has it."""

    def fresh(self) -> dict[str, Any]:
        """Return parameters for a new file: what JSON can hold, with the kind."""

    def master_key(self, parameters: Mapping[str, Any]) -> bytes:
        """Return 32 bytes.

        Raises
        ------
        AccessDeniedError
            The file is protected another way.
        FormatError
            The parameters are outside the limits.
        """


class Passphrase:
    """A passphrase, through scrypt.

    Parameters
    ----------
    passphrase : str
        8 to 1,024 bytes of UTF-8; brought to Unicode's form NFC, so that it does not depend on the keyboard.
    scrypt_n : int
        Cost for new files, a power of two in [`SCRYPT_N_MIN`, `SCRYPT_N_MAX`]; smaller than the default in tests only.
    """

    kind = "passphrase"

    def __init__(self, passphrase: str, *, scrypt_n: int = SCRYPT_N) -> None:
        secret = unicodedata.normalize("NFC", passphrase).encode()
        if not PASSPHRASE_SIZE_MIN <= len(secret) <= PASSPHRASE_SIZE_MAX:
            raise InvalidInputError(
                f"a passphrase must have {PASSPHRASE_SIZE_MIN} to {PASSPHRASE_SIZE_MAX} bytes, has {len(secret)}"
            )
        _check_scrypt(scrypt_n, _SCRYPT_R, _SCRYPT_P, InvalidInputError)
        self._secret = secret
        self._scrypt_n = scrypt_n
        self._derived: tuple[tuple[Any, ...], bytes] | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_file(cls, path: str, *, scrypt_n: int = SCRYPT_N) -> Passphrase:
        """Return the passphrase in a private file, without the line end behind it; see `read_private`."""
        try:
            text = read_private(path, size_max=PASSPHRASE_SIZE_MAX + 2).decode()
        except UnicodeDecodeError:
            raise InvalidInputError(f"{path}: the passphrase must be UTF-8 text") from None
        return cls(text.removesuffix("\n").removesuffix("\r"), scrypt_n=scrypt_n)

    def __repr__(self) -> str:
        return "Passphrase(…)"

    def fresh(self) -> dict[str, Any]:
        """Return parameters with a new salt."""
        salt = secrets.token_hex(_SALT_SIZE)
        return {"kind": self.kind, "kdf": "scrypt", "n": self._scrypt_n, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": salt}

    def master_key(self, parameters: Mapping[str, Any]) -> bytes:
        """Return the key that scrypt makes of the passphrase."""
        _check_kind(self.kind, parameters)
        if parameters.get("kdf") != "scrypt":
            raise FormatError(
                f"the keyring's key derivation is {parameters.get('kdf')!r:.40}; this release knows scrypt"
            )
        n, r, p = parameters.get("n"), parameters.get("r"), parameters.get("p")
        _check_scrypt(n, r, p, FormatError)
        assert isinstance(n, int)
        assert isinstance(r, int)
        assert isinstance(p, int)
        salt = _salt(parameters)
        with self._lock:
            if self._derived is None or self._derived[0] != (n, r, p, salt):
                memory = 128 * n * r
                key = hashlib.scrypt(
                    self._secret, salt=salt, n=n, r=r, p=p, maxmem=memory + (1 << 20) * (p + 1), dklen=_MASTER_SIZE
                )
                self._derived = (n, r, p, salt), key
            return self._derived[1]


class KeyFile:
    """A file of 32 random bytes, readable by its owner only; see `read_private`."""

    kind = "key_file"

    def __init__(self, path: str) -> None:
        secret = read_private(path, size_max=KEY_FILE_SIZE + 1)
        if len(secret) != KEY_FILE_SIZE:
            raise InvalidInputError(
                f"{path}: a key file must have {KEY_FILE_SIZE} random bytes and nothing else, has "
                f"{'more' if len(secret) > KEY_FILE_SIZE else len(secret)}; make one: "
                f"(umask 077; head -c {KEY_FILE_SIZE} /dev/urandom > {path})"
            )
        if len(set(secret)) < 8:
            raise InvalidInputError(f"{path}: these {KEY_FILE_SIZE} bytes are not random; make a key file anew")
        self.path = path
        self._secret = secret

    def __repr__(self) -> str:
        return f"KeyFile({self.path!r})"

    def fresh(self) -> dict[str, Any]:
        """Return parameters with a new salt."""
        return {"kind": self.kind, "kdf": "hkdf-sha-256", "salt": secrets.token_hex(_SALT_SIZE)}

    def master_key(self, parameters: Mapping[str, Any]) -> bytes:
        """Return the key that HKDF makes of the file's."""
        _check_kind(self.kind, parameters)
        if parameters.get("kdf") != "hkdf-sha-256":
            raise FormatError(
                f"the keyring's key derivation is {parameters.get('kdf')!r:.40}; this release knows hkdf-sha-256"
            )
        return HKDF(SHA256(), _MASTER_SIZE, _salt(parameters), b"tickvault keyring master 1").derive(self._secret)


def _check_kind(kind: str, parameters: Mapping[str, Any]) -> None:
    found = parameters.get("kind")
    if found != kind:
        raise AccessDeniedError(f"the keyring is protected by a {found!r:.40}, not by a {kind!r}; open it with that")


def _check_scrypt(n: Any, r: Any, p: Any, error: type[InvalidInputError | FormatError]) -> None:
    if any(type(value) is not int for value in (n, r, p)) or n & (n - 1) or not SCRYPT_N_MIN <= n <= SCRYPT_N_MAX:
        raise error(f"scrypt's n must be a power of two from {SCRYPT_N_MIN} to {SCRYPT_N_MAX}, was {n!r:.40}")
    if not 1 <= r <= _SCRYPT_R_MAX or not 1 <= p <= _SCRYPT_P_MAX or 128 * n * r > _SCRYPT_MEMORY_MAX:
        raise error(
            f"scrypt's r={r!r:.40} and p={p!r:.40} must be at most {_SCRYPT_R_MAX} and {_SCRYPT_P_MAX}, "
            f"and need at most {_SCRYPT_MEMORY_MAX >> 20} MiB with n={n}"
        )


def _salt(parameters: Mapping[str, Any]) -> bytes:
    text = parameters.get("salt")
    try:
        salt = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        salt = b""
    if len(salt) != _SALT_SIZE:
        raise FormatError(f"the keyring's salt must be {_SALT_SIZE} bytes in hexadecimal")
    return salt
