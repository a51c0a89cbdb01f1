"""Response heads, rendered.

Invariants: a header value can never start a new line, whatever it holds; Date is that of the current second;
a head says how long its body is, so that no answer depends on the connection being closed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from tickvault.doors.s3.errors import S3Error

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = frozenset({204, 304})


class HeadRenderer:
    """Renders heads; the part that is the same for a second is kept."""

    __slots__ = ("_prefixes", "_second")

    def __init__(self) -> None:
        self._prefixes: dict[int, str] = {}
        self._second = 0

    def refresh(self, now: float | None = None) -> None:
        """Forget last second's prefixes."""
        second = int(time.time() if now is None else now)
        if second != self._second:
            self._second = second
            self._prefixes.clear()

    def render(
        self,
        status: int,
        headers: Mapping[str, str],
        length: int,
        request_id: str,
        connection: str | None = None,
    ) -> bytes:
        """Return the bytes up to and with the empty line.

        Parameters
        ----------
        status : int
            HTTP status.
        headers : mapping of str to str
            Headers of the answer, without Content-Length, Date, Server, Connection and ``x-amz-request-id``.
        length : int
            Size of the body in bytes; left out for statuses that have none.
        request_id : str
            For ``x-amz-request-id``.
        connection : str, optional
            ``close`` or ``keep-alive``; None leaves the header out.

        Raises
        ------
        S3Error
            ``InvalidArgument`` when a header holds a line break or another byte that HTTP forbids.
        """
        prefix = self._prefixes.get(status)
        if prefix is None:
            prefix = self._prefix(status)
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        # Response headers hold what clients stored and what they ask for (response-content-type=…); a line
        # break in one of them would be a second header, or a second answer.
        line_count = len(headers)
        if fields.count("\n") != line_count or fields.count("\r") != line_count or "\0" in fields:
            raise S3Error("InvalidArgument", "A response header would hold a line break.")
        if status not in _BODILESS:
            fields = f"{fields}Content-Length: {length}\r\n"
        if connection is not None:
            fields = f"{fields}Connection: {connection}\r\n"
        try:
            return f"{prefix}{request_id}\r\n{fields}\r\n".encode("latin-1")
        except UnicodeEncodeError:
            raise S3Error("InvalidArgument", "A response header would hold a character beyond Latin-1.") from None

    def _prefix(self, status: int) -> str:
        if not self._second:
            self.refresh()
        prefix = (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"
            f"Server: TickVault\r\nDate: {formatdate(self._second, usegmt=True)}\r\nx-amz-request-id: "
        )
        self._prefixes[status] = prefix
        return prefix


def has_body(status: int) -> bool:
    """Tell whether an answer of this status may have a body."""
    return status not in _BODILESS
