"""Where journals lie, and what they need of the vault."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from tickvault.market.catalog import SeriesKey
from tickvault.seam.clock import Clock
from tickvault.seam.disk import Disk
from tickvault.seam.host import Host

#: Folder in a vault's folder.
FOLDER = "journals"
_NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class Place:
    """The journals of one library."""

    vault: str
    """The vault's folder."""
    bucket_id: int
    disk: Disk
    clock: Clock
    host: Host
    is_strict: Callable[[], bool]
    """Whether an append is answered only after it is on the disk."""
    check_writable: Callable[[], None]
    """Raises `PoisonedError` after a failed sync."""
    poison: Callable[[], None]

    def folder(self, key: SeriesKey) -> str:
        """Return the folder of a series' journal."""
        return os.path.join(self.vault, FOLDER, str(self.bucket_id), folder_name(key))

    def make_folder(self, key: SeriesKey) -> str:
        """Make the folder of a series' journal, its name durable, and return it."""
        made = self.folder(key)
        if not os.path.isdir(made):
            os.makedirs(made, mode=0o700, exist_ok=True)
            for path in (os.path.dirname(made), os.path.dirname(os.path.dirname(made)), self.vault):
                self.disk.sync_directory(path)
        return made


def folder_name(key: SeriesKey) -> str:
    """Return a name that no other series has, and that means nothing to the file system."""
    name = "+".join(quote(word, safe="").replace(".", "%2E") or "%" for word in key)
    if len(name) <= _NAME_MAX:
        return name
    return f"{name[:100]}+{hashlib.sha256(name.encode()).hexdigest()}"


class Floor(NamedTuple):
    """What the catalog knows of a series' journal, which outlives its files."""

    journal_id: str
    """Empty if nothing was ever appended."""
    next_sequence: int
    stamp: int
    consumed: frozenset[int]
    """Bases of the files whose rows are in files of columns."""
    part_keys: frozenset[str]
