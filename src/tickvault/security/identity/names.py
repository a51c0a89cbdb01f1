"""Names, ids and ARNs of identities.

Invariants: a name is ASCII, so that none looks like another that it is not, and holds no ``/``, so that none reaches
into another's document; two names that differ in case only cannot both exist; an id is never used again, so that one
who is made again under an old name inherits nothing.
"""

from __future__ import annotations

import re
import secrets
from typing import Literal

from tickvault.errors import InvalidInputError

Kind = Literal["user", "group", "policy", "role", "service-account"]

#: The account of a vault: there is one.
ACCOUNT_ID = "000000000000"
ROOT_ARN = f"arn:aws:iam::{ACCOUNT_ID}:root"

NAME_LENGTH_MAX = 128
ACCESS_KEY_PREFIX = "TVAK"
SESSION_KEY_PREFIX = "TVST"
ACCESS_KEY_ID_LENGTH = 20
#: The root key pair may have any id of up to this length.
ACCESS_KEY_ID_LENGTH_MAX = 128

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]+")
_LENGTH_MAX: dict[str, int] = {"user": 64, "role": 64, "service-account": 64, "group": 128, "policy": 128}
# As AWS's, so that tools that tell ids apart by them go on working; TVSA has no counterpart there.
_ID_PREFIX: dict[str, str] = {
    "user": "AIDA",
    "group": "AGPA",
    "policy": "ANPA",
    "role": "AROA",
    "service-account": "TVSA",
}
#: ARNs of the root and of nobody end in these.
_RESERVED_USERS = frozenset({"root", "anonymous"})


def check_name(kind: Kind, name: str) -> str:
    """Return the name if it may be one; raises `InvalidInputError`."""
    return _checked(kind.replace("-", " "), name, 1, _LENGTH_MAX[kind], _RESERVED_USERS if kind == "user" else ())


def check_session_name(name: str) -> str:
    """Return the name of a role's session if it may be one: 2 to 64 characters."""
    return _checked("session", name, 2, 64, ())


def _checked(noun: str, name: str, shortest: int, longest: int, reserved: frozenset[str] | tuple[()]) -> str:
    if not isinstance(name, str):
        raise InvalidInputError(f"{noun} name: must be text, was {type(name).__name__}")
    # In a path "." and ".." lead elsewhere, and policies put names into paths: bucket/${aws:username}/.
    if not shortest <= len(name) <= longest or not _NAME.fullmatch(name) or name in (".", ".."):
        raise InvalidInputError(
            f"{noun} name {name[:80]!a}: must be {shortest} to {longest} characters of A-Z a-z 0-9 _ + = , . @ -, "
            "and not . or .."
        )
    if name.lower() in reserved:
        raise InvalidInputError(f"{noun} name {name!r}: is reserved; choose another")
    return name


def document_prefix(kind: str) -> str:
    """Return what the names of a kind's documents begin with."""
    return f"iam/{kind}/"


def document_name(kind: str, name: str) -> str:
    """Return the name of the document of an identity."""
    return f"iam/{kind}/{name.lower()}"


def arn(kind: str, name: str) -> str:
    """Return the ARN of an identity.

    Examples
    --------
    >>> arn("user", "alice")
    'arn:aws:iam::000000000000:user/alice'
    """
    return f"arn:aws:iam::{ACCOUNT_ID}:{kind}/{name}"


def assumed_role_arn(role: str, session_name: str) -> str:
    """Return the ARN of a session of a role."""
    return f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/{session_name}"


def new_id(kind: Kind) -> str:
    """Return an id that nobody has: AWS's prefix and 17 characters, 85 bits of randomness."""
    return _ID_PREFIX[kind] + _random(17)


def new_access_key_id(prefix: str = ACCESS_KEY_PREFIX) -> str:
    """Return an access key id of 20 characters, 80 bits of randomness."""
    return prefix + _random(ACCESS_KEY_ID_LENGTH - len(prefix))


def new_secret() -> str:
    """Return a secret key of 40 characters, 240 bits of randomness."""
    return secrets.token_urlsafe(30)


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE32) for _ in range(length))
