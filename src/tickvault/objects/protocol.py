"""`Store`: the small protocol through which everything above talks to storage.

The buckets of an embedded vault have it, and so will those behind a socket and on an S3 cluster; what is written
against it runs on any of them.

Invariants: a verb means the same whatever is below it; anything a store cannot keep to (a range of an older version,
say) it refuses with an error of `tickvault.errors`, and never answers approximately.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tickvault.objects.blob import Blob
from tickvault.objects.model import DeleteResult, ObjectInfo


@runtime_checkable
class Store(Protocol):
    """Objects by key, ordered by the UTF-8 bytes of their keys.

    ``isinstance`` tells only that the verbs are there, not that they keep their word; the conformance tests do.
    """

    def put(
        self,
        key: str,
        data: Any,
        *,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> ObjectInfo:
        """Write an object, whole or not at all, and return once it is as durable as the store promises.

        Parameters
        ----------
        key : str
            1 to 1,024 bytes of UTF-8, without NUL.
        data : bytes-like or binary file
            The body; a file is read to its end in pieces.
        metadata : mapping of str to str, optional
            User metadata, up to 2 KiB; names are kept in lower case.
        content_type : str, optional
            Stored and given back, never interpreted.
        if_match : str, optional
            Write only over the current version with this entity tag (``"*"``: over any).
        if_none_match : str, optional
            ``"*"``: write only if there is no such object; else only if its entity tag is another.

        Returns
        -------
        ObjectInfo
            Of the version written.

        Raises
        ------
        PreconditionFailedError
            A condition does not hold, and nothing was written. Of any number of writers with ``if_none_match="*"``, or
            with the same ``if_match``, exactly one succeeds.
        NotFoundError
            `if_match` was given and there is no object.
        InvalidInputError
            The key or the metadata breaks a rule.
        """

    def get(self, key: str, *, start: int = 0, end: int | None = None, version_id: str | None = None) -> Blob:
        """Return the bytes [start, end) of an object, verified.

        Parameters
        ----------
        start, end : int
            Offsets in bytes. `end` None, or beyond the end, is the end of the object; `start` may equal the size.
        version_id : str, optional
            A version; the current one by default.

        Raises
        ------
        NotFoundError
            There is no such object (or version: `VersionNotFoundError`), or a delete marker hides it.
        InvalidInputError
            `start` is negative or beyond the end of the object, or `end` is before `start`.
        IntegrityError
            The stored bytes are damaged; none of them is handed out.
        """

    def get_ranges(
        self, key: str, ranges: Sequence[tuple[int, int | None]], *, version_id: str | None = None
    ) -> list[Blob]:
        """Return several ranges [start, end) of one object, all of the same version, in the order asked for.

        Ranges may overlap and repeat; each keeps the rules of `get`. If one is wrong or damaged, none is returned.
        """

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return what is known of an object, without its bytes; raises as `get` does."""

    def delete(self, key: str, *, version_id: str | None = None, if_match: str | None = None) -> DeleteResult:
        """Delete an object, or with `version_id` one version of it for good.

        Where versions are kept, deleting without `version_id` makes a delete marker and removes nothing. Deleting
        what is not there is no error.

        Raises
        ------
        PreconditionFailedError
            The current version's entity tag is not `if_match`.
        NotFoundError
            `if_match` was given and there is no object.
        LockedError
            An object lock keeps the version.
        """

    def copy(
        self,
        key: str,
        dest_key: str,
        *,
        version_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> ObjectInfo:
        """Copy an object (or a version of it) to another key, or onto itself.

        `metadata` None keeps the source's metadata and content type; a mapping replaces both. `if_match` and
        `if_none_match` hold for the destination, as in `put`. Raises as `get` and `put` do.
        """

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        """Iterate over the versions and delete markers of one key, newest first; of none if there is no such key.

        A version that is made or removed meanwhile may or may not be seen; every other one is, once.
        """

    def list(self, prefix: str = "", delimiter: str = "", start_after: str = "") -> Iterator[ObjectInfo | str]:
        """Iterate over the current objects whose keys begin with `prefix`, in byte order of the keys.

        Parameters
        ----------
        prefix : str
            Only keys that begin so.
        delimiter : str
            Keys that hold it after the prefix are rolled up into one `str`, the common prefix up to and with it.
        start_after : str
            Only keys after this one; a common prefix stands for all keys under it.

        Yields
        ------
        ObjectInfo or str
            With key, size, entity tag, sequence, times and lock; a listing does not know content types and metadata.
        """
