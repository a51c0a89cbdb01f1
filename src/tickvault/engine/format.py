"""The vault's folder and its format file.

A frozen module: a change of anything on disk gives a new `FORMAT_VERSION` and a migration.

Invariants: an older release refuses a newer format with words; a folder that holds other files is never taken for a
new vault.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import dataclass, replace

from tickvault.engine.index import LMDB_VERSION
from tickvault.errors import FormatError, NotFoundError, StorageError
from tickvault.seam.disk import plain_file, storage_error

FORMAT_VERSION = 2
"""1: records of objects, versions, buckets and uploads. 2: also of locks, documents and attributions; an older release,
which would not heed the locks, must not open it."""
FORMAT_FILE = "format.json"


@dataclass(frozen=True, slots=True)
class VaultFormat:
    """What the format file says."""

    version: int
    vault_id: bytes
    created_ns: int


def read_format(folder: str) -> VaultFormat | None:
    """Return the format of the vault in `folder`, None if there is none.

    Raises
    ------
    FormatError
        A newer release wrote it, or the file is damaged.
    """
    path = os.path.join(folder, FORMAT_FILE)
    try:
        with open(path, encoding="utf-8", opener=plain_file) as file:
            raw = json.load(file)
        version = int(raw["format"])
        if version > FORMAT_VERSION:
            raise FormatError(
                f"{folder} has vault format {version}; this release reads up to {FORMAT_VERSION}. Upgrade tickvault"
            )
        if int(raw["lmdb"]) != LMDB_VERSION:
            raise FormatError(
                f"{folder}: its index needs LMDB interface {raw['lmdb']}, this release has {LMDB_VERSION}"
            )
        return VaultFormat(version, bytes.fromhex(raw["vault_id"]), int(raw["created_ns"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "read", path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged ({error}); restore it from a backup") from error


def create_format(folder: str, *, vault_id: bytes | None = None) -> VaultFormat:
    """Make the folder of a new vault, its format file last and by rename."""
    os.makedirs(os.path.join(folder, "segments"), mode=0o700, exist_ok=True)
    return _write(folder, VaultFormat(FORMAT_VERSION, vault_id or uuid.uuid4().bytes, time.time_ns()))


def upgrade_format(folder: str, found: VaultFormat) -> VaultFormat:
    """Have the format file name this release's format; the vault must not be open anywhere else.

    From 1 to 2 nothing on disk changes but this: format 2 has more kinds of records.
    """
    return _write(folder, replace(found, version=FORMAT_VERSION))


def _write(folder: str, made: VaultFormat) -> VaultFormat:
    path = os.path.join(folder, FORMAT_FILE)
    raw = {
        "format": made.version,
        "lmdb": LMDB_VERSION,
        "vault_id": made.vault_id.hex(),
        "created_ns": made.created_ns,
    }
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(raw, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)
    except OSError as error:
        raise storage_error(error, "write", path) from error
    return made


def prepare_folder(folder: str, *, create: bool) -> None:
    """Make sure that `folder` is a vault's, or may become one.

    Raises
    ------
    NotFoundError
        There is no vault and `create` is off.
    FormatError
        The folder holds something else.
    StorageError
        The folder cannot be written.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise FormatError(f"{folder} is a file; a vault is a folder")
    if read_format(folder) is None:
        if not create:
            raise NotFoundError(f"{folder} holds no vault; make one with tickvault.open(path) or check the path")
        if os.path.isdir(folder):
            ours = {"open.lock", "use.lock", "segments", FORMAT_FILE + ".new", "manifest", "credentials.json"}
            foreign = sorted(name for name in os.listdir(folder) if name not in ours and not name.startswith("."))
            if foreign:
                raise FormatError(
                    f"{folder} holds no vault but other files ({', '.join(foreign[:3])}); choose an empty folder"
                )
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "make folder", folder) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(
            f"open {folder}: the vault's folder is read-only for this user, and reading needs write access to its lock "
            "files too; mount it read-write or give the right to write, or restore a backup elsewhere"
        )
