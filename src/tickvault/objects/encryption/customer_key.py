"""Keys that customers bring with every request (S3's SSE-C): what is kept of them is a salted check value.

The data key of such an object is wrapped twice: inside by the customer's key, outside by the vault's key service, which
binds it to its place. So a completed upload, an exchange of the vault's own keys and a move by compaction need no
customer's key, and whoever has the vault with its keyring and not the customer's key has nothing.

Invariants: neither the key nor anything it can be computed from is stored: a salt, a check value of 128 bits that is
one-way, and the data key under it; a wrong key is told from damage before anything is opened.

Source: Amazon S3 User Guide, "Using server-side encryption with customer-provided keys (SSE-C)".
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tickvault.errors import AccessDeniedError, InvalidInputError
from tickvault.objects.encryption.setting import check_customer_key
from tickvault.security.cipher import AES_256_GCM, unwrap_data_key, wrap_data_key

SALT_SIZE = 16
CHECK_SIZE = 16
_WRAP = b"tickvault customer key wrap 1"
_CHECK = b"tickvault customer key check 1"


class CustomerKeyError(InvalidInputError):
    """A customer's key is missing, or was given where none is asked for."""

    s3_code = "InvalidRequest"

    def __init__(self, message: str, s3_message: str | None = None) -> None:
        super().__init__(message)
        self.s3_message = message if s3_message is None else s3_message
        """What S3 says of it."""


def missing_key() -> CustomerKeyError:
    """Return the error of a read without the key that the object was written with."""
    return CustomerKeyError(
        "the object was written with a key of the caller's own, which the vault does not keep; give it: "
        "customer_key=…, the same 32 bytes (get, read and head take it; of a copy's source: source_customer_key=…)",
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to "
        "retrieve the object.",
    )


def needless_key() -> CustomerKeyError:
    """Return the error of a read with a key, of an object that was written without one."""
    return CustomerKeyError(
        "the object was written without a key of the caller's own; leave customer_key out",
        "The encryption parameters are not applicable to this object.",
    )


def seal_customer(customer_key: bytes, data_key: bytes) -> tuple[bytes, bytes]:
    """Return (the data key under a customer's key, what tells that key from another one)."""
    salt = secrets.token_bytes(SALT_SIZE)
    aead = AES_256_GCM.aead(_derive(customer_key, salt, _WRAP, AES_256_GCM.key_size))
    return wrap_data_key(aead, data_key, _WRAP), salt + _derive(customer_key, salt, _CHECK, CHECK_SIZE)


def open_customer(customer_key: bytes, inner: bytes, check: bytes) -> bytes:
    """Return the data key of what `seal_customer` returned; raises as `check_key` does, or `IntegrityError`."""
    check_key(customer_key, check)
    aead = AES_256_GCM.aead(_derive(customer_key, check[:SALT_SIZE], _WRAP, AES_256_GCM.key_size))
    return unwrap_data_key(aead, inner, _WRAP)


def check_key(customer_key: bytes | None, check: bytes) -> None:
    """Raise unless a key is the one that an object was written with.

    Parameters
    ----------
    customer_key : bytes or None
    check : bytes
        What the object keeps; empty if it was written without a customer's key.

    Raises
    ------
    CustomerKeyError
        The object needs a key and there is none, or the other way round.
    AccessDeniedError
        It is another key.
    """
    if not check:
        if customer_key is not None:
            raise needless_key()
        return
    if customer_key is None:
        raise missing_key()
    salt, good = check[:SALT_SIZE], check[SALT_SIZE:]
    if not hmac.compare_digest(_derive(check_customer_key(customer_key), salt, _CHECK, CHECK_SIZE), good):
        raise AccessDeniedError("the customer's key is not the one that the object was written with; give that one")


def _derive(customer_key: bytes, salt: bytes, purpose: bytes, size: int) -> bytes:
    return HKDF(SHA256(), size, salt, purpose).derive(customer_key)
