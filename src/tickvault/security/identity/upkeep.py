"""What crashes leave behind, removed.

Invariants: nothing is removed that could still become something: a pointer younger than an hour may belong to a key
that is being made right now; what is removed serves nobody already.
"""

from __future__ import annotations

from tickvault.errors import ConflictError, NotFoundError
from tickvault.security.identity import last_used, pointers, shelf
from tickvault.security.identity.limits import HOUR_S, NS
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import SERVICE_ACCOUNTS, USERS

_AGE_NS_MIN = HOUR_S * NS


def tidy(registry: Registry) -> int:
    """Remove service accounts without a parent, pointers without a key, times of use of keys that are gone.

    Returns
    -------
    int
        How many documents and entries were removed.
    """
    now_ns = registry.clock.now_ns()
    user_ids = {user.name: user.id for user in shelf.every(registry, USERS)}
    removed_count = 0
    for account in shelf.every(registry, SERVICE_ACCOUNTS):
        if user_ids.get(account.parent) != account.parent_id:
            try:
                shelf.remove(registry, SERVICE_ACCOUNTS, account)
            except (ConflictError, NotFoundError):
                continue
            removed_count += 1
    documents = registry.documents.list(pointers.PREFIX)
    # Read after the pointers: a key that is not here has none to come.
    owned = {key.id for user in shelf.every(registry, USERS) for key in user.access_keys}
    owned |= {key.id for account in shelf.every(registry, SERVICE_ACCOUNTS) for key in account.access_keys}
    for document in documents:
        old = now_ns - pointers.read(document).created_ns >= _AGE_NS_MIN
        if old and document.name.removeprefix(pointers.PREFIX) not in owned:
            removed_count += registry.documents.remove(document.name)
    return removed_count + last_used.forget_all_but(registry, frozenset(owned))
