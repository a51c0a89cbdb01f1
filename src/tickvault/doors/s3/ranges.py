"""Byte ranges and part numbers of a read.

Invariants: a range is (start, end) with end exclusive and start < end <= size; what is not a single,
well-formed range of bytes is no range at all and the whole object is sent, as S3 does; a well-formed range
that holds no byte of the object is ``InvalidRange``.

Sources: RFC 9110, section 14; Amazon S3 API Reference, GetObject (Range, partNumber), UploadPartCopy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tickvault.doors.s3.context import PART_COUNT_MAX
from tickvault.doors.s3.errors import S3Error

_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,19})\s*-\s*([0-9]{0,19})\s*", re.IGNORECASE | re.ASCII)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the bytes a Range header asks for.

    Parameters
    ----------
    header : str
        Such as ``bytes=0-99``, ``bytes=100-`` or ``bytes=-100``.
    size : int
        Of the object, in bytes.

    Returns
    -------
    (int, int) or None
        Start and exclusive end; None when the header is to be ignored.

    Raises
    ------
    S3Error
        ``InvalidRange`` (416) when no byte of the object is asked for.

    Examples
    --------
    >>> parse_range("bytes=2-", 10), parse_range("bytes=-3", 10), parse_range("bytes=0-99", 10)
    ((2, 10), (7, 10), (0, 10))
    >>> parse_range("bytes=0-1,4-5", 10), parse_range("bytes=5-2", 10)
    (None, None)
    """
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start = int(first)
        end = int(last) + 1 if last else size
        if last and end <= start:
            return None
        end = min(end, size)
    elif last:
        start = max(0, size - int(last))
        end = size
    else:
        return None
    if start >= end:
        raise S3Error(
            "InvalidRange",
            headers={"Content-Range": f"bytes */{size}"},
            RangeRequested=header.strip(),
            ActualObjectSize=size,
        )
    return start, end


def part_number(text: str) -> int:
    """Return a part number from a query parameter; ``InvalidArgument`` outside 1 to 10,000."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
    if not 1 <= number <= PART_COUNT_MAX:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PART_COUNT_MAX}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    return number


def part_range(number: int, part_sizes: Sequence[int], size: int) -> tuple[int, int]:
    """Return the bytes of one part; an object that was put in one piece has one part.

    Raises
    ------
    S3Error
        ``InvalidPartNumber`` (416) when there is no such part.
    """
    sizes = part_sizes or (size,)
    if number > len(sizes):
        raise S3Error("InvalidPartNumber", ActualPartCount=len(sizes), PartNumberRequested=number)
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1]


def copy_range(header: str, size: int) -> tuple[int, int]:
    """Return the bytes of an ``x-amz-copy-source-range``, which S3 reads strictly: ``bytes=first-last``.

    Raises
    ------
    S3Error
        ``InvalidArgument`` when it has another form or reaches beyond the source.
    """
    match = re.fullmatch(r"bytes=([0-9]{1,19})-([0-9]{1,19})", header.strip(), re.ASCII)
    if match is None or int(match[2]) < int(match[1]):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last "
            "are the zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    start, end = int(match[1]), int(match[2]) + 1
    if end > size:
        raise S3Error(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    return start, end
