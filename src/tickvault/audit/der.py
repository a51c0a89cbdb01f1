"""As much of DER (ITU-T X.690) as timestamp tokens need.

Invariants: lengths are definite and shortest; nothing is read beyond the element it belongs to, and nesting is walked
by the caller, never by recursion; what is not DER is a `FormatError`.
"""

from __future__ import annotations

from typing import NamedTuple

from tickvault.errors import FormatError

INTEGER, OCTET_STRING, NULL, OID, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31
BOOLEAN, GENERALIZED_TIME = 0x01, 0x18


def context(number: int) -> int:
    """Return the tag of a constructed element [number]."""
    return 0xA0 | number


def element(tag: int, *contents: bytes) -> bytes:
    """Return an element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(raw))) + raw + content


def integer(value: int) -> bytes:
    """Return a non-negative INTEGER."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray((40 * first + second,))
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return element(OID, bytes(content))


class Element(NamedTuple):
    """An element that was read."""

    tag: int
    content: bytes
    raw: bytes
    """With its tag and length."""

    def children(self, *tags: int) -> list[Element]:
        """Return the elements inside; the first ones have to have the tags given.

        Raises
        ------
        FormatError
            They have not, or the content is not DER.
        """
        found: list[Element] = []
        at = 0
        while at < len(self.content):
            child, at = _read(self.content, at)
            found.append(child)
        if [child.tag for child in found[: len(tags)]] != list(tags):
            seen = ", ".join(f"{child.tag:#04x}" for child in found[:12])
            raise FormatError(f"DER: must hold {', '.join(f'{tag:#04x}' for tag in tags)}, held {seen or 'nothing'}")
        return found

    def number(self) -> int:
        """Return an INTEGER's value."""
        if self.tag != INTEGER or not self.content:
            raise FormatError(f"DER: must be an INTEGER, was tag {self.tag:#04x}")
        return int.from_bytes(self.content, "big", signed=True)


def parse(raw: bytes, tag: int) -> Element:
    """Return the one element that bytes hold.

    Raises
    ------
    FormatError
        They hold another one, or none, or more.
    """
    found, end = _read(raw, 0)
    if found.tag != tag or end != len(raw):
        raise FormatError(f"DER: must be one element {tag:#04x} of {len(raw)} bytes, was {found.tag:#04x} of {end}")
    return found


def _read(raw: bytes, start: int) -> tuple[Element, int]:
    if start + 2 > len(raw):
        raise FormatError("DER: an element is cut off")
    tag, size, at = raw[start], raw[start + 1], start + 2
    if tag & 0x1F == 0x1F or size == 0x80:
        raise FormatError("DER: long tags and indefinite lengths are not known")
    if size > 0x80:
        count = size & 0x7F
        size = int.from_bytes(raw[at : at + count], "big")
        at += count
        if count > 4 or size < 0x80 or size >> 8 * (count - 1) == 0:
            raise FormatError("DER: a length is longer than it need be, or too long")
    if at + size > len(raw):
        raise FormatError(f"DER: an element of {size} bytes is cut off")
    return Element(tag, raw[at : at + size], raw[start : at + size]), at + size
