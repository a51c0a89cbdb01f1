"""Several ranges of one object at once.

Invariants: all ranges are of the same version, looked up once, so that a writer in between never mixes two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tickvault.objects.blob import Blob
from tickvault.objects.get import read

if TYPE_CHECKING:
    from tickvault.objects.bucket import Bucket


def get_ranges(
    bucket: Bucket,
    key: str,
    ranges: Sequence[tuple[int, int | None]],
    version_id: str | None,
    customer_key: bytes | None = None,
) -> list[Blob]:
    """Return the ranges [start, end) in the order asked for.

    Raises
    ------
    NotFoundError
        There is no such object or version.
    InvalidInputError
        A range does not lie within the object.
    IntegrityError
        Bytes of a range are damaged; none is returned.
    """
    reader = read(bucket, key, version_id, customer_key)
    return [reader.blob(start, end) for start, end in ranges]
