"""How many, how large, how long.

Invariants: everything that an identity can hold has a limit; the document of an identity at all its limits stays below
`DOCUMENT_SIZE_MAX`. Numbers are those of AWS ("IAM and AWS STS quotas") unless a comment says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from tickvault.errors import InvalidInputError

MINUTE_S = 60
HOUR_S = 3600
NS = 1_000_000_000

SESSION_DURATION_S_MIN = 900
SESSION_DURATION_S_MAX = 43_200
SESSION_DURATION_S_DEFAULT = HOUR_S
#: A session that was begun by a session of a role.
CHAINED_DURATION_S_MAX = HOUR_S
USER_SESSION_DURATION_S_MAX = 129_600
#: A role's own maximum lies between these.
ROLE_DURATION_S_MIN, ROLE_DURATION_S_MAX = HOUR_S, SESSION_DURATION_S_MAX

#: Sessions of sessions of …; AWS has no limit, but each link rides in the token.
CHAIN_LENGTH_MAX = 4
#: As text, in a header of a request.
SESSION_TOKEN_SIZE_MAX = 4096
#: How far in the future a session may have been issued: clocks of two machines on one vault differ a little.
CLOCK_TOLERANCE_S = 5 * MINUTE_S

IDENTITY_POLICY_SIZE_MAX = 10_240
SESSION_POLICY_SIZE_MAX = 2_048
TRUST_POLICY_SIZE_MAX = 4_096
#: All inline policies of one user, group or role, bytes.
INLINE_SIZE_TOTAL_MAX = 64 * 1024

TAG_KEY_LENGTH_MAX = 128
TAG_VALUE_LENGTH_MAX = 256
DESCRIPTION_LENGTH_MAX = 1_000

#: How long a rotated key may live on.
ROTATION_GRACE_S_MAX = 90 * 24 * HOUR_S
#: Times of last use are written at most this often.
LAST_USED_INTERVAL_S = HOUR_S

#: Tries of a change that others keep changing under it.
CHANGE_TRIES_MAX = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts that a vault may set otherwise."""

    users_max: int = 10_000
    groups_max: int = 1_000
    roles_max: int = 1_000
    policies_max: int = 1_500
    service_accounts_per_user_max: int = 100
    groups_per_user_max: int = 10
    policies_per_entity_max: int = 20
    """Attached and inline together."""
    tags_max: int = 50
    active_keys_max: int = 2
    """Access keys of one user or service account that are neither disabled nor expired."""
    stored_keys_max: int = 8
    """All access keys of one user or service account."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, int) or not 1 <= value <= _HIGHEST[each.name]:
                raise InvalidInputError(f"limit {each.name}: must be 1 to {_HIGHEST[each.name]}, was {value!r}")


# A document of an identity has a largest size, and listings are held in memory.
_HIGHEST = {
    "users_max": 100_000,
    "groups_max": 10_000,
    "roles_max": 10_000,
    "policies_max": 10_000,
    "service_accounts_per_user_max": 1_000,
    "groups_per_user_max": 100,
    "policies_per_entity_max": 50,
    "tags_max": 50,
    "active_keys_max": 16,
    "stored_keys_max": 64,
}
