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

from tickvault.errors import AccessDeniedError, FormatError, InvalidInputError, NotFoundError
from tickvault.seam.private_file import read_private

#: scrypt's cost of new keyrings (RFC 7914): 128 MiB and some tenths of a second.
SCRYPT_N = 1 << 17
SCRYPT_N_MIN, SCRYPT_N_MAX = 1 << 10, 1 << 20
_SCRYPT_R, _SCRYPT_P = 8, 1
_SCRYPT_R_MAX, _SCRYPT_P_MAX = 16, 4
_SCRYPT_MEMORY_MAX = 1 << 30

#: What names the file of each protection, for whatever opens a vault.
PASSPHRASE_FILE_VARIABLE = "TICKVAULT_KEYRING_PASSPHRASE_FILE"  # noqa: S105 -- the name of a variable
KEY_FILE_VARIABLE = "TICKVAULT_KEYRING_KEY_FILE"
KEYRING_VARIABLE = "TICKVAULT_KEYRING"
#: What to do where a keyring, or what protects it, is missing. Never to make one: it would open nothing.
PUT_BACK = (
    f"Put the keyring (and the file that protects it) back, or name it with {KEYRING_VARIABLE}, "
    f"{PASSPHRASE_FILE_VARIABLE} or {KEY_FILE_VARIABLE}"
)
_VARIABLES = {"passphrase": PASSPHRASE_FILE_VARIABLE, "key_file": KEY_FILE_VARIABLE}

PASSPHRASE_SIZE_MIN, PASSPHRASE_SIZE_MAX = 8, 1024
KEY_FILE_SIZE = 32
#: So much of a key file is read, to say how many bytes it has.
_KEY_FILE_READ_MAX = 4096
_RESEAL = "seal the keyring with another one (`tickvault keys protect`)"
_SALT_SIZE = 16
_MASTER_SIZE = 32


class Protection(Protocol):
    """Gives the master key of a keyring file."""

    @property
    def kind(self) -> str:
        """Name of the way, as the file has it."""

    @property
    def path(self) -> str:
        """The file that holds the secret; empty for one that was given otherwise."""

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
        self.path = ""
        self._secret = secret
        self._scrypt_n = scrypt_n
        self._derived: tuple[tuple[Any, ...], bytes] | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_file(cls, path: str, *, scrypt_n: int = SCRYPT_N, opens: str = "") -> Passphrase:
        """Return the passphrase in a private file, without the line end behind it; see `read_private`.

        Parameters
        ----------
        opens : str, optional
            The keyring that is sealed with it: then a message never says to write another one.
        """
        remedy = _RESEAL if opens else "choose another passphrase"
        try:
            text = read_private(path, size_max=PASSPHRASE_SIZE_MAX + 2, holds="a passphrase", remedy=remedy).decode()
            found = cls(text.removesuffix("\n").removesuffix("\r"), scrypt_n=scrypt_n)
        except UnicodeDecodeError:
            raise InvalidInputError(f"{path}: the passphrase must be UTF-8 text{_put_back(opens)}") from None
        except InvalidInputError as error:
            named = "" if str(error).startswith(path) else f"{path}: "
            raise InvalidInputError(f"{named}{error}{_put_back(opens)}") from None
        except NotFoundError:
            way = _put_back(opens) or "; write the passphrase into it, readable by its owner only (chmod 600)"
            raise NotFoundError(f"{path}: there is no such file; it must hold the keyring's passphrase{way}") from None
        found.path = path
        return found

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
    """A file of 32 random bytes, readable by its owner only; see `read_private`.

    Parameters
    ----------
    opens : str, optional
        The keyring that is sealed with it. A message then says to put the right file back and never how to make one,
        which, followed, would write over the only bytes that may still open the keyring.
    """

    kind = "key_file"

    def __init__(self, path: str, *, opens: str = "") -> None:
        remedy = _RESEAL if opens else "make a new one"
        try:
            secret = read_private(path, size_max=_KEY_FILE_READ_MAX, holds="a key", remedy=remedy)
        except InvalidInputError as error:
            raise InvalidInputError(f"{error}{_put_back(opens)}") from None
        except NotFoundError:
            way = _put_back(opens) or f"; make it: {_making(path)}"
            raise NotFoundError(f"{path}: there is no such file; it must hold the keyring's key{way}") from None
        if len(secret) != KEY_FILE_SIZE:
            raise InvalidInputError(
                f"{path}: a key file must have {KEY_FILE_SIZE} random bytes and nothing else, has {len(secret)}"
                + (_mending(path, secret, opens) if opens else f"; make another: {_making(f'{path}.new')}")
            )
        if len(set(secret)) < 8:
            way = _put_back(opens) or f"; make another: {_making(f'{path}.new')}"
            raise InvalidInputError(f"{path}: these {KEY_FILE_SIZE} bytes are not random{way}")
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


def wrong_secret(path: str, protection: Protection) -> str:
    """Return what to say of a keyring that is sealed with another secret of the same kind."""
    what = protection.kind.replace("_", " ")
    tried = f" in {protection.path}" if protection.path and protection.kind == "passphrase" else f" {protection.path}"
    variable = _VARIABLES.get(protection.kind)
    way = f", or name it with {variable}" if variable else ""
    return (
        f"{path}: the {what}{tried.rstrip()} is not the one it was sealed with; put the right one back from where a "
        f"copy of it is kept{way}"
    )


def wrong_kind(found: object, kind: str) -> str:
    """Return what to say of a keyring that is sealed with a secret of another kind."""
    text = f"the keyring is protected by a {found!r:.40}, not by a {kind!r}"
    wanted, given = (_VARIABLES.get(each) for each in (str(found), kind))
    if wanted is None or given is None:
        return f"{text}; open it with that"
    return f"{text}: set {wanted} to the file that holds it (and unset {given})"


def _check_kind(kind: str, parameters: Mapping[str, Any]) -> None:
    found = parameters.get("kind")
    if found != kind:
        raise AccessDeniedError(wrong_kind(found, kind))


def _put_back(opens: str) -> str:
    if not opens:
        return ""
    return f"; {opens} is sealed with it and opens with nothing else: put the right file back from where a copy is kept"


def _making(path: str) -> str:
    return f"(umask 077; head -c {KEY_FILE_SIZE} /dev/urandom > {path})"


def _mending(path: str, secret: bytes, opens: str) -> str:
    if len(secret) != KEY_FILE_SIZE + 1 or secret[-1:] != b"\n":
        return _put_back(opens)
    return (
        f": one byte too many, a line end that an editor may have added{_put_back(opens)}; or try it without its last "
        f"byte, on a copy: (umask 077; head -c {KEY_FILE_SIZE} {path} > {path}.trimmed), named with {KEY_FILE_VARIABLE}"
    )


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
