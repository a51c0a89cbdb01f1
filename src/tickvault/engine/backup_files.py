"""What a backup holds beside segments and trail: small files that are written anew as a whole.

They are gathered in a folder beside the backup, noted with sizes and checksums, and take the place of the last backup's
only once the backup that notes them counts.  So whenever a backup is interrupted, one of two folders holds what its
description names.

Invariants: what is restored is what was noted, or nothing is; the folder of the backup before stays whole until then.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from crc32c import crc32c

from tickvault.errors import FormatError, IntegrityError
from tickvault.seam.disk import OsDisk, plain_file, storage_error

#: What a backup's description notes them under, and the folder that they are in.
FILES = "files"
_NEW = f"{FILES}.new"
#: Where releases before had some of them.
_BEFORE = ("journals", "journals.new", "security")


def gathering_folder(destination: str) -> str:
    """Return an empty folder beside a backup, to gather files in."""
    folder = f"{os.path.abspath(destination).rstrip(os.sep)}.{FILES}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.makedirs(folder, mode=0o700)
    except OSError as error:
        raise storage_error(error, "make folder", folder) from error
    return folder


def gather(folder: str, name: str, source: str) -> bytes | None:
    """Copy a file, durably, and return its bytes; None if there is none.

    Parameters
    ----------
    name : str
        Relative to the vault, with slashes.
    """
    target = os.path.join(folder, name)
    data = read_whole(source)
    if data is None:
        return None
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as writer:
            writer.write(data)
            writer.flush()
            os.fsync(fd)
        OsDisk().sync_directory(os.path.dirname(target))
    except OSError as error:
        raise storage_error(error, "write", target) from error
    return data


def read_whole(path: str) -> bytes | None:
    """Return the bytes of a file, None if there is none."""
    try:
        with open(path, "rb", opener=plain_file) as reader:
            return reader.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "read", path) from error


def check_continues(folder: str, kind: str, destination: str, noted: dict[str, Any] | None) -> None:
    """Raise `FormatError` unless files that only grow go on from what the backup before has of them.

    Parameters
    ----------
    folder : str
        Holds them as they are now; one that is gone was done with.
    kind : str
        The folder of theirs in the vault.
    noted : dict or None
        What the backup before noted.
    """
    for name in noted or {}:
        if not name.startswith(f"{kind}/"):
            continue
        now = read_whole(os.path.join(folder, os.path.relpath(name, kind)))
        places = [os.path.join(destination, each, name) for each in (_NEW, FILES)]
        before = [data for data in map(read_whole, places) if data is not None]
        # Behind the last row lie zeros, in which the next ones come.
        if now is not None and before and not any(now.startswith(data.rstrip(b"\0")) for data in before):
            raise went_another_way(destination)


def went_another_way(destination: str) -> FormatError:
    """Return the error of a backup that holds changes which the vault does not have."""
    return FormatError(
        f"{destination} holds a backup of a copy of this vault that went on by itself, with changes that are not "
        "in this one; choose another folder. Nothing was backed up; the backup there is as it was"
    )


def place(folder: str, destination: str, noted_before: dict[str, Any] | None) -> dict[str, Any]:
    """Move what was gathered into the backup, beside what it has, and return what is to be noted of it."""
    noted = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            noted[os.path.relpath(path, folder)] = {"size": os.path.getsize(path), "crc": checksum_of(path)}
    new = os.path.join(destination, _NEW)
    if noted_before is not None and os.path.isdir(new) and not _fault(new, noted_before):
        # The backup before was interrupted when it counted already, and before its files had their place.
        settle(destination)
    try:
        shutil.rmtree(new, ignore_errors=True)
        os.rename(folder, new)
    except OSError as error:
        raise storage_error(error, "put files into", new) from error
    OsDisk().sync_directory(destination)
    return noted


def settle(destination: str) -> None:
    """Give the new files their place, once the backup counts that notes them."""
    new, final = os.path.join(destination, _NEW), os.path.join(destination, FILES)
    try:
        shutil.rmtree(final, ignore_errors=True)
        os.rename(new, final)
    except OSError as error:
        raise storage_error(error, "put files into", final) from error
    for name in _BEFORE:
        shutil.rmtree(os.path.join(destination, name), ignore_errors=True)
    OsDisk().sync_directory(destination)


def restore_files(source: str, vault: str, noted: dict[str, Any], *, without: str = "") -> None:
    """Copy the files that a backup notes into a vault, but for those in the folder `without`.

    Raises
    ------
    IntegrityError
        One is damaged or missing.
    """
    folders = [os.path.join(source, name) for name in (FILES, _NEW)]
    chosen = {name: of_file for name, of_file in noted.items() if not without or not name.startswith(f"{without}/")}
    folder = next((folder for folder in folders if not _fault(folder, chosen)), None)
    if folder is None:
        raise IntegrityError(f"{_fault(folders[0], chosen)}; take another backup")
    for name in chosen:
        target = os.path.normpath(os.path.join(vault, name))
        if os.path.commonpath([target, vault]) != vault:
            raise IntegrityError(f"{source} names a file outside of the vault ({name}); take another backup")
        gather(vault, name, os.path.join(folder, name))


def _fault(folder: str, noted: dict[str, Any]) -> str:
    """Return what is wrong with the files of a folder, empty if nothing is."""
    for name, of_file in noted.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or os.path.islink(path):
            return f"{path} is missing"
        if os.path.getsize(path) != of_file["size"] or checksum_of(path) != of_file["crc"]:
            return f"{path} is not what was backed up"
    return ""


def checksum_of(path: str, size: int | None = None) -> int:
    """Return the CRC-32C of a file, or of its first bytes."""
    crc, left = 0, os.path.getsize(path) if size is None else size
    with open(path, "rb", opener=plain_file) as reader:
        while left and (piece := reader.read(min(left, 1 << 22))):
            crc = crc32c(piece, crc)
            left -= len(piece)
    return crc
