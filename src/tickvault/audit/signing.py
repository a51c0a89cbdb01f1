"""Who signs the blocks: signers, the public keys that check them, and how other kinds of signer are found.

Invariants: a signature is over the hash of a block and nothing else; a key id is the first 16 bytes of the SHA-256 of
the public key, so nobody can choose one; a private key never appears in a representation or a message.

Signers other than Ed25519 (an HSM, SM2) come from installed packages: an entry point of the group ``tickvault.signers``
names a class that follows `SignerProvider`; the entry point's name is the one that a setting asks for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tickvault.audit.block import SIGNATURE_CODES
from tickvault.errors import FormatError, InvalidInputError

ENTRY_POINT_GROUP = "tickvault.signers"
KEY_ID_SIZE = 16
PUBLIC_KEY_SIZE_MAX = 512
ED25519 = "ed25519"


class Signer(Protocol):
    """Signs block hashes with a private key, wherever it is kept."""

    @property
    def public_key(self) -> PublicKey:
        """The key that checks what this signs."""

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of a block hash (32 bytes); at most 1,024 bytes."""


class Verifier(Protocol):
    """Checks signatures with one public key."""

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Return whether the signature is one of the digest by this key."""


class SignerProvider(Protocol):
    """What an entry point of the group ``tickvault.signers`` names."""

    algorithm: str
    """``ed25519`` or ``sm2``."""

    def open_signer(self, folder: str, settings: Mapping[str, str]) -> Signer:
        """Return the signer of the trail in a folder."""

    def verifier(self, public_key: bytes) -> Verifier:
        """Return the verifier for a public key of the algorithm."""


class PublicKey(NamedTuple):
    """A public key and its algorithm."""

    algorithm: str
    key: bytes
    """Ed25519: the 32 bytes of RFC 8032. Others: as their provider defines it."""

    @property
    def key_id(self) -> bytes:
        """Sixteen bytes that name the key in every block it signed."""
        return hashlib.sha256(self.key).digest()[:KEY_ID_SIZE]

    @property
    def code(self) -> int:
        """Number of the algorithm in a block's header."""
        return SIGNATURE_CODES[self.algorithm]


def public_key(algorithm: str, key_hex: str) -> PublicKey:
    """Return a public key from the form it has in `signers.json` and in the trail.

    Raises
    ------
    FormatError
        The algorithm is not known, or the key is not of it.
    """
    try:
        key = bytes.fromhex(key_hex)
    except (ValueError, TypeError):
        raise FormatError(f"public key {str(key_hex)[:80]!r}: must be hexadecimal digits") from None
    if algorithm not in SIGNATURE_CODES:
        raise FormatError(f"public key: algorithm must be one of {', '.join(SIGNATURE_CODES)}, was {algorithm[:40]!r}")
    size_fits = len(key) == 32 if algorithm == ED25519 else 0 < len(key) <= PUBLIC_KEY_SIZE_MAX
    if not size_fits:
        raise FormatError(f"public key: {len(key)} bytes are no key of {algorithm}")
    return PublicKey(algorithm, key)


class Ed25519Signer:
    """Signs with an Ed25519 key that this process holds (RFC 8032).

    Parameters
    ----------
    private_key : bytes
        The 32 bytes of the private key.
    """

    def __init__(self, private_key: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(private_key)
        raw = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = PublicKey(ED25519, raw)

    @classmethod
    def generate(cls) -> Ed25519Signer:
        """Return a signer with a new key."""
        return cls(Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    def private_pem(self) -> bytes:
        """Return the private key as PKCS #8 in PEM, for the key file and for nothing else."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, digest: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self._private.sign(digest)

    def __repr__(self) -> str:
        """Return the key id, never the key."""
        return f"Ed25519Signer(key_id={self.public_key.key_id.hex()})"


class Ed25519Verifier:
    """Checks Ed25519 signatures."""

    def __init__(self, key: bytes) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(key)

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Return whether the signature is one of the digest by this key."""
        try:
            self._public.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


@lru_cache(maxsize=256)
def verifier_of(key: PublicKey) -> Verifier:
    """Return the verifier of a public key.

    Raises
    ------
    InvalidInputError
        No installed package can check the algorithm.
    """
    if key.algorithm == ED25519:
        return Ed25519Verifier(key.key)
    for provider in _providers().values():
        if provider.algorithm == key.algorithm:
            return provider.verifier(key.key)
    raise InvalidInputError(
        f"signatures of {key.algorithm}: no installed package checks them; install one with an entry point of the "
        f"group {ENTRY_POINT_GROUP}"
    )


def provider_of(name: str) -> SignerProvider:
    """Return the provider that is installed under a name.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    known = _providers()
    if name not in known:
        names = ", ".join([ED25519, *sorted(known)])
        raise InvalidInputError(f"signer {name[:80]!r}: must be one of {names}; others come from installed packages")
    return known[name]


def _providers() -> dict[str, SignerProvider]:
    found: dict[str, Any] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            found[point.name] = point.load()()
        except ImportError as error:
            raise InvalidInputError(f"the signer {point.name} cannot be loaded ({error}); install it again") from error
    return found
