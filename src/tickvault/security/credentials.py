"""The root key pair of a vault.

Invariants: the file is readable by its owner only, and refused otherwise; it is there whole or not at all,
also when several processes open a new vault at once, which then all use the same pair; a secret never appears
in a representation, a message or a log.

A vault keeps the pair in ``credentials.json``::

    {"access_key": "TV…", "secret_key": "…"}

``TICKVAULT_ACCESS_KEY`` with ``TICKVAULT_SECRET_KEY_FILE`` (a file that holds the secret and nothing else)
take its place when both are set.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from tickvault.errors import FormatError, InvalidInputError, NotFoundError
from tickvault.seam.private_file import create_private, read_private

FILE_NAME = "credentials.json"
ACCESS_KEY_VARIABLE = "TICKVAULT_ACCESS_KEY"
SECRET_KEY_FILE_VARIABLE = "TICKVAULT_SECRET_KEY_FILE"  # noqa: S105 -- the name of a variable

_ACCESS_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_FILE_SIZE_MAX = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key and its secret."""

    access_key: str
    secret_key: str = field(repr=False)
    source: str = ""
    """The file that holds the secret."""

    def secret_for(self, access_key: str) -> str | None:
        """Return the secret of an access key, None for one that is not this one's."""
        return self.secret_key if access_key == self.access_key else None


def load_or_create(vault_path: str, *, environment: Mapping[str, str] | None = None) -> Credentials:
    """Return the root key pair: from the environment, else from the vault's file, which is made if missing.

    Parameters
    ----------
    vault_path : str
        Folder of the vault; must exist.
    environment : mapping of str to str, optional
        Defaults to that of the process.

    Raises
    ------
    AccessDeniedError
        A file with a secret can be read by others.
    InvalidInputError
        Only one of the two variables is set, or a value is not a key.
    FormatError
        The file is not a key pair.
    """
    from_environment = _from_environment(os.environ if environment is None else environment)
    if from_environment is not None:
        return from_environment
    path = os.path.join(vault_path, FILE_NAME)
    try:
        return _read_pair(path)
    except NotFoundError:
        _create(path)
        return _read_pair(path)


def has_credentials(vault_path: str, *, environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether `load_or_create` would find a pair, good or bad, rather than make one."""
    variables = os.environ if environment is None else environment
    if variables.get(ACCESS_KEY_VARIABLE) or variables.get(SECRET_KEY_FILE_VARIABLE):
        return True
    return os.path.lexists(os.path.join(vault_path, FILE_NAME))


def _from_environment(environment: Mapping[str, str]) -> Credentials | None:
    access_key = environment.get(ACCESS_KEY_VARIABLE, "")
    secret_path = environment.get(SECRET_KEY_FILE_VARIABLE, "")
    if not access_key and not secret_path:
        return None
    if not access_key or not secret_path:
        missing = SECRET_KEY_FILE_VARIABLE if access_key else ACCESS_KEY_VARIABLE
        raise InvalidInputError(
            f"{missing} is not set; {ACCESS_KEY_VARIABLE} and {SECRET_KEY_FILE_VARIABLE} must be set together"
        )
    return _checked(access_key, _read_private(secret_path).strip(), secret_path)


def _read_pair(path: str) -> Credentials:
    text = _read_private(path)
    try:
        document = json.loads(text)
        access_key, secret_key = document["access_key"], document["secret_key"]
    except (ValueError, KeyError, TypeError):
        raise FormatError(
            f"{path}: not a key pair; it must be JSON with 'access_key' and 'secret_key'. "
            "Mend it, or remove it and a new pair is made"
        ) from None
    if not isinstance(access_key, str) or not isinstance(secret_key, str):
        raise FormatError(f"{path}: 'access_key' and 'secret_key' must be strings")
    return _checked(access_key, secret_key, path)


def _checked(access_key: str, secret_key: str, source: str) -> Credentials:
    if not 3 <= len(access_key) <= 128 or not all(c.isalnum() or c in "._-" for c in access_key):
        raise InvalidInputError(f"access key {access_key!r}: must be 3 to 128 letters, digits, '.', '_' or '-'")
    if not 8 <= len(secret_key) <= 256 or not secret_key.isascii() or not secret_key.isprintable():
        raise InvalidInputError(f"{source}: the secret key must be 8 to 256 printable ASCII characters")
    return Credentials(access_key, secret_key, source)


def _read_private(path: str) -> str:
    """Return the text of a file that nobody but its owner can read."""
    data = read_private(path, size_max=_FILE_SIZE_MAX, holds="a key", remedy="make a new pair")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path}: is not UTF-8 text") from None


def _create(path: str) -> None:
    """Write a new pair; when another process was faster, its pair stays."""
    access_key = "TV" + "".join(secrets.choice(_ACCESS_KEY_ALPHABET) for _ in range(18))
    text = json.dumps({"access_key": access_key, "secret_key": secrets.token_urlsafe(30)}, indent=2) + "\n"
    create_private(path, text.encode())
