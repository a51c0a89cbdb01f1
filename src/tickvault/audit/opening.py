"""Opening a trail for writing, and beginning one.

Invariants: one process has it open; a trail that is damaged is refused and stays as it is; what a killed process left
in the rings is settled before any block is added.
"""

from __future__ import annotations

import os

from tickvault.audit.block import HASH_CODES
from tickvault.audit.files import FILE_HEADER_SIZE, FILE_SIZE_MAX
from tickvault.audit.head import HeadPage, read_page
from tickvault.audit.ring import settle_rings
from tickvault.audit.signing import Signer
from tickvault.audit.tail import current_key_id, find_end
from tickvault.audit.trail import LOCK_NAME, RINGS_FOLDER, TrailWriter
from tickvault.errors import BusyError, InvalidInputError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.seam.disk import Disk, FileLock, OsDisk
from tickvault.seam.host import Host, LinuxHost


def open_trail(
    folder: str,
    signer: Signer,
    *,
    disk: Disk | None = None,
    clock: Clock | None = None,
    host: Host | None = None,
    hash_algorithm: str = "sha-256",
    file_size_max: int = FILE_SIZE_MAX,
    key_lost: bool = False,
    wait: bool = False,
) -> TrailWriter:
    """Open the trail in a folder for writing; it is begun if there is none.

    Parameters
    ----------
    folder : str
        ``VAULT/audit``; made if missing.
    signer : Signer
        Has to be the one that the trail names last.
    hash_algorithm : {'sha-256', 'sm3'}
        Of the blocks to come.
    key_lost : bool
        Go on under a key that the one before did not introduce. Every `verify` will tell, unless it is given the key.
    wait : bool
        Wait until the process that writes now ends, instead of raising `BusyError`.

    Raises
    ------
    BusyError
        Another process writes.
    BrokenBlockError
        The trail is damaged (an `IntegrityError`); nothing was changed.
    InvalidInputError
        The signer is not the trail's.
    """
    if hash_algorithm not in HASH_CODES:
        raise InvalidInputError(f"hash_algorithm: must be one of {', '.join(HASH_CODES)}, was {hash_algorithm!r}")
    if not FILE_HEADER_SIZE < file_size_max <= 1 << 40:
        raise InvalidInputError(f"file_size_max: must be {FILE_HEADER_SIZE + 1} bytes to 1 TiB, was {file_size_max}")
    disk = disk or OsDisk()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lock = FileLock(f"{folder}/{LOCK_NAME}")
    if not lock.acquire(wait=wait):
        lock.close()
        raise BusyError(f"audit trail in {folder}: another process writes it; try again in a moment")
    writer = TrailWriter(
        folder,
        signer,
        disk,
        clock or SystemClock(),
        host or LinuxHost(),
        lock,
        HASH_CODES[hash_algorithm],
        file_size_max,
    )
    try:
        acknowledged = read_page(folder)
        end = find_end(disk, folder, acknowledged, signer.public_key)
        key_id = None if end is None else current_key_id(end)
        if key_id is not None and key_id != signer.public_key.key_id and not key_lost:
            raise InvalidInputError(
                f"audit trail in {folder}: key {key_id.hex()} signs it, and signing.key there is another "
                f"({signer.public_key.key_id.hex()}); put the right one back, from a backup. If it is lost, move the "
                "wrong one away: the trail goes on under a new key, and every verification tells so"
            )
        writer._page = HeadPage(folder)
        if end is None:
            writer._begin()
        else:
            writer._resume(end, acknowledged)
        # Before any block is added: until then, a block number noted in a ring means what it meant.
        settle_rings(f"{folder}/{RINGS_FOLDER}", writer.head.block_number)
        if key_id is None:
            writer._introduce()
        elif key_id != signer.public_key.key_id:
            writer._introduce(lost=True)
    except BaseException:
        writer.close()
        raise
    return writer
