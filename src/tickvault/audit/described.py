"""What a record of the journal says, as the layer above tells the follower.

Invariants: `audit` knows no bucket, object or version; the layer above knows no block and no chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tickvault.engine.record import Record


class Described(NamedTuple):
    """What a record of the journal says, in the trail's words."""

    action: str
    bucket_id: int
    key: str
    version_id: str = ""
    size_bytes: int = 0
    detail: dict[str, str] = {}  # noqa: RUF012 -- never changed
    bucket: str = ""
    """Where the record itself names the bucket."""
    system: bool = False
    """The store's own doing."""


#: Told a record and the one before it in its batch; None for a record that says nothing by itself.
Describe = Callable[[Record, Record | None], Described | None]
