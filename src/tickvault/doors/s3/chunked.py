"""The aws-chunked framing of request bodies, taken off piece by piece.

Invariants: pieces are handed on before their chunk's signature is known, so what they are written to must not
be committed before `finish` has returned; framing lines, trailers, chunk counts and the decoded length are
bounded; a chunk's signature is chained to the one before, so that none can be left out, repeated or moved.

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in
Multiple Chunks", and the same with trailing headers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import Enum, auto

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.sigv4 import (
    ALGORITHM,
    EMPTY_SHA256,
    STREAMING_SIGNED,
    STREAMING_UNSIGNED_TRAILER,
    Identity,
)

LINE_SIZE_MAX = 1024
TRAILER_SIZE_MAX = 8 * 1024
#: S3 refuses chunks below 8 KiB other than the last; real clients do send some, a flood of them is an attack.
CHUNK_SIZE_SMALL = 8 * 1024
SMALL_CHUNK_COUNT_MAX = 1024

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?").fullmatch
_TRAILER_LINE = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*(.*?)[ \t]*").fullmatch


class _State(Enum):
    CHUNK_LINE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    END = auto()


class ChunkedDecoder:
    """Takes the framing off one body.

    Parameters
    ----------
    identity : Identity
        Of the request; its `payload` says which of the three framings this is.
    length : int or None
        Decoded length as the client announced it.
    """

    __slots__ = (
        "_chunk_signature",
        "_hash",
        "_identity",
        "_left",
        "_length",
        "_line",
        "_previous_signature",
        "_received",
        "_signed",
        "_small_count",
        "_state",
        "_takes_trailers",
        "_trailer_size",
        "trailers",
    )

    def __init__(self, identity: Identity, length: int | None) -> None:
        self._identity = identity
        self._signed = identity.payload != STREAMING_UNSIGNED_TRAILER
        self._takes_trailers = identity.payload != STREAMING_SIGNED
        self._previous_signature = identity.signature
        self._chunk_signature = ""
        self._hash = hashlib.sha256()
        self._length = length
        self._state = _State.CHUNK_LINE
        self._line = b""
        self._left = 0
        self._small_count = 0
        self._trailer_size = 0
        self._received = 0
        self.trailers: dict[str, str] = {}

    def feed(self, data: bytes) -> list[memoryview]:
        """Take the next bytes of the wire and return the pieces of the body in them.

        Raises
        ------
        S3Error
            ``IncompleteBody``, ``InvalidChunkSizeError``, ``SignatureDoesNotMatch`` or
            ``MalformedTrailerError``.
        """
        pieces: list[memoryview] = []
        view = memoryview(data)
        position = 0
        while position < len(data):
            if self._state is _State.DATA:
                piece = view[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                if self._signed:
                    self._hash.update(piece)
                pieces.append(piece)
                if not self._left:
                    self._end_chunk()
                    self._state = _State.DATA_END
                continue
            end = data.find(b"\n", position)
            line = self._line + data[position : end if end >= 0 else len(data)]
            if len(line) > LINE_SIZE_MAX:
                raise _malformed(f"a line is longer than {LINE_SIZE_MAX} bytes")
            if end < 0:
                self._line = line
                break
            self._line = b""
            position = end + 1
            if not line.endswith(b"\r"):
                raise _malformed("a line does not end with CR LF")
            self._take_line(line[:-1])
        return pieces

    def finish(self) -> None:
        """Check at the end of the wire that the body was whole.

        Raises
        ------
        S3Error
            ``IncompleteBody``.
        """
        if self._state is not _State.END or self._line:
            raise S3Error("IncompleteBody", "The request body terminated unexpectedly")
        if self._length is not None and self._received != self._length:
            raise S3Error(
                "IncompleteBody",
                "The body is not as long as the x-amz-decoded-content-length HTTP header says.",
            )

    def _take_line(self, line: bytes) -> None:
        if self._state is _State.CHUNK_LINE:
            self._start_chunk(line)
        elif self._state is _State.DATA_END:
            if line:
                raise _malformed("a chunk is longer than its announced size")
            self._state = _State.CHUNK_LINE
        elif self._state is _State.TRAILER:
            if line:
                self._take_trailer(line)
            else:
                self._end_trailers()
                self._state = _State.END
        else:
            raise _malformed("there are bytes after the last chunk")

    def _start_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE(line)
        if match is None:
            raise _malformed("a chunk header is not a hexadecimal size and, when signed, a signature")
        if self._signed:
            if match[2] is None:
                raise _malformed("a chunk is not signed")
            self._chunk_signature = match[2].decode("ascii")
        self._left = int(match[1], 16)
        if not self._left:
            self._end_chunk()
            self._state = _State.TRAILER
            return
        self._received += self._left
        if self._length is not None and self._received > self._length:
            raise S3Error("IncompleteBody", "The chunks hold more bytes than x-amz-decoded-content-length says.")
        if self._left < CHUNK_SIZE_SMALL:
            self._small_count += 1
            if self._small_count > SMALL_CHUNK_COUNT_MAX:
                raise S3Error(
                    "InvalidChunkSizeError",
                    f"Only the last chunk is allowed to have a size less than {CHUNK_SIZE_SMALL} bytes",
                )
        self._state = _State.DATA

    def _end_chunk(self) -> None:
        if not self._signed:
            return
        digest = self._hash.hexdigest()
        self._hash = hashlib.sha256()
        expected = self._sign(f"{ALGORITHM}-PAYLOAD", f"{EMPTY_SHA256}\n{digest}")
        if not hmac.compare_digest(expected, self._chunk_signature):
            raise S3Error("SignatureDoesNotMatch", "The signature of a chunk does not match its data.")
        self._previous_signature = expected

    def _take_trailer(self, line: bytes) -> None:
        match = _TRAILER_LINE(line)
        self._trailer_size += len(line)
        if match is None or self._trailer_size > TRAILER_SIZE_MAX or not self._takes_trailers:
            raise S3Error("MalformedTrailerError")
        name = match[1].decode("ascii").lower()
        try:
            value = match[2].decode("utf-8")
        except UnicodeDecodeError:
            raise S3Error("MalformedTrailerError") from None
        if name in self.trailers or "x-amz-trailer-signature" in self.trailers:
            raise S3Error("MalformedTrailerError")  # a repeated one, or one after the signature that covers them
        self.trailers[name] = value

    def _end_trailers(self) -> None:
        given = self.trailers.pop("x-amz-trailer-signature", None)
        if not self._signed or not self._takes_trailers:
            return
        canonical = "".join(f"{name}:{value}\n" for name, value in sorted(self.trailers.items()))
        expected = self._sign(f"{ALGORITHM}-TRAILER", hashlib.sha256(canonical.encode()).hexdigest())
        if given is None or not hmac.compare_digest(expected.encode(), given.encode()):
            raise S3Error("SignatureDoesNotMatch", "The signature of the trailing headers does not match.")

    def _sign(self, algorithm: str, what: str) -> str:
        identity = self._identity
        text = f"{algorithm}\n{identity.timestamp}\n{identity.scope}\n{self._previous_signature}\n{what}"
        assert identity.chunk_key is not None
        return identity.chunk_key.sign(text)


def _malformed(reason: str) -> S3Error:
    return S3Error("IncompleteBody", f"The aws-chunked body is malformed: {reason}.")
