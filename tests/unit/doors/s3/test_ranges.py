"""Ranges as S3 reads them."""

import pytest

from tickvault.doors.s3.errors import S3Error
from tickvault.doors.s3.ranges import copy_range, parse_range, part_number, part_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-99", (0, 10)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("Bytes = 1 - 2", (1, 3)),
        # S3 sends the whole object for what is no single, well-formed range.
        ("bytes=5-2", None),
        ("bytes=a-b", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("lines=0-1", None),
        ("bytes=0-1,3-4", None),
        ("0-1", None),
        ("bytes=0x1-2", None),
        ("bytes=١-٢", None),
    ],
)
def test_parse_range(header, expected):
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
        ("bytes=0-0", 0),
    ],
)
def test_a_range_without_a_byte_is_416(header, size):
    with pytest.raises(S3Error) as caught:
        parse_range(header, size)
    assert (caught.value.code, caught.value.status) == ("InvalidRange", 416)
    assert caught.value.details["ActualObjectSize"] == size


@pytest.mark.parametrize("text", ["0", "10001", "-1", "a", "", "1.0", "٣", "9" * 30])
def test_part_numbers_out_of_range(text):
    with pytest.raises(S3Error) as caught:
        part_number(text)
    assert caught.value.code == "InvalidArgument"


def test_part_ranges():
    assert part_number("10000") == 10_000
    assert part_range(1, (), 7) == (0, 7)
    assert part_range(2, (5, 4, 1), 10) == (5, 9)
    with pytest.raises(S3Error) as caught:
        part_range(2, (), 7)
    assert (caught.value.code, caught.value.status) == ("InvalidPartNumber", 416)


def test_copy_ranges_are_read_strictly():
    assert copy_range("bytes=0-9", 10) == (0, 10)
    for header in ("bytes=0-10", "bytes=0-", "bytes=-3", "bytes=5-2", "0-3", "bytes=0-1,2-3"):
        with pytest.raises(S3Error) as caught:
            copy_range(header, 10)
        assert caught.value.code == "InvalidArgument"
