"""What the HTTP layer hands to an S3 operation, and what it takes back.

Invariants: header names are lower-case `str`, header values Latin-1, as HTTP has them, both ways; `path` is
the raw percent-encoded path and `key` the decoded one; a body is read at most once; an operation never
touches the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tickvault.engine.attribution import Caller

if TYPE_CHECKING:
    from tickvault.doors.s3.authorization.authorizer import Authorizer
    from tickvault.doors.s3.authorization.signer import Signer

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

    def read_arrived(self, limit: int) -> bytes:
        """Return the whole of a body that is `complete`, as `read` does."""

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
    tls_version: str = ""
    """Such as ``1.3``; empty without TLS."""
    identity: str = ""
    """Who that is, as an ARN; empty where only the access key is known."""
    action: str = ""
    """S3's name of the operation, once it is known."""
    caller: Caller | None = None
    """Whose the changes of this request are."""
    signer: Signer | None = None
    """Who signed, with their rights; None for an anonymous request."""
    authorizer: Authorizer | None = None
    """Decides what an operation still has to ask, once it was decided that it may run."""
    acl_decides: bool = False
    """No policy allows the read, so that the canned ACL of the object does, or nothing."""


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
    error: str = ""
    """S3's code, of an answer that is an error; ``ObjectLocked`` where a lock refused."""
    reason: str = ""
    """Why, where a policy or a lock refused."""
    version_id: str = ""
    """The version whose lock refused, which the request need not have named."""


#: How something ended: returns its result, or raises its error.
Outcome = Callable[[], Any]


class Deferred:
    """An answer that is made from an outcome which is not there yet, without a task that waits for it.

    A task, its future and the loop's turns between them would take longer than the rest of a small write. It may be
    awaited all the same. Everything happens on the event loop.

    Parameters
    ----------
    make : callable
        Given the outcome, returns the answer or raises.
    """

    __slots__ = ("_make", "_outcome", "_then")

    def __init__(self, make: Callable[[Outcome], Response]) -> None:
        self._make = make
        self._outcome: Outcome | None = None
        self._then: Callable[[Outcome], None] | None = None

    def wrap(self, wrapper: Callable[[Outcome], Response]) -> None:
        """Let a function stand between the answer, or its error, and whoever takes it."""
        make = self._make
        self._make = lambda outcome: wrapper(partial(make, outcome))

    def settle(self, outcome: Outcome) -> None:
        """Say how it ended; once."""
        self._outcome = outcome
        if self._then is not None:
            self._then(partial(self._make, outcome))

    def then(self, callback: Callable[[Outcome], None]) -> None:
        """Call back once with what returns the answer, or raises; at once if it is there."""
        self._then = callback
        if self._outcome is not None:
            callback(partial(self._make, self._outcome))

    def __await__(self) -> Generator[Any, None, Response]:
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.then(partial(resolve, future))
        return future.__await__()


def resolve(future: asyncio.Future[Any], outcome: Outcome) -> None:
    """Give a future its outcome, unless nobody waits for it any more."""
    if future.done():
        return
    try:
        future.set_result(outcome())
    except BaseException as error:  # the outcome is the waiter's, whatever it is
        future.set_exception(error)
