"""What a bucket's new versions are encrypted with, and what one write asks for instead.

Invariants: a setting names a suite and a key, never a secret; a customer's key is shown by no representation; a write
that names nothing takes the setting of its bucket as it is when the write begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from tickvault.errors import InvalidInputError
from tickvault.security.cipher import AES_256_GCM, Suite, suite_named
from tickvault.security.keyring.service import check_key_id

#: Where a bucket's settings keep it.
ENCRYPTION_DOCUMENT = "encryption"
#: Size of a key that a customer brings (S3 takes AES-256 only), bytes.
CUSTOMER_KEY_SIZE = 32

Mode = Literal["managed", "kms", "customer"]
"""``managed``: the store chooses the key (S3's ``AES256``); ``kms``: the caller does; ``customer``: and brings it."""
MODES: tuple[Mode, ...] = ("managed", "kms", "customer")
_FIELDS = {"suite", "key", "mode", "customer_key"}


@dataclass(frozen=True, slots=True)
class BucketEncryption:
    """The encryption of a bucket's new versions."""

    suite: str
    key_id: str
    mode: Mode = "managed"

    def document(self) -> dict[str, str]:
        """Return it as it is stored with the bucket's settings."""
        return {"suite": self.suite, "key": self.key_id, "mode": self.mode}

    @staticmethod
    def of(document: Mapping[str, Any]) -> BucketEncryption:
        """Return what a bucket's settings say; raises `InvalidInputError` for what cannot be such a setting."""
        mode = document.get("mode", "managed")
        if mode not in ("managed", "kms"):
            raise InvalidInputError(f"a bucket's encryption is 'managed' or 'kms', not {mode!r:.40}")
        return BucketEncryption(suite_named(document["suite"]).name, check_key_id(document["key"]), mode)


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """What one write, or one setting, asks for; None leaves the choice to the bucket."""

    mode: Mode = "managed"
    suite: str | None = None
    key_id: str | None = None
    customer_key: bytes | None = field(default=None, repr=False)

    @staticmethod
    def of(asked: str | Mapping[str, Any] | EncryptionRequest | None) -> EncryptionRequest | None:
        """Return the request that an argument ``encryption=`` names.

        Parameters
        ----------
        asked : str, mapping or None
            The name of a suite, or a mapping with ``suite``, ``key`` (a key id), ``mode`` and ``customer_key``, each of
            which may be left out: with a key the mode is ``kms``, with a customer's key ``customer``, else ``managed``.

        Raises
        ------
        InvalidInputError
            It names something unknown, or its parts contradict each other.
        """
        if asked is None or isinstance(asked, EncryptionRequest):
            return asked
        if isinstance(asked, str):
            return EncryptionRequest(suite=suite_named(asked).name)
        if not isinstance(asked, Mapping) or not asked.keys() <= _FIELDS:
            raise InvalidInputError(
                "encryption is the name of a suite, such as 'aes-256-gcm', or a mapping with some of "
                f"{', '.join(sorted(_FIELDS))}; not {_shown(asked)}"
            )
        suite, key, customer_key = asked.get("suite"), asked.get("key"), asked.get("customer_key")
        # Who names a key chooses it, which is what S3 calls aws:kms.
        implied = "customer" if customer_key is not None else "managed" if key is None else "kms"
        mode = asked.get("mode") or implied
        if mode not in MODES:
            raise InvalidInputError(f"a mode of encryption is one of {', '.join(MODES)}; not {mode!r:.40}")
        if (mode == "customer") != (customer_key is not None):
            raise InvalidInputError("encryption with mode 'customer' needs customer_key, and no other mode takes one")
        return EncryptionRequest(
            mode,
            None if suite is None else suite_named(suite).name,
            None if key is None else check_key_id(key),
            None if customer_key is None else check_customer_key(customer_key),
        )


def default_key_id(suite: str) -> str:
    """Return the id of the key that the store uses where nobody names one; it is made when it is first needed.

    >>> default_key_id("aes-256-gcm")
    'default-aes-256-gcm'
    """
    return f"default-{suite}"


def resolve(setting: Mapping[str, Any] | None, request: EncryptionRequest | None) -> tuple[Mode, Suite, str] | None:
    """Return (mode, suite, key id) of a write; None: not encrypted.

    Parameters
    ----------
    setting : mapping or None
        The bucket's, as stored.
    request : EncryptionRequest or None
        The write's own, which goes first.
    """
    if request is None:
        if setting is None:
            return None
        return _resolved(setting["suite"], setting["key"], setting.get("mode", "managed"))
    suite, key_id = request.suite, request.key_id
    if setting is not None:
        stored = BucketEncryption.of(setting)
        suite = suite or stored.suite
        if key_id is None and suite == stored.suite:
            key_id = stored.key_id
    suite = suite or AES_256_GCM.name
    return request.mode, suite_named(suite), key_id or default_key_id(suite)


@lru_cache(maxsize=1024)
def _resolved(suite: str, key_id: str, mode: str) -> tuple[Mode, Suite, str]:
    # Asked for by every write.
    stored = BucketEncryption.of({"suite": suite, "key": key_id, "mode": mode})
    return stored.mode, suite_named(stored.suite), stored.key_id


def check_customer_key(key: object) -> bytes:
    """Return a customer's key if it can be one; raises `InvalidInputError`, which does not show it."""
    if not isinstance(key, bytes | bytearray | memoryview) or len(bytes(key)) != CUSTOMER_KEY_SIZE:
        raise InvalidInputError(f"a customer's key must be {CUSTOMER_KEY_SIZE} bytes")
    return bytes(key)


def _shown(asked: object) -> str:
    # Never its values: one of them may be a key under a mistyped name.
    return f"one with {sorted(map(str, asked))!r:.120}" if isinstance(asked, Mapping) else f"a {type(asked).__name__}"
