"""The body of a request that was read before its operation, to decide whether it may run.

Invariants: what the operation reads is what was decided upon, byte by byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Chunk

_NOTHING: dict[str, str] = {}


class ReadBody:
    """A body whose bytes are here, and were found right.

    Parameters
    ----------
    data : bytes
        All of it.
    """

    complete = True
    trailers: Mapping[str, str] = _NOTHING
    checksums: Mapping[str, str] = _NOTHING

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._given = False

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self.data)

    async def read(self, limit: int) -> bytes:
        """Return all of it; raises `S3Error` ``EntityTooLarge`` beyond `limit` bytes."""
        return self.read_arrived(limit)

    def read_arrived(self, limit: int) -> bytes:
        """Return all of it."""
        if len(self.data) > limit:
            raise S3Error("EntityTooLarge", None, MaxSizeAllowed=limit)
        return self.data

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        if self._given or not self.data:
            raise StopAsyncIteration
        self._given = True
        return self.data
