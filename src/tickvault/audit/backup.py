"""The trail in a backup: its files, up to the last block that tells of what the backup holds.

The trail goes on while segments are copied.  What it tells of later changes stays out: a vault that was made of the
backup would miss them, and its trail would be of another vault.  What the trail did not tell yet, it tells from the
journal, once there is a vault again.

The key that signs comes along, so that a restored vault goes on with the same chain: a backup is to be kept as well as
the vault. Where the key lies elsewhere (a signer of another kind) it is not in the backup. Rings stay where they are.

Invariants: what is copied verifies where it lies, before the backup counts; sizes and checksums are noted with those of
the segments, so that a trail that was damaged, cut or taken away in the backup is noticed; files only grow, so that an
interrupted copy leaves the beginnings that the backup before it names.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Any

from tickvault.audit.block import FLAG_KEYS, HEADER_SIZE, RECORDS_MAX, BlockKind
from tickvault.audit.chain import BrokenBlockError, Located, Walk
from tickvault.audit.codec import decode
from tickvault.audit.files import FILE_HEADER_SIZE, file_name, file_numbers
from tickvault.audit.follower import position_of
from tickvault.audit.head import PAGE_NAME, read_page
from tickvault.audit.keyfile import KEY_FILE, SIGNERS_FILE
from tickvault.audit.record import Category
from tickvault.audit.verify import verify
from tickvault.engine.backup import copy_beginning
from tickvault.engine.backup_files import checksum_of, gather, went_another_way
from tickvault.errors import BusyError, IntegrityError
from tickvault.seam.disk import Disk, OsDisk, plain_file

#: What a backup's description notes the trail's files under.
NOTED = "audit"
#: The key that signs, and the public ones: they are copied with what else is written anew as a whole.
KEYS = (SIGNERS_FILE, KEY_FILE)
_FIRST_OFFSETS = Struct("<II")


def backup_trail(
    folder: str, destination: str, end: tuple[int, int], sequence: int, earlier: dict[str, Any]
) -> dict[str, Any]:
    """Copy the trail as far as it tells of what is in the backup, and return what is to be noted of its files.

    Parameters
    ----------
    end : tuple
        Segment and offset where the journal ends in the backup.
    sequence : int
        The last change in it.
    earlier : dict
        What the backup before it noted of the trail's files.

    Raises
    ------
    IntegrityError
        The trail is damaged, and so would be every backup of it.
    BusyError
        Its key was rotated, or it was begun anew, in these very moments.
    """
    if not file_numbers(folder):
        return {}
    os.makedirs(destination, mode=0o700, exist_ok=True)
    last, size = _cut(OsDisk(), folder, end, sequence)
    noted: dict[str, Any] = {}
    for number in range(1, last + 1):
        name = file_name(number)
        source, target = os.path.join(folder, name), os.path.join(destination, name)
        wanted = size if number == last else _size(source)
        before = earlier.get(name)
        if before and before["sealed"] and before["size"] == wanted == _size(target) and _same_file(source, target):
            noted[name] = before
        else:
            noted[name] = {"size": wanted, "crc": copy_beginning(source, target, wanted), "sealed": number < last}
    for number in file_numbers(destination):
        if number > last:
            os.unlink(os.path.join(destination, file_name(number)))
    # Of a release before: the page would vouch for blocks that were left out, the keys are elsewhere now.
    for name in (PAGE_NAME, *KEYS):
        OsDisk().unlink(os.path.join(destination, name))
    OsDisk().sync_directory(destination)
    _check(destination, "the audit trail that was backed up")
    return noted


def check_trail_continues(folder: str, destination: str, earlier: dict[str, Any]) -> None:
    """Raise `FormatError` unless the trail goes on from what the backup before has of it, or was begun anew."""
    if not earlier:
        return
    name = max(earlier)
    source, target, before = os.path.join(folder, name), os.path.join(destination, name), earlier[name]
    if os.path.exists(source) and os.path.exists(target) and not _same_file(source, target):
        return
    if _size(source) < before["size"] or checksum_of(source, before["size"]) != before["crc"]:
        raise went_another_way(os.path.dirname(os.path.abspath(destination)))


def restore_trail(source: str, destination: str, noted: dict[str, Any] | None) -> None:
    """Copy the trail of a backup into a vault that is being restored; none if the backup is older than trails.

    Parameters
    ----------
    noted : dict or None
        What the backup says of its files; None if it was made by a release that noted nothing.

    Raises
    ------
    IntegrityError
        It is damaged or missing.
    """
    numbers = file_numbers(source)
    if not numbers and not noted:
        return
    os.makedirs(destination, mode=0o700, exist_ok=True)
    if noted is None:
        for number in numbers:
            gather(destination, file_name(number), os.path.join(source, file_name(number)))
        for name in (PAGE_NAME, *KEYS):
            gather(destination, name, os.path.join(source, name))
    else:
        for name, of_file in sorted(noted.items()):
            _copy_noted(source, destination, os.path.basename(name), of_file)
    OsDisk().sync_directory(destination)
    _check(destination, "the audit trail in the backup")


def _copy_noted(source: str, destination: str, name: str, noted: dict[str, Any]) -> None:
    path = os.path.join(source, name)
    fault = ""
    if not os.path.isfile(path) or os.path.islink(path):
        fault = "is missing"
    elif _size(path) < noted["size"]:
        fault = "is cut off"
    elif copy_beginning(path, os.path.join(destination, name), noted["size"]) != noted["crc"]:
        fault = "is not what was backed up"
    if fault:
        raise IntegrityError(
            f"{path}, a file of the audit trail, {fault}; take another backup, or restore the objects without their "
            "trail (`tickvault restore --without-trail`)"
        )


def _cut(disk: Disk, folder: str, end: tuple[int, int], sequence: int) -> tuple[int, int]:
    """Return the trail's last file in the backup, and the size it has there."""
    acknowledged = read_page(folder)
    for number in reversed(file_numbers(folder)):
        walk = Walk(disk, folder, first_file=number, last_file=number)
        kept, beyond = FILE_HEADER_SIZE, False
        try:
            for block in walk:
                if acknowledged is not None and block.header.number > acknowledged.block_number:
                    break
                beyond = beyond or _tells_more(disk, block, end, sequence)
                if not beyond:
                    kept = block.end
                elif block.header.flags & FLAG_KEYS:
                    raise BusyError("the audit trail's key was rotated while the backup ran; run it again")
        except BrokenBlockError as error:
            # Behind what was acknowledged lies what is being written now.
            if acknowledged is None or error.fault.block_number <= acknowledged.block_number:
                raise
        if kept > FILE_HEADER_SIZE:
            return number, kept
    raise BusyError("the audit trail was begun anew while the backup ran; run it again")


def _tells_more(disk: Disk, block: Located, end: tuple[int, int], sequence: int) -> bool:
    """Return whether a block tells of a change that is not in the backup."""
    header = block.header
    position = position_of(header.cursor)
    if position is not None and position[:2] > end:
        return True
    if header.kind != BlockKind.RECORDS or header.record_count < RECORDS_MAX:
        return False
    # A commit of more records than a block takes: only the last of its blocks has the cursor behind it.
    first, second = _FIRST_OFFSETS.unpack(disk.pread(block.fd, 8, block.offset + HEADER_SIZE))
    start = block.offset + HEADER_SIZE + 4 * (header.record_count + 1)
    record = decode(disk.pread(block.fd, second - first, start + first))
    return record.category is Category.CHANGE and record.vault_sequence > sequence


def _check(folder: str, what: str) -> None:
    report = verify(folder)
    if not report.ok:
        raise IntegrityError(f"{what} is broken: {report.fault}; run `tickvault audit verify`")


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return -1


def _same_file(one: str, other: str) -> bool:
    """Return whether two files of a trail have one header: a trail that was begun anew has files of the same names."""
    with open(one, "rb", opener=plain_file) as first, open(other, "rb", opener=plain_file) as second:
        return first.read(FILE_HEADER_SIZE) == second.read(FILE_HEADER_SIZE)
