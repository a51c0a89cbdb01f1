"""Putting a trail that cannot be gone on with aside.

A broken trail is evidence, and nothing is ever added to it.  So that the store can be audited again, it is moved,
whole, into a folder of its own, and the next one begins.

Invariants: nothing of the old trail is changed or lost; it is moved under its own lock, so that nobody writes it then.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from tickvault.audit.files import file_name, file_numbers
from tickvault.audit.head import PAGE_NAME, read_page
from tickvault.audit.trail import LOCK_NAME
from tickvault.errors import AlreadyExistsError, BusyError, NotFoundError, StorageError
from tickvault.seam.disk import FileLock, OsDisk


def set_aside(folder: str, now_ns: int) -> tuple[str, dict[str, str]]:
    """Move a trail aside; return where it is now, and what the next one says of it.

    Raises
    ------
    NotFoundError
        There is no trail.
    BusyError
        A process writes it: stop that first.
    """
    numbers = file_numbers(folder)
    if not numbers:
        raise NotFoundError(f"audit trail in {folder}: there is none")
    lock = FileLock(os.path.join(folder, LOCK_NAME))
    try:
        if not lock.acquire(wait=False):
            raise BusyError(f"a process writes the audit trail in {folder}; stop it, so that the trail can be moved")
        page = read_page(folder)
        stamp = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
        target = os.path.join(folder, f"broken-{stamp}")
        try:
            os.mkdir(target, 0o700)
        except FileExistsError:
            raise AlreadyExistsError(f"{target} exists; wait a second") from None
        detail = {"moved_to": os.path.basename(target)}
        if page is not None:
            detail.update(
                trail_id=page.trail_id.hex(), last_sequence=str(page.sequence), last_block=str(page.block_number)
            )
        names = [file_name(number) for number in numbers]
        for name in [*names, PAGE_NAME, "position"]:
            if os.path.exists(os.path.join(folder, name)):
                os.rename(os.path.join(folder, name), os.path.join(target, name))
        OsDisk().sync_directory(target)
        OsDisk().sync_directory(folder)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"moving the audit trail in {folder} aside: {error.strerror}") from error
    finally:
        lock.close()
    return target, detail
