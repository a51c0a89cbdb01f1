"""Why a credential is not accepted.

Invariants: each reason has one S3 error code; a message names the access key and never a secret or a token.
"""

from __future__ import annotations

from enum import Enum

from tickvault.errors import AccessDeniedError


class Refusal(Enum):
    """Reasons; `s3_code` is what a door answers."""

    UNKNOWN = "unknown"
    """There is no such access key, or a temporary one came without its token."""
    DISABLED = "disabled"
    """The key, its user or its service account is disabled."""
    EXPIRED = "expired"
    """The key or the session is past its end."""
    INVALID_TOKEN = "invalid-token"  # noqa: S105 -- the name of a reason
    """The session token is damaged, of another vault or key, or not yet valid."""
    REVOKED = "revoked"
    """The session was revoked, or its role, user or service account is gone or disabled."""
    BROKEN = "broken"
    """What the identity refers to is missing, so that what it may do is unknown."""
    UNREADABLE = "unreadable"
    """The secret of the key, or the token, cannot be opened: the sealing key is missing or another one, or damage."""

    @property
    def s3_code(self) -> str:
        """The error code of S3 (Amazon S3 API Reference, "Error responses")."""
        return _S3_CODES[self]


# AWS tells a disabled key from an unknown one no more than this.
_S3_CODES = {
    Refusal.UNKNOWN: "InvalidAccessKeyId",
    Refusal.DISABLED: "InvalidAccessKeyId",
    Refusal.EXPIRED: "ExpiredToken",
    Refusal.INVALID_TOKEN: "InvalidToken",
    Refusal.REVOKED: "InvalidToken",
    Refusal.BROKEN: "AccessDenied",
    # The fault is the server's, and an operator's to mend: no client should throw its key away.
    Refusal.UNREADABLE: "ServiceUnavailable",
}


class CredentialRefusedError(AccessDeniedError):
    """An access key or session is not accepted; `refusal` tells why."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal

    @property
    def s3_code(self) -> str:
        """The error code of S3."""
        return self.refusal.s3_code
