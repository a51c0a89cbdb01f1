"""Reading multipart/form-data as it arrives: the fields whole, the file as a stream.

Invariants: the fields before the file take at most `FIELDS_SIZE_MAX` bytes; the file is never held in memory;
what follows the file must be the end of the form, as S3 demands that the file is its last field.

Sources: RFC 7578; Amazon S3 API Reference, POST Object ("The file or content must be the last field in the
form").
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.message import Body, Chunk

#: S3 allows 20 KB of fields; the policy may take up a part of them.
FIELDS_SIZE_MAX = 20 * 1024 + 2048
_BOUNDARY_LENGTH_MAX = 70
_END_SIZE_MAX = 4096


def boundary_of(content_type: str) -> bytes:
    """Return the boundary of a multipart/form-data body; ``MalformedPOSTRequest`` when there is none."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise S3Error("MalformedPOSTRequest")
    if not 1 <= len(boundary) <= _BOUNDARY_LENGTH_MAX or not boundary.isascii():
        raise S3Error("MalformedPOSTRequest")
    return boundary.encode()


class Form:
    """A form that is being read.

    Attributes
    ----------
    fields : dict of str to str
        Fields before the file, names in lower case; complete after `read_fields`.
    filename : str
        Of the file, without folders; empty when the client gave none.
    file_content_type : str or None
        Of the file's own part.
    """

    def __init__(self, body: Body, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.file_content_type: str | None = None
        self._pieces = body.__aiter__()
        self._delimiter = b"\r\n--" + boundary
        # The first boundary has no line before it; giving it one makes all alike.
        self._buffer = bytearray(b"\r\n")
        self._fields_size = 0

    async def read_fields(self) -> None:
        """Read up to the beginning of the file.

        Raises
        ------
        S3Error
            ``MaxPostPreDataLengthExceededError``, ``MalformedPOSTRequest``, or
            ``IncorrectNumberOfFilesInPostRequest`` when the form ends without a file.
        """
        preamble = await self._until(self._delimiter)
        if preamble.strip():
            raise S3Error("MalformedPOSTRequest")
        while True:
            ending = await self._exactly(2)
            if ending == b"--":
                raise S3Error("IncorrectNumberOfFilesInPostRequest")
            if ending != b"\r\n":
                raise S3Error("MalformedPOSTRequest")
            # Headers may be absent altogether; then their end is the line that follows at once.
            self._buffer[:0] = b"\r\n"
            head = await self._until(b"\r\n\r\n")
            message = _part_headers(head)
            name = message.get_param("name", header="content-disposition")
            if not isinstance(name, str):
                raise S3Error("MalformedPOSTRequest")
            if name.lower() == "file":
                filename = message.get_param("filename", "", header="content-disposition")
                self.filename = str(filename).replace("\\", "/").rpartition("/")[2]
                self.file_content_type = message["content-type"]
                return
            value = await self._until(self._delimiter)
            try:
                self.fields.setdefault(name.lower(), value.decode())
            except UnicodeDecodeError:
                raise S3Error("MalformedPOSTRequest", f"The form field {name} is not UTF-8.") from None

    async def file(self) -> AsyncIterator[Chunk]:
        """Iterate over the bytes of the file; ends only where the form itself ends well."""
        delimiter = self._delimiter
        buffer = self._buffer
        while True:
            place = buffer.find(delimiter)
            if place >= 0:
                if place:
                    yield bytes(buffer[:place])
                del buffer[: place + len(delimiter)]
                await self._end()
                return
            safe = len(buffer) - len(delimiter) + 1
            if safe > 0:
                yield bytes(buffer[:safe])
                del buffer[:safe]
            if not await self._more():
                raise S3Error("MalformedPOSTRequest")

    async def _end(self) -> None:
        if await self._exactly(2) != b"--":
            raise S3Error("IncorrectNumberOfFilesInPostRequest")
        size = len(self._buffer)
        while await self._more():  # the body's own checks come at its end
            size += len(self._buffer)
            self._buffer.clear()
            if size > _END_SIZE_MAX:
                raise S3Error("MalformedPOSTRequest")

    async def _more(self) -> bool:
        try:
            self._buffer += await anext(self._pieces)
        except StopAsyncIteration:
            return False
        return True

    async def _until(self, mark: bytes) -> bytes:
        """Take the bytes up to a mark, and the mark."""
        searched = 0
        while (place := self._buffer.find(mark, searched)) < 0:
            if self._fields_size + len(self._buffer) > FIELDS_SIZE_MAX:
                raise S3Error("MaxPostPreDataLengthExceededError")
            searched = max(0, len(self._buffer) - len(mark))
            if not await self._more():
                raise S3Error("MalformedPOSTRequest")
        taken = bytes(self._buffer[:place])
        del self._buffer[: place + len(mark)]
        self._fields_size += place + len(mark)
        if self._fields_size > FIELDS_SIZE_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")
        return taken

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise S3Error("MalformedPOSTRequest")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _part_headers(head: bytes) -> Message:
    message = Message()
    try:
        for line in head.decode().split("\r\n"):
            if line:
                name, colon, value = line.partition(":")
                if not colon:
                    raise S3Error("MalformedPOSTRequest")
                message[name.strip()] = value.strip()
    except (UnicodeDecodeError, ValueError):
        raise S3Error("MalformedPOSTRequest") from None
    return message
