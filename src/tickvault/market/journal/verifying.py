"""Checking the journals of a vault: every frame that was acknowledged, against its checksum.

Invariants: nothing is changed; a file that becomes a file of columns meanwhile is not damage.
"""

from __future__ import annotations

import os

from tickvault.errors import TickVaultError
from tickvault.market.journal.file import JournalFile, bases_in, file_name
from tickvault.market.journal.place import FOLDER
from tickvault.market.journal.state import Extent, StatePage
from tickvault.seam.disk import OsDisk
from tickvault.seam.host import Host


def verify_journals(vault: str, host: Host) -> tuple[int, list[str]]:
    """Return (rows checked, what is damaged, in words)."""
    rows, damaged = 0, []
    top = os.path.join(vault, FOLDER)
    for folder, _, names in sorted(os.walk(top)):
        bases = bases_in(names)
        extent = _extent(folder, host) if "state" in names else None
        files: list[JournalFile] = []
        if extent is not None and extent.base >= 0 and extent.base not in bases:
            damaged.append(f"journal {os.path.join(folder, file_name(extent.base))}: the file is gone")
        for base in bases:
            if extent is not None and 0 <= extent.base < base:
                continue
            try:
                files.append(JournalFile(OsDisk(), os.path.join(folder, file_name(base)), keep_rows=False))
            except FileNotFoundError:
                continue
            except TickVaultError as error:
                damaged.append(str(error))
        for number, file in enumerate(files):
            successor = files[number + 1].header if number + 1 < len(files) else None
            end = None
            if successor is not None and successor.previous_base == file.header.base:
                end = successor.previous_end
            elif extent is not None and extent.base == file.header.base:
                end = extent.end
            try:
                file.advance(end)
                if end is None:
                    file.check_end()
            except TickVaultError as error:
                damaged.append(str(error))
            rows += file.next_sequence - file.header.base
            file.close()
    return rows, damaged


def _extent(folder: str, host: Host) -> Extent | None:
    page = StatePage(os.path.join(folder, "state"))
    try:
        return page.read() if page.journal_id(host.boot_id()) is not None else None
    finally:
        page.close()
