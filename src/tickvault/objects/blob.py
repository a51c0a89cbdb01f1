"""What a read gives back: verified bytes, not copied.

Invariants: every byte of a `Blob` was checked against its checksum before it was handed out; its memory stays valid
and unchanged for as long as it is held, also after the object was overwritten, deleted or compacted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tickvault.errors import InvalidInputError
from tickvault.objects.model import ObjectInfo

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket
    from tickvault.objects.get import ObjectReader

U8 = np.dtype(np.uint8)


def _bytes_of(buffer: Any) -> memoryview:
    return memoryview(buffer)


class Blob(np.ndarray[Any, np.dtype[np.uint8]]):
    """The bytes of an object or of a range of it, read-only.

    ``memoryview(blob)`` is zero-copy, ``bytes(blob)`` copies; ``blob.info`` is the `ObjectInfo` of the version read.
    It is a one-dimensional numpy array of uint8 (Python 3.11 has no other way for a class to offer its memory), so
    ``blob.view("<i8")`` gives columns without a copy; comparing and slicing work as for bytes.
    """

    __slots__ = ("_source",)
    _source: ObjectInfo | ObjectReader | tuple[Bucket, bytes, bytes]
    """The info, or what it is made from when it is asked for: the reader, or bucket, key and index entry."""

    if TYPE_CHECKING:
        # numpy's stubs say so only from Python 3.12 on; `memoryview(blob)` and `bytes(blob)` are part of the contract.
        def __buffer__(self, flags: int, /) -> memoryview: ...

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object version these bytes are from."""
        if getattr(self, "_source", None) is None:
            raise InvalidInputError("this array was derived from a blob; ask the blob that was read for its info")
        source = self._source
        if isinstance(source, ObjectInfo):
            return source
        if isinstance(source, tuple):
            from tickvault.objects.get import info_of_source

            self._source = info = info_of_source(*source)
        else:
            self._source = info = source.info
        return info

    def __eq__(self, other: object) -> bool:
        """Compare bytes."""
        try:
            return bool(_bytes_of(self) == _bytes_of(other))
        except TypeError:
            return NotImplemented

    def __ne__(self, other: object) -> bool:
        """Compare bytes."""
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:  # type: ignore[override]
        """Hash as bytes do."""
        return hash(bytes(self))

    def __bool__(self) -> bool:
        """Whether there is a byte."""
        return self.size > 0

    def __getitem__(self, item: Any) -> Any:
        """Return an int, or a memoryview of a slice."""
        return _bytes_of(self)[item]

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """Return a plain numpy array over the same memory, as ``numpy.ndarray.view`` does: ``blob.view("<i8")``."""
        return super().view(np.ndarray).view(*args, **kwargs)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Results of arithmetic are plain: they are no bytes of an object any more."""
        plain = np.asarray(array)
        return plain[()] if plain.ndim == 0 else plain

    def __repr__(self) -> str:
        """Show the size, and the beginning."""
        head = bytes(_bytes_of(self)[:16])
        return f"<Blob of {self.size} bytes {head!r}{'…' if self.size > len(head) else ''}>"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        """Pickle as bytes."""
        return bytes, (bytes(self),)
