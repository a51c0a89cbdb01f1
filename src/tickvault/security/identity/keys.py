"""Verbs of access keys.

Invariants: a secret is handed out once, when it is made, and kept sealed; a rotation adds the new key and ends the old
one in one step; ids never repeat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from tickvault.errors import (
    AccessDeniedError,
    BusyError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TickVaultError,
)
from tickvault.security.identity import checks, last_used, names, pointers, shelf
from tickvault.security.identity.limits import NS, ROTATION_GRACE_S_MAX
from tickvault.security.identity.model import AccessKey, KeyOwner, KeyOwnerKind, ServiceAccount, User
from tickvault.security.identity.pointers import Pointer
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.secret import Secret
from tickvault.security.identity.shelf import SERVICE_ACCOUNTS, USERS

O = TypeVar("O", User, ServiceAccount)  # noqa: E741 -- owner


@dataclass(frozen=True, slots=True)
class NewAccessKey:
    """A key just made, with its secret, which cannot be had again."""

    key: AccessKey
    secret: Secret

    @property
    def id(self) -> str:
        """The access key id."""
        return self.key.id


def create_access_key(
    registry: Registry,
    user: str | None = None,
    *,
    service_account: str | None = None,
    expires_ns: int | None = None,
    description: str = "",
) -> NewAccessKey:
    """Make an access key of a user or of a service account: name one of them.

    Parameters
    ----------
    expires_ns : int, optional
        First moment at which it is no longer accepted, nanoseconds since the epoch, UTC. None: never.

    Returns
    -------
    NewAccessKey
        With the secret, which is kept sealed and cannot be had again.

    Raises
    ------
    ConflictError
        The owner has as many keys as may be.
    """
    kind, name = _owner(user, service_account)
    now_ns = registry.clock.now_ns()
    checks.check_end(expires_ns, now_ns, f"access key of {name}")
    checks.check_description(description, f"access key of {name}")
    owner = _fetch(registry, kind, name)
    new = _prepare(registry, owner, AccessKey("", kind, name, now_ns, expires_ns, description=description))

    def add(each: O) -> O:
        if each.id != owner.id:
            raise ConflictError(f"{kind} {name}: was deleted and made again meanwhile; nothing was changed")
        return replace(each, access_keys=_with(registry, each, each.access_keys, new.key, now_ns))

    _change_or_drop(registry, new.key, add)
    return new


def rotate_access_key(
    registry: Registry, key_id: str, *, grace_s: int = 0, expires_ns: int | None = None
) -> NewAccessKey:
    """Make a key in place of another, which goes on for a while.

    Parameters
    ----------
    grace_s : int, optional
        Seconds for which the old key is still accepted, up to 90 days.
    expires_ns : int, optional
        End of the new key.

    Raises
    ------
    ConflictError
        The old key is disabled or expired, or the owner has as many keys as may be.
    """
    pointer = _require_pointer(registry, key_id)
    now_ns = registry.clock.now_ns()
    checks.check_whole(grace_s, 0, ROTATION_GRACE_S_MAX, f"rotating access key {key_id}, grace_s")
    checks.check_end(expires_ns, now_ns, f"rotating access key {key_id}")
    owner = _fetch(registry, pointer.owner_kind, pointer.owner)
    old = _of(owner, key_id)
    new = _prepare(
        registry,
        owner,
        AccessKey("", pointer.owner_kind, pointer.owner, now_ns, expires_ns, description=old.description),
    )

    def rotate(each: O) -> O:
        current = _of(each, key_id)
        if not current.active(now_ns):
            raise ConflictError(f"rotating access key {key_id}: it is disabled or expired; make a new key instead")
        end_ns = now_ns + grace_s * NS
        ended = replace(current, expires_ns=end_ns if current.expires_ns is None else min(current.expires_ns, end_ns))
        kept = tuple(ended if key.id == key_id else key for key in each.access_keys)
        return replace(each, access_keys=_with(registry, each, kept, new.key, now_ns))

    _change_or_drop(registry, new.key, rotate)
    return new


def set_access_key_disabled(registry: Registry, key_id: str, disabled: bool) -> AccessKey:
    """Refuse a key from now on, or accept it again.

    Raises
    ------
    ConflictError
        Accepting it would exceed the limit of active keys.
    """
    pointer = _require_pointer(registry, key_id)
    now_ns = registry.clock.now_ns()

    def edit(each: O) -> O:
        changed = replace(_of(each, key_id), disabled=bool(disabled))
        kept = tuple(changed if key.id == key_id else key for key in each.access_keys)
        if not disabled:
            _check_active(registry, each, kept, now_ns)
        return replace(each, access_keys=kept)

    return _of(_change(registry, pointer.owner_kind, pointer.owner, edit), key_id)


def delete_access_key(registry: Registry, key_id: str) -> None:
    """Delete a key; raises `NotFoundError`."""
    pointer = _require_pointer(registry, key_id)

    def edit(each: O) -> O:
        gone = _of(each, key_id)
        return replace(each, access_keys=tuple(key for key in each.access_keys if key.id != gone.id))

    _change(registry, pointer.owner_kind, pointer.owner, edit)
    registry.documents.remove(pointers.document_name(key_id))


def get_access_key(registry: Registry, key_id: str) -> AccessKey:
    """Return a key, with when it was last used, without its secret."""
    pointer = _require_pointer(registry, key_id)
    owner = _fetch(registry, pointer.owner_kind, pointer.owner)
    return last_used.with_last_used(registry, [_of(owner, key_id)])[0]


def list_access_keys(
    registry: Registry, user: str | None = None, *, service_account: str | None = None
) -> list[AccessKey]:
    """Return the keys of a user or service account, the oldest first, without their secrets."""
    owner = _fetch(registry, *_owner(user, service_account))
    return last_used.with_last_used(registry, owner.access_keys)


def owner_of(registry: Registry, user: str | None, service_account: str | None) -> KeyOwner:
    """Return the one of both that is named; raises `NotFoundError`."""
    return _fetch(registry, *_owner(user, service_account))


def secret_of(registry: Registry, owner: KeyOwner, key: AccessKey) -> Secret:
    """Return the secret of a key; raises `IntegrityError` if it does not open."""
    return Secret(registry.sealer.unseal(key.sealed_secret, _binding(registry, owner, key.id)).decode())


def _prepare(registry: Registry, owner: KeyOwner, draft: AccessKey) -> NewAccessKey:
    """Give a key an id, a secret and a pointer, which leads nowhere until the owner has the key."""
    key_id = pointers.write_new(registry, Pointer(draft.owner_kind, draft.owner, owner.id, draft.created_ns))
    secret = names.new_secret()
    try:
        sealed = registry.sealer.seal(secret.encode(), _binding(registry, owner, key_id))
    except TickVaultError:
        pointers.drop(registry, [replace(draft, id=key_id)])
        raise
    return NewAccessKey(replace(draft, id=key_id, sealed_secret=sealed), Secret(secret))


def _binding(registry: Registry, owner: KeyOwner, key_id: str) -> bytes:
    return registry.binding("access-key", key_id, owner.id)


def _owner(user: str | None, service_account: str | None) -> tuple[KeyOwnerKind, str]:
    if user is not None and service_account is None:
        return "user", user
    if service_account is not None and user is None:
        return "service-account", service_account
    raise InvalidInputError("access key: name one of user and service_account")


def _require_pointer(registry: Registry, key_id: str) -> Pointer:
    if registry.root is not None and key_id == registry.root.access_key:
        raise AccessDeniedError(
            "access key of the root: is neither rotated, disabled nor deleted here; it stands in the vault's "
            "credentials.json or in the environment"
        )
    document = None
    if isinstance(key_id, str) and len(key_id) == names.ACCESS_KEY_ID_LENGTH and key_id.isalnum():
        document = registry.documents.get(pointers.document_name(key_id))
    if document is None:
        raise _missing(key_id)
    return pointers.read(document)


def _missing(key_id: str) -> NotFoundError:
    return NotFoundError(f"access key {key_id[:128]!a}: there is none of that id")


def _of(owner: KeyOwner, key_id: str) -> AccessKey:
    for key in owner.access_keys:
        if key.id == key_id:
            return key
    raise _missing(key_id)


def _fetch(registry: Registry, kind: KeyOwnerKind, name: str) -> KeyOwner:
    return shelf.fetch(registry, USERS, name) if kind == "user" else shelf.fetch(registry, SERVICE_ACCOUNTS, name)


class _Edit(Protocol):
    def __call__(self, each: O, /) -> O: ...


def _change(registry: Registry, kind: KeyOwnerKind, name: str, edit: _Edit) -> KeyOwner:
    if kind == "user":
        return shelf.change(registry, USERS, name, edit)
    return shelf.change(registry, SERVICE_ACCOUNTS, name, edit)


def _change_or_drop(registry: Registry, key: AccessKey, edit: _Edit) -> None:
    """Change the owner of a new key; if that is refused, its pointer goes too."""
    try:
        _change(registry, key.owner_kind, key.owner, edit)
    except (ConflictError, NotFoundError, BusyError):
        pointers.drop(registry, [key])
        raise


def _with(
    registry: Registry, owner: KeyOwner, keys: tuple[AccessKey, ...], new: AccessKey, now_ns: int
) -> tuple[AccessKey, ...]:
    if len(keys) >= registry.limits.stored_keys_max:
        raise ConflictError(
            f"access key of {owner.name}: there are {len(keys)} already, the limit is "
            f"{registry.limits.stored_keys_max}; delete disabled and expired ones"
        )
    _check_active(registry, owner, (*keys, new), now_ns)
    return (*keys, new)


def _check_active(registry: Registry, owner: KeyOwner, keys: tuple[AccessKey, ...], now_ns: int) -> None:
    active = [key.id for key in keys if key.active(now_ns)]
    if len(active) > registry.limits.active_keys_max:
        raise ConflictError(
            f"access key of {owner.name}: {len(active)} would be active, the limit is "
            f"{registry.limits.active_keys_max}; disable or delete one first"
        )
