"""What the HTTP layer hands to an S3 operation, and what it takes back.

Invariants: header names are lower-case `str`, header values Latin-1, as HTTP has them, both ways; `path` is
the raw percent-encoded path and `key` the decoded one; a body is read at most once; an operation never
touches the socket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Chunk = bytes | memoryview


class Body(Protocol):
    """The decoded request body: aws-chunked framing removed, signatures and trailers checked as it is
    read."""

    @property
    def length(self) -> int | None:
        """Decoded length in bytes as announced by the client, None if unknown."""

    @property
    def complete(self) -> bool:
        """All of the body has arrived, so that reading it does not wait for the client."""

    @property
    def trailers(self) -> Mapping[str, str]:
        """Trailing headers, complete once the body has been read to its end."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """Base64 values by algorithm (``crc32c``, …) that the client sent and that the body was found to
        match.

        Complete once the body has been read to its end; ready for ``put(checksums=…)``. A mismatch, with
        these or with ``Content-MD5``, raises `S3Error` ``BadDigest`` where the reading ends.
        """

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raises `S3Error` ``EntityTooLarge`` beyond `limit` bytes."""

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Iterate over pieces of the body; back pressure reaches the client."""


@dataclass(slots=True)
class Request:
    """One authenticated S3 request."""

    method: str
    path: str
    bucket: str
    """Empty for the service itself."""
    key: str
    """Decoded object key, empty for a bucket operation."""
    query: Mapping[str, str]
    """Decoded query parameters; a parameter without a value is the empty string."""
    headers: Mapping[str, str]
    body: Body
    access_key: str
    """Who signed the request; empty for an anonymous one."""
    request_id: str
    remote: str = ""
    secure: bool = False
    host: str = ""


@dataclass(slots=True)
class Response:
    """An answer. `body` is bytes-like, or an iterator of verified memoryviews for large objects.

    `length` must be given with an iterator; the iterator is advanced as the client takes the bytes, in a
    worker thread when `blocking` is set (bytes that may have to come from the disk).
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Chunk | Iterator[memoryview] = b""
    length: int | None = None
    blocking: bool = False
