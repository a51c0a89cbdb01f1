"""The trail in a backup: its files, up to the last block that was acknowledged.

The key that signs comes along, so that a restored vault goes on with the same chain: a backup is to be kept as well as
the vault. Where the key lies elsewhere (a signer of another kind) it is not in the backup. Rings stay where they are.

Invariants: what is copied verifies where it lies, before the backup is said to be done; files that a backup holds
already and that cannot change any more are not copied again; an interrupted copy leaves the one before it whole.
"""

from __future__ import annotations

import os
import shutil

from tickvault.audit.files import file_name, file_numbers
from tickvault.audit.head import PAGE_NAME
from tickvault.audit.keyfile import KEY_FILE, SIGNERS_FILE
from tickvault.audit.verify import verify
from tickvault.errors import IntegrityError
from tickvault.seam.disk import OsDisk, plain_file, storage_error

_PIECE = 4 << 20


def backup_trail(folder: str, destination: str) -> None:
    """Copy the trail as of now.

    Raises
    ------
    IntegrityError
        The copy does not verify: the trail is damaged, and so would be every backup of it.
    """
    numbers = file_numbers(folder)
    if not numbers:
        return
    os.makedirs(destination, mode=0o700, exist_ok=True)
    _copy_files(folder, destination, numbers)
    _check(destination, "the audit trail that was backed up")


def restore_trail(source: str, destination: str) -> None:
    """Copy the trail of a backup into a vault that is being restored; none if the backup is older than trails.

    Raises
    ------
    IntegrityError
        It does not verify; nothing is left at the destination.
    """
    numbers = file_numbers(source)
    if not numbers:
        return
    os.makedirs(destination, mode=0o700, exist_ok=True)
    try:
        _copy_files(source, destination, numbers)
        _check(destination, "the audit trail in the backup")
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise


def _check(folder: str, what: str) -> None:
    report = verify(folder)
    if not report.ok:
        raise IntegrityError(f"{what} is broken: {report.fault}; run `tickvault audit verify`")


def _copy_files(source: str, destination: str, numbers: list[int]) -> None:
    for number in numbers[:-1]:
        name = file_name(number)
        if _size(os.path.join(destination, name)) != _size(os.path.join(source, name)):
            _copy(os.path.join(source, name), os.path.join(destination, name))
    # The page first: what it says was acknowledged is then in the file, which only grows.
    for name in (PAGE_NAME, file_name(numbers[-1]), SIGNERS_FILE, KEY_FILE):
        path = os.path.join(source, name)
        if os.path.exists(path):
            _copy(path, os.path.join(destination, name))
    for number in file_numbers(destination):
        if number > numbers[-1]:
            os.unlink(os.path.join(destination, file_name(number)))
    OsDisk().sync_directory(destination)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return -1


def _copy(source: str, target: str) -> None:
    try:
        fd = os.open(target + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(source, "rb", opener=plain_file) as reader, open(fd, "wb") as writer:
            while piece := reader.read(_PIECE):
                writer.write(piece)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(target + ".part", target)
    except OSError as error:
        raise storage_error(error, "copy", source) from error
