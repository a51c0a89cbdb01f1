"""Verbs of service accounts: keys for programs, under a user.

Invariants: a service account has no policies that give, only one that narrows, so that it never may more than its
parent does at that moment; it refers to its parent by id, so that it ends with it and serves no namesake made later.
"""

from __future__ import annotations

from dataclasses import replace

from tickvault.errors import ConflictError
from tickvault.security.identity import checks, pointers, shelf
from tickvault.security.identity.model import ServiceAccount
from tickvault.security.identity.names import check_name, new_id
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import SERVICE_ACCOUNTS, USERS


def create_service_account(
    registry: Registry, name: str, *, parent: str, policy: str | None = None, description: str = ""
) -> ServiceAccount:
    """Make a service account of a user; `create_access_key(service_account=name)` makes its keys.

    Parameters
    ----------
    parent : str
        The user under whom it is.
    policy : str, optional
        JSON, up to 2,048 bytes: what it may of what its parent may. None: all of it.

    Raises
    ------
    NotFoundError
        There is no such user.
    AlreadyExistsError
        The name is taken, perhaps in another case.
    ConflictError
        The user has as many as may be.
    """
    check_name("service-account", name)
    what = f"service account {name}"
    checks.check_description(description, what)
    if policy is not None:
        registry.check_policy(policy, "session", what)
    user = shelf.fetch(registry, USERS, parent)
    count = sum(each.parent_id == user.id for each in shelf.every(registry, SERVICE_ACCOUNTS))
    limits = registry.limits
    if count >= limits.service_accounts_per_user_max:
        raise ConflictError(
            f"{what}: user {parent} has {count} already, the limit is {limits.service_accounts_per_user_max}; "
            "delete some"
        )
    account = ServiceAccount(
        name=name,
        id=new_id("service-account"),
        created_ns=registry.clock.now_ns(),
        parent=parent,
        parent_id=user.id,
        policy=policy,
        description=description,
    )
    _clear_orphan(registry, name)
    return shelf.insert(registry, SERVICE_ACCOUNTS, account, limits.users_max * limits.service_accounts_per_user_max)


def get_service_account(registry: Registry, name: str) -> ServiceAccount:
    """Return a service account; raises `NotFoundError`."""
    return shelf.fetch(registry, SERVICE_ACCOUNTS, name)


def list_service_accounts(registry: Registry, *, parent: str | None = None) -> list[ServiceAccount]:
    """Return all service accounts, or those of a user, by name."""
    accounts = shelf.every(registry, SERVICE_ACCOUNTS)
    return accounts if parent is None else [account for account in accounts if account.parent == parent]


def update_service_account(
    registry: Registry, name: str, *, policy: str | None = None, description: str | None = None
) -> ServiceAccount:
    """Change what is given; `drop_service_account_policy` takes its policy away.

    Raises
    ------
    InvalidInputError
        The text is not a policy.
    """
    if policy is not None:
        registry.check_policy(policy, "session", f"service account {name}")
    if description is not None:
        checks.check_description(description, f"service account {name}")

    def edit(account: ServiceAccount) -> ServiceAccount:
        return replace(
            account,
            policy=account.policy if policy is None else policy,
            description=account.description if description is None else description,
        )

    return shelf.change(registry, SERVICE_ACCOUNTS, name, edit)


def drop_service_account_policy(registry: Registry, name: str) -> ServiceAccount:
    """Let a service account do all that its parent may."""
    return shelf.change(registry, SERVICE_ACCOUNTS, name, lambda account: replace(account, policy=None))


def set_service_account_disabled(registry: Registry, name: str, disabled: bool) -> ServiceAccount:
    """Refuse, or accept again, all keys of a service account and the sessions that it began."""
    return shelf.change(registry, SERVICE_ACCOUNTS, name, lambda account: replace(account, disabled=bool(disabled)))


def delete_service_account(registry: Registry, name: str) -> None:
    """Delete a service account with its keys; sessions that it began end."""
    account = shelf.fetch(registry, SERVICE_ACCOUNTS, name)
    shelf.remove(registry, SERVICE_ACCOUNTS, account)
    registry.counted.pop("service-account", None)
    pointers.drop(registry, account.access_keys)


def _clear_orphan(registry: Registry, name: str) -> None:
    """Remove what a deletion of its parent, cut short, left under this name."""
    account = shelf.find(registry, SERVICE_ACCOUNTS, name)
    if account is None:
        return
    parent = shelf.find(registry, USERS, account.parent)
    if parent is None or parent.id != account.parent_id:
        shelf.remove(registry, SERVICE_ACCOUNTS, account)
        pointers.drop(registry, account.access_keys)
