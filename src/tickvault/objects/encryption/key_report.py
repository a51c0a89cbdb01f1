"""What a reviewer asks of one vault's keys: where they lie, what opens them, and what each bucket is encrypted by.

Invariants: it shows no secret and no part of one, only names of files and of keys; it makes and changes nothing; what
cannot be opened is told and not raised.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tickvault.errors import TickVaultError
from tickvault.objects.encryption.key_file import key_file_path, keyring_path
from tickvault.objects.encryption.opening_keys import SERVICE_VARIABLE, keyring_protection
from tickvault.objects.encryption.setting import BucketEncryption
from tickvault.security.identity import sealing_key
from tickvault.security.keyring.protection import KEY_FILE_VARIABLE, KEYRING_VARIABLE, PASSPHRASE_FILE_VARIABLE

if TYPE_CHECKING:
    from tickvault.objects.store import ObjectStore


def vault_report(store: ObjectStore, *, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return where a vault's keys lie and what they protect; every value is one that JSON can hold.

    Returns
    -------
    dict
        ``path``; ``keys`` (``service``, the keyring's file, what it is ``protected_by`` and which file opens it,
        whether that lies ``in_the_vault``, the number of keys by state, and the ``problem`` that keeps them from being
        used); ``identities`` (what seals access keys); ``buckets`` (suite, key and mode).
    """
    variables = os.environ if environment is None else environment
    path = store.engine.path
    return {
        "path": path,
        "keys": _keys(store, path, variables),
        "identities": {"sealing_key": _file(os.path.join(path, sealing_key.FOLDER_NAME, sealing_key.FILE_NAME))},
        "buckets": {info.name: _bucket(info.encryption) for info in store.list_buckets()},
    }


def _keys(store: ObjectStore, path: str, variables: Mapping[str, str]) -> dict[str, Any]:
    service = variables.get(SERVICE_VARIABLE, "") or "file"
    found: dict[str, Any] = {"service": service}
    if service == "file":
        keyring = variables.get(KEYRING_VARIABLE, "") or keyring_path(path)
        passphrase, key_file = variables.get(PASSPHRASE_FILE_VARIABLE), variables.get(KEY_FILE_VARIABLE)
        opened_by = os.path.abspath(passphrase or key_file or key_file_path(path))
        inside = os.path.realpath(opened_by).startswith(os.path.realpath(path) + os.sep)
        there = os.path.lexists(keyring)
        found |= {
            "keyring": _file(keyring),
            "protected_by": keyring_protection(keyring) or None,
            "opened_by": _file(opened_by) if there else None,
            "in_the_vault": inside if there else None,
        }
        if there and inside:
            found["note"] = (
                "what opens the keyring lies in the vault's folder: whoever can read the folder can read the objects; "
                "tickvault keys protect changes that"
            )
    problem = store.keys.check()
    states: Counter[str] = Counter()
    if not problem:
        try:
            states.update(key.state for key in store.keys.list())
        except TickVaultError as error:
            problem = str(error)
    # Those of a service elsewhere are listed there.
    counted = service == "file" and not problem
    return found | {"count": dict(sorted(states.items())) if counted else None, "problem": problem or None}


def _file(path: str) -> str:
    return path if os.path.lexists(path) else f"{path} (there is none)"


def _bucket(encryption: BucketEncryption | None) -> str:
    if encryption is None:
        return "new versions are not encrypted"
    return f"{encryption.suite}, key {encryption.key_id}, mode {encryption.mode}"
