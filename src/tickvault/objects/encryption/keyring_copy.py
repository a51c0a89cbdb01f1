"""The keyring in a backup: the sealed file, and never what opens it.

Without it a backup would be worthless to who lost the vault, and with its key file beside it a lost backup would be
open to whoever finds it. So the key file (or the passphrase) is kept by whoever keeps the vault.

Invariants: the copy is one generation of the keyring, whole; it is taken after the segments, so that it is never older
than what they say of it; a keyring that lies elsewhere is not copied.
"""

from __future__ import annotations

import os

from tickvault.errors import FormatError
from tickvault.objects.encryption.key_file import keyring_path, make_folder
from tickvault.seam.disk import OsDisk
from tickvault.security.keyring.sealed_file import FILE_SIZE_MAX


def copy_keyring(source: str, destination: str) -> bool:
    """Copy the sealed keyring of a vault (or backup) into a backup (or vault); return whether there is one."""
    disk = OsDisk()
    try:
        fd = disk.open(keyring_path(source), writable=False)
    except FileNotFoundError:
        return False
    try:
        data = b""
        while len(data) <= FILE_SIZE_MAX and (piece := disk.pread(fd, FILE_SIZE_MAX + 1 - len(data), len(data))):
            data += piece
    finally:
        disk.close(fd)
    if len(data) > FILE_SIZE_MAX:
        raise FormatError(f"{keyring_path(source)}: is larger than {FILE_SIZE_MAX} bytes; it is no keyring")
    make_folder(destination)
    path = keyring_path(destination)
    fd = disk.open(f"{path}.new", create=True)
    try:
        disk.truncate(fd, 0)
        disk.pwritev(fd, [data], 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(f"{path}.new", path)
    disk.sync_directory(os.path.dirname(path))
    return True
