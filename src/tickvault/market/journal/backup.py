"""Backup and restore of journals: the files, up to where their frames are sound.

A frame says where it stands and carries its checksum, so that a copy of a file that is appended to meanwhile holds a
beginning of it.

Invariants: the copies of a backup take the place of an earlier backup's only together with its segments; what is copied
is checked frame by frame when it is read.
"""

from __future__ import annotations

import os
import shutil

from tickvault.market.journal.file import SUFFIX
from tickvault.market.journal.place import FOLDER
from tickvault.seam.disk import OsDisk, storage_error

_NEW = f"{FOLDER}.new"


def backup_journals(vault: str, folder: str) -> None:
    """Copy a vault's journals into a folder in which a backup gathers files."""
    source = os.path.join(vault, FOLDER)
    if os.path.isdir(source):
        _copy(source, os.path.join(folder, FOLDER))


def restore_journals(source: str, destination: str) -> None:
    """Copy the journals of a backup that a release before made into a vault that was made from it."""
    for name in (_NEW, FOLDER):
        # A backup that was interrupted between its two last steps has the new ones under their first name.
        found = os.path.join(source, name)
        if os.path.isdir(found):
            _copy(found, os.path.join(destination, FOLDER))
            OsDisk().sync_directory(destination)
            return


def _copy(source: str, target: str) -> None:
    disk = OsDisk()
    for folder, _, names in os.walk(source):
        made = os.path.join(target, os.path.relpath(folder, source))
        try:
            os.makedirs(made, mode=0o700, exist_ok=True)
            for name in names:
                if name.endswith(SUFFIX) and not name.startswith("."):
                    _copy_file(disk, os.path.join(folder, name), os.path.join(made, name))
        except OSError as error:
            raise storage_error(error, "copy journals to", made) from error
        disk.sync_directory(made)


def _copy_file(disk: OsDisk, source: str, target: str) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        # Its rows became a file of columns meanwhile, which the backup takes after this.
        return
    fd = disk.open(target)
    try:
        disk.sync(fd)
    finally:
        disk.close(fd)
