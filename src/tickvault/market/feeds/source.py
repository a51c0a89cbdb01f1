"""A file to ingest: its name, its digest, and its bytes with the compression taken off.

Invariants: reading is in blocks, so that memory does not grow with the file; a compressed file that ends early raises,
after what could be read was given.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from tickvault.errors import IntegrityError, InvalidInputError, NotFoundError

BLOCK_SIZE = 16 * 1024 * 1024
_HEAD_SIZE = 64 * 1024
_COMPRESSED_SIZE = 16 * 1024
_PIECE_SIZE = 256 * 1024
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"


class Source:
    """A file to ingest."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):
            raise NotFoundError(f"ingest {self.path}: there is no such file")

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return os.path.basename(self.path)

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the folders that it lies in, outermost first; some formats say venue and symbol there."""
        return tuple(os.path.dirname(os.path.abspath(self.path)).strip(os.sep).split(os.sep))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file as it lies there, hex: the source's identity."""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the first member, decompressed; fewer where it is shorter or damaged."""
        try:
            member = next(iter(self.members()), None)
            return b"" if member is None else next(member.blocks(_HEAD_SIZE), b"")
        except IntegrityError:
            return b""

    def members(self) -> Iterator[Member]:
        """Iterate over what the file holds: itself, or the files in a zip, in the zip's order."""
        with open(self.path, "rb") as file:
            magic = file.read(4)
        if magic != _ZIP:
            yield Member(self.path, self.name, None, magic)
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise IntegrityError(f"ingest {self.path}: the zip is damaged ({error})") from error
        for name in names:
            yield Member(self.path, name, name, magic)


class Member(NamedTuple):
    """One stream of bytes in a source."""

    path: str
    name: str
    """Of the file in the zip, or of the file itself."""
    inside: str | None
    magic: bytes

    def blocks(self, size: int = BLOCK_SIZE) -> Iterator[bytes]:
        """Iterate over the decompressed bytes, `size` at a time.

        Raises
        ------
        IntegrityError
            The compressed stream is damaged or ends early; raised after what could be read.
        """
        gathered: list[bytes] = []
        length = 0
        torn: Exception | None = None
        pieces = self._pieces(size)
        while torn is None:
            try:
                piece = next(pieces, b"")
            except _damage() as error:
                torn = error
                break
            if not piece:
                break
            gathered.append(piece)
            length += len(piece)
            if length >= size:
                whole = b"".join(gathered)
                yield from (whole[at : at + size] for at in range(0, length - length % size, size))
                gathered = [whole[length - length % size :]]
                length %= size
        if length:
            yield b"".join(gathered)
        if torn is not None:
            raise IntegrityError(f"ingest {self.path}: {self.name} is damaged or cut off ({torn})") from torn

    def lines(self, size: int = BLOCK_SIZE, end: bytes = b"\n") -> Iterator[bytes]:
        """Iterate over blocks that end at a line's end; the last may lack its newline."""
        rest = b""
        for block in self.blocks(size):
            cut = block.rfind(end) + 1
            if cut == 0:
                rest += block
                continue
            yield rest + block[:cut]
            rest = block[cut:]
        if rest:
            yield rest

    def _pieces(self, size: int) -> Iterator[bytes]:
        """Iterate over the decompressed bytes, in pieces so small that little is lost where the stream ends early."""
        if self.inside is not None:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.inside) as packed:
                while piece := packed.read(_PIECE_SIZE):
                    yield piece
        elif self.magic[:2] == _GZIP:
            with gzip.open(self.path, "rb") as stream:
                while piece := stream.read1(_PIECE_SIZE):
                    yield piece
        elif self.magic == _ZSTD:
            yield from self._zstd_pieces()
        else:
            with open(self.path, "rb") as file:
                while piece := file.read(size):
                    yield piece

    def _zstd_pieces(self) -> Iterator[bytes]:
        """Decompress frame after frame; the library's own reader says nothing of a frame that ends early."""
        frames = _zstandard(self.path).ZstdDecompressor()
        frame = frames.decompressobj()
        begun = False
        with open(self.path, "rb") as file:
            while compressed := file.read(_COMPRESSED_SIZE):
                while compressed:
                    begun = True
                    if piece := frame.decompress(compressed):
                        yield piece
                    compressed = b""
                    if frame.eof:
                        compressed, frame, begun = frame.unused_data, frames.decompressobj(), False
        if begun:
            raise EOFError("a zstandard frame ends early")


def _zstandard(path: str) -> Any:
    try:
        import zstandard
    except ImportError:
        raise InvalidInputError(
            f"ingest {path}: it is compressed with zstandard; install the extra: pip install 'tickvault[market]'"
        ) from None
    return zstandard


def _damage() -> tuple[type[Exception], ...]:
    """Return the errors that tell of a damaged stream."""
    damage: tuple[type[Exception], ...] = (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile)
    try:
        import zstandard
    except ImportError:
        return damage
    return (*damage, zstandard.ZstdError)
