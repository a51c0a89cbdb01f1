"""Which key service a vault uses, from the environment, and how it is opened.

====================================== ==============================================================================
`TICKVAULT_KEY_SERVICE`                ``file`` (the default), ``transit``, or a service that a package brings
`TICKVAULT_KEY_SERVICE_OPTIONS`        its options: ``name=value,name=value``
`TICKVAULT_KEYRING`                    the keyring file, in place of ``VAULT/security/keyring.json``
`TICKVAULT_KEYRING_PASSPHRASE_FILE`    a private file with the passphrase that protects it
`TICKVAULT_KEYRING_KEY_FILE`           a private file of 32 random bytes that protects it
====================================== ==============================================================================

Invariants: a secret never stands in the environment, a file that holds it does; a keyring is made only where the vault
has never had one, so that a lost one is an error and not a new, empty one; whatever is missing is told as
`AccessDeniedError`: it is the key that is not there, not the object.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tickvault.errors import AccessDeniedError, AlreadyExistsError, InvalidInputError, NotFoundError
from tickvault.objects.encryption.key_file import (
    key_file_path,
    keyring_path,
    make_folder,
    make_key_file,
)
from tickvault.security.keyring import (
    EnvelopeKeyService,
    FileKeyService,
    KeyFile,
    Keyring,
    KeyService,
    Passphrase,
    Protection,
    create_keyring,
    open_key_service,
    open_keyring,
)
from tickvault.security.keyring.protection import (
    KEY_FILE_VARIABLE,
    KEYRING_VARIABLE,
    PASSPHRASE_FILE_VARIABLE,
    PUT_BACK,
    wrong_kind,
)
from tickvault.security.keyring.sealed_file import FILE_SIZE_MAX, protection_kind

SERVICE_VARIABLE = "TICKVAULT_KEY_SERVICE"
OPTIONS_VARIABLE = "TICKVAULT_KEY_SERVICE_OPTIONS"


def open_vault_service(
    vault_path: str, seen: Mapping[str, object] | None, *, create: bool, environment: Mapping[str, str] | None = None
) -> KeyService:
    """Return the key service of a vault.

    Parameters
    ----------
    seen : mapping or None
        What the vault wrote down of its keyring: ``id``, ``generation``; None if it has had none.
    create : bool
        A keyring may be made, if the vault has never had one.

    Raises
    ------
    AccessDeniedError
        The keyring, or what protects it, is missing or another one.
    IntegrityError
        The keyring is damaged, or an older copy was put in its place.
    """
    variables = os.environ if environment is None else environment
    name = variables.get(SERVICE_VARIABLE, "") or "file"
    if name != "file":
        return at_a_distance(open_key_service(name, parse_options(variables.get(OPTIONS_VARIABLE, ""))))
    path = variables.get(KEYRING_VARIABLE, "") or keyring_path(vault_path)
    try:
        return FileKeyService(_open_file(vault_path, path, seen, variables, create=create))
    except NotFoundError as error:
        if seen is None and create and not os.path.lexists(path):
            # Nothing was ever sealed: whatever is missing can be made.
            raise AccessDeniedError(f"a keyring cannot be made for {vault_path}: {error}") from None
        why = str(error)
        if PUT_BACK not in why:
            why = f"{why}. {PUT_BACK}"
        raise AccessDeniedError(f"what is encrypted in {vault_path} cannot be read or written: {why}") from None


def has_keyring(vault_path: str, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether there is something that a vault's keys would be read from."""
    variables = os.environ if environment is None else environment
    if (variables.get(SERVICE_VARIABLE, "") or "file") != "file":
        return True
    return os.path.lexists(variables.get(KEYRING_VARIABLE, "") or keyring_path(vault_path))


def _open_file(
    vault_path: str,
    path: str,
    seen: Mapping[str, object] | None,
    variables: Mapping[str, str],
    *,
    create: bool,
) -> Keyring:
    lowest = 0 if seen is None else int(str(seen["generation"]))
    there = os.path.lexists(path)
    if not there and (seen is not None or not create):
        raise NotFoundError(f"{path}: there is no keyring")
    protection = _protection(vault_path, variables, opens=path if there else "")
    if not there:
        if path == keyring_path(vault_path):
            # Its key file may be elsewhere, and nothing else be in the vault's folder of secrets yet.
            make_folder(vault_path)
        try:
            return create_keyring(path, protection)
        except AlreadyExistsError:
            pass  # another process was faster
    return open_keyring(path, protection, lowest_generation=lowest, keyring_id="" if seen is None else str(seen["id"]))


def _protection(vault_path: str, variables: Mapping[str, str], *, opens: str) -> Protection:
    """Return what opens the keyring `opens`; empty: what seals the one that is to be made."""
    passphrase_file, key_file = variables.get(PASSPHRASE_FILE_VARIABLE), variables.get(KEY_FILE_VARIABLE)
    if passphrase_file and key_file:
        raise InvalidInputError(
            f"{PASSPHRASE_FILE_VARIABLE} and {KEY_FILE_VARIABLE} are both set; a keyring has one protection"
        )
    kind = Passphrase.kind if passphrase_file else KeyFile.kind
    sealed_with = keyring_protection(opens) if opens else ""
    if sealed_with in (Passphrase.kind, KeyFile.kind) and sealed_with != kind:
        # Before the file is looked at: the vault's own key file may be gone, rightly, since it was sealed anew.
        raise AccessDeniedError(f"{opens}: {wrong_kind(sealed_with, kind)}")
    if passphrase_file:
        return Passphrase.from_file(passphrase_file, opens=opens)
    if key_file:
        return KeyFile(key_file, opens=opens)
    if not opens:
        make_folder(vault_path)
        make_key_file(vault_path)
    return KeyFile(key_file_path(vault_path), opens=opens)


def keyring_protection(path: str) -> str:
    """Return the kind of protection that a keyring file names; empty if that cannot be made out."""
    try:
        with open(path, "rb") as file:
            return protection_kind(file.read(FILE_SIZE_MAX))
    except OSError:
        return ""


def at_a_distance(service: KeyService) -> KeyService:
    """Return a service that may be asked inside a commit: one elsewhere is asked through an envelope."""
    return service if isinstance(service, FileKeyService | EnvelopeKeyService) else EnvelopeKeyService(service)


def parse_options(text: str) -> dict[str, str]:
    """Return the options in ``name=value,name=value``.

    >>> parse_options("address=https://vault:8200, mount=transit")
    {'address': 'https://vault:8200', 'mount': 'transit'}
    """
    options: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        if not equals or not name or name in options:
            raise InvalidInputError(
                f"{OPTIONS_VARIABLE}: write name=value,name=value, each name once; not {item!r:.80}"
            )
        options[name] = value
    return options
