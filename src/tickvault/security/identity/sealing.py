"""What is sealed, and what to do when its key is lost.

Invariants: a key is made by `reset_sealing_key` only where there is none, so that nothing is lost by it that was not
lost before; a key that cannot be opened is disabled, never deleted: the lost file may be found.
"""

from __future__ import annotations

from dataclasses import dataclass

from tickvault.errors import ConflictError, IntegrityError, NotFoundError, TickVaultError
from tickvault.security.documents import Documents
from tickvault.security.identity import keys, shelf
from tickvault.security.identity.model import AccessKey, KeyOwner
from tickvault.security.identity.names import document_prefix
from tickvault.security.identity.registry import Registry
from tickvault.security.identity.shelf import SERVICE_ACCOUNTS, USERS


@dataclass(frozen=True, slots=True)
class SealingReset:
    """What a reset did."""

    made: bool
    """Whether the key was missing, and is a new one now."""
    disabled: tuple[AccessKey, ...]
    """Keys that cannot be opened, and were not disabled before."""


def anything_sealed(documents: Documents) -> bool:
    """Tell whether any access key of a vault is sealed: then the sealing key that it has, or had, is needed."""
    return any(USERS.read(document).access_keys for document in documents.list(document_prefix(USERS.kind))) or any(
        SERVICE_ACCOUNTS.read(document).access_keys
        for document in documents.list(document_prefix(SERVICE_ACCOUNTS.kind))
    )


def unreadable_access_keys(
    registry: Registry, user: str | None = None, *, service_account: str | None = None
) -> dict[str, str]:
    """Return the keys of a user or service account whose secrets cannot be opened, by id, each with the reason.

    Nobody can sign with one: the sealing key is missing or another one, or the secret was altered.
    """
    owner = keys.owner_of(registry, user, service_account)
    reasons: dict[str, str] = {}
    for key in owner.access_keys:
        try:
            keys.secret_of(registry, owner, key)
        except TickVaultError as error:
            reasons[key.id] = str(error)
    return reasons


def reset_sealing_key(registry: Registry) -> SealingReset:
    """Go on without a sealing key that is lost for good.

    A new one is made if there is none, and every access key that cannot be opened is disabled: its secret is lost.
    Sessions that were sealed with the lost key have ended. Should the old file be found, it can be put back, and the
    keys enabled again; those made meanwhile are lost then.

    Raises
    ------
    ConflictError
        The key is there, and opens every secret: there is nothing to do.
    AccessDeniedError, FormatError, InvalidInputError
        The file is there and cannot be read, or is no key: mend that, or move it away first.
    """
    made = registry.sealer.make_key()
    disabled: list[AccessKey] = []
    lost = False
    owners: list[KeyOwner] = [*shelf.every(registry, USERS), *shelf.every(registry, SERVICE_ACCOUNTS)]
    for owner in owners:
        for key in owner.access_keys:
            try:
                keys.secret_of(registry, owner, key)
            except IntegrityError:
                lost = True
                if key.disabled:
                    continue
                try:
                    disabled.append(keys.set_access_key_disabled(registry, key.id, True))
                except NotFoundError:
                    continue  # deleted meanwhile
    if not made and not lost:
        raise ConflictError(
            "resetting the sealing key: it is there, and opens every access key; there is nothing to do"
        )
    return SealingReset(made, tuple(disabled))
