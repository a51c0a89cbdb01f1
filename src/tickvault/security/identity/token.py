"""The session token: all that is known of a temporary credential, sealed.

Nothing is stored of a session. Its token holds who it is, what it dies with, its secret and its end, sealed by the
vault's sealer and bound to the vault.

Invariants: a token is accepted only as it was issued, bit by bit, also where base64 would take two texts for the same;
it is at most `SESSION_TOKEN_SIZE_MAX` characters; what is wrong with a refused one is not told.

A token is unpadded base64url (RFC 4648, 5) of::

    0      1
    | 0x01 | sealed: msgpack of [access key id, secret, session name, issued_ns, expires_ns,
    |      |                     session policy or nil, [[kind, name, id, issued_ns], …]]
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgpack

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.security.identity.credential import Anchor
from tickvault.security.identity.limits import SESSION_TOKEN_SIZE_MAX
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.secret import Secret

_VERSION = b"\x01"
_BINDING = ("session-token", "1")


class Claims(NamedTuple):
    """What a token says."""

    access_key_id: str
    secret: Secret
    session_name: str
    """Empty for a session of a user."""
    issued_ns: int
    expires_ns: int
    session_policy: str | None
    anchors: tuple[Anchor, ...]
    """First what it is a session of; never empty."""


def encode(registry: Registry, claims: Claims) -> str:
    """Return the token; raises `InvalidInputError` if it would be too large."""
    packed = msgpack.packb(
        [
            claims.access_key_id,
            claims.secret.reveal(),
            claims.session_name,
            claims.issued_ns,
            claims.expires_ns,
            claims.session_policy,
            [list(anchor) for anchor in claims.anchors],
        ]
    )
    token = _to_text(_VERSION + registry.sealer.seal(packed, registry.binding(*_BINDING)))
    if len(token) > SESSION_TOKEN_SIZE_MAX:
        raise InvalidInputError(
            f"session {claims.session_name}: its token would have {len(token)} characters, the limit is "
            f"{SESSION_TOKEN_SIZE_MAX}; shorten the session policy, or the chain of roles"
        )
    return token


def decode(registry: Registry, token: str) -> Claims | None:
    """Return what a token says, None if it is not one of this vault."""
    if not isinstance(token, str) or len(token) > SESSION_TOKEN_SIZE_MAX or not token.isascii():
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        # The last character may carry bits that decode to nothing: only one text is the token.
        if data[:1] != _VERSION or _to_text(data) != token:
            return None
        packed = registry.sealer.unseal(data[1:], registry.binding(*_BINDING))
    except (binascii.Error, ValueError, IntegrityError):
        return None
    key_id, secret, name, issued_ns, expires_ns, policy, anchors = msgpack.unpackb(packed)
    return Claims(
        key_id, Secret(secret), name, issued_ns, expires_ns, policy, tuple(Anchor(*anchor) for anchor in anchors)
    )


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
