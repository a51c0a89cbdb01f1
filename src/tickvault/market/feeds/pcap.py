"""Packet captures, pcap and pcapng, into the UDP payloads that they hold.

A chunk of the file is walked by a kernel: link layer (Ethernet with VLAN tags, Linux cooked, raw IP, loopback), IPv4
with options or IPv6 with extension headers, UDP; anything else is passed over.

Invariants: payloads come in the order of the capture; one shorter than its headers say is told as cut; the time of a
packet is int64 ns UTC, exact down to the resolution of the capture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.columns import Array
from tickvault.market.feeds.source import Member

CHUNK_SIZE = 4 * 1024 * 1024
#: A packet that says it is longer than this is damage.
PACKET_SIZE_MAX = 16 * 1024 * 1024
INTERFACE_COUNT_MAX = 1024
_NS = 1_000_000_000
_NG = 0x0A0D0D0A
#: By the first four bytes: (big-endian, units of a second's fraction are nanoseconds).
_PCAP = {
    b"\xd4\xc3\xb2\xa1": (False, False),
    b"\x4d\x3c\xb2\xa1": (False, True),
    b"\xa1\xb2\xc3\xd4": (True, False),
    b"\xa1\xb2\x3c\x4d": (True, True),
}
_RIGHT, _DAMAGED, _INTERFACES = 0, 1, 2


class Payloads(NamedTuple):
    """The UDP payloads of one chunk of a capture."""

    data: Array
    """uint8: the chunk."""
    starts: Array
    """int64: where each payload begins in `data`."""
    ends: Array
    """int64: where it ends, as far as it was captured."""
    cut: Array
    """bool: less was captured than was sent."""
    ts: Array
    """int64 ns UTC; `TIME_NULL` where the capture gives none."""
    records: Array
    """int64: where the packet's record begins in `data`."""
    offset: int
    """Of `data` in the capture."""
    last: bool
    """No later packet can be waited for."""


def is_capture(head: bytes) -> bool:
    """Return whether the first bytes are those of a pcap or a pcapng file."""
    return head[:4] in _PCAP or (head[:4] == b"\n\r\r\n" and head[8:12] in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"))


@njit(nogil=True, cache=True)
def _number(data: Any, place: Any, size: Any, big: Any) -> Any:
    value = np.int64(0)
    for step in range(size):
        value = (value << 8) | np.int64(data[place + (step if big else size - 1 - step)])
    return value


@njit(nogil=True, cache=True)
def _ip_start(data: Any, start: Any, end: Any, link: Any) -> Any:
    """Return where the IP header begins, -1 if there is none."""
    kind = 0
    place = start
    if link == 1:  # Ethernet
        place = start + 12
        if place + 2 > end:
            return -1
        kind = _number(data, place, 2, True)
        place += 2
        while kind in (0x8100, 0x88A8, 0x9100):
            if place + 4 > end:
                return -1
            kind = _number(data, place + 2, 2, True)
            place += 4
    elif link == 113:  # Linux cooked
        if start + 16 > end:
            return -1
        kind = _number(data, start + 14, 2, True)
        place = start + 16
    elif link == 276:  # Linux cooked, version 2
        if start + 20 > end:
            return -1
        kind = _number(data, start, 2, True)
        place = start + 20
    elif link in (0, 108):  # loopback: the family's number, of either endianness
        place = start + 4
        kind = 0x0800
    elif link in (12, 14, 101, 228, 229):  # raw IP
        kind = 0x0800
    if kind not in (0x0800, 0x86DD) or place >= end:
        return -1
    return place


@njit(nogil=True, cache=True)
def _udp(data: Any, start: Any, end: Any, link: Any) -> Any:
    """Return (where the payload begins, where it should end), (-1, 0) if the packet is no whole UDP datagram."""
    place = _ip_start(data, start, end, link)
    if place < 0:
        return -1, 0
    version = data[place] >> 4
    if version == 4:
        if place + 20 > end:
            return -1, 0
        header = (data[place] & 15) * 4
        if header < 20 or data[place + 9] != 17 or _number(data, place + 6, 2, True) & 0x3FFF:
            return -1, 0
        place += header
    elif version == 6:
        if place + 40 > end:
            return -1, 0
        following = data[place + 6]
        place += 40
        while following in (0, 43, 51, 60):
            if place + 8 > end:
                return -1, 0
            size = np.int64(data[place + 1])
            size = (size + 2) * 4 if following == 51 else (size + 1) * 8
            following = data[place]
            place += size
        if following != 17:
            return -1, 0
    else:
        return -1, 0
    if place + 8 > end:
        return -1, 0
    size = _number(data, place + 4, 2, True)
    if size == 0:
        return place + 8, end
    if size < 8:
        return -1, 0
    return place + 8, place + size


@njit(nogil=True, cache=True)
def _walk_pcap(data: Any, start: Any, big: Any, unit: Any, link: Any, out: Any, cut: Any) -> Any:
    """Walk whole records; return (payloads, where the next record begins, whether it is damaged)."""
    count, size = 0, len(data)
    place = start
    while place + 16 <= size:
        length = _number(data, place + 8, 4, big)
        if length > 16777216:
            return count, place, 1
        if place + 16 + length > size:
            break
        first, until = _udp(data, place + 16, place + 16 + length, link)
        if first >= 0:
            end = min(until, place + 16 + length)
            out[0, count] = first
            out[1, count] = end
            out[2, count] = _number(data, place, 4, big) * 1_000_000_000 + _number(data, place + 4, 4, big) * unit
            out[3, count] = place
            cut[count] = end < until
            count += 1
        place += 16 + length
    return count, place, 0


@njit(nogil=True, cache=True)
def _resolved(high: Any, low: Any, resolution: Any) -> Any:
    """Return a stamp of pcapng in ns; the resolution is 10**-n, or with its top bit 2**-n."""
    ticks = (high << 32) | low
    power = resolution & 127
    if resolution & 128:
        if power >= 63:
            return 0
        whole = ticks >> power
        rest = ticks & ((1 << power) - 1)
        if power > 33:
            rest >>= power - 33
            power = 33
        return whole * 1_000_000_000 + ((rest * 1_000_000_000) >> power)
    for _ in range(power, 9):
        ticks *= 10
    for _ in range(9, power):
        ticks //= 10
    return ticks


@njit(nogil=True, cache=True)
def _interface(data: Any, place: Any, length: Any, big: Any, interfaces: Any, state: Any) -> Any:
    number = state[1]
    if number >= interfaces.shape[0]:
        return False
    interfaces[number, 0] = _number(data, place + 8, 2, big)
    interfaces[number, 1] = 6
    interfaces[number, 2] = 0
    option, end = place + 16, place + length - 4
    while option + 4 <= end:
        code, size = _number(data, option, 2, big), _number(data, option + 2, 2, big)
        if code == 0 or option + 4 + size > end:
            break
        if code == 9 and size >= 1:
            interfaces[number, 1] = data[option + 4]
        elif code == 14 and size >= 8:
            interfaces[number, 2] = _number(data, option + 4, 8, big)
        option += 4 + (size + 3) // 4 * 4
    state[1] = number + 1
    return True


@njit(nogil=True, cache=True)
def _walk_pcapng(data: Any, start: Any, interfaces: Any, state: Any, out: Any, cut: Any) -> Any:
    """Walk whole blocks; `state` is (big-endian, number of interfaces).

    Stop before the next description of an interface once there are payloads, so that a chunk has one set of them.
    """
    count, size = 0, len(data)
    place = start
    while place + 12 <= size:
        kind = _number(data, place, 4, state[0] == 1)
        if kind == 0x0A0D0D0A:
            if count:
                return count, place, 2
            state[0] = 1 if _number(data, place + 8, 4, True) == 0x1A2B3C4D else 0
            if _number(data, place + 8, 4, state[0] == 1) != 0x1A2B3C4D:
                return count, place, 1
        big = state[0] == 1
        length = _number(data, place + 4, 4, big)
        if length < 12 or length % 4 or length > 16777216:
            return count, place, 1
        if place + length > size:
            break
        if _number(data, place + length - 4, 4, big) != length:
            return count, place, 1
        if kind == 0x0A0D0D0A:
            state[1] = 0
        elif kind == 1:
            if count:
                return count, place, 2
            if length < 20 or not _interface(data, place, length, big, interfaces, state):
                return count, place, 1
        elif kind in (2, 3, 6):
            number, captured, first = 0, 0, place + 28
            if kind == 6 and length >= 32:
                number = _number(data, place + 8, 4, big)
                captured = _number(data, place + 20, 4, big)
            elif kind == 2 and length >= 32:
                number = _number(data, place + 8, 2, big)
                captured = _number(data, place + 20, 4, big)
            elif kind == 3 and length >= 16:
                first = place + 12
                captured = min(_number(data, place + 8, 4, big), length - 16)
            if first + captured + 4 > place + length or number >= state[1]:
                return count, place, 1
            begin, until = _udp(data, first, first + captured, interfaces[number, 0])
            if begin >= 0:
                end = min(until, first + captured)
                out[0, count] = begin
                out[1, count] = end
                out[2, count] = np.iinfo(np.int64).min
                if kind != 3:
                    high, low = _number(data, place + 12, 4, big), _number(data, place + 16, 4, big)
                    shift = interfaces[number, 2] * 1_000_000_000
                    out[2, count] = _resolved(high, low, interfaces[number, 1]) + shift
                out[3, count] = place
                cut[count] = end < until
                count += 1
        place += length
    return count, place, 0


class Capture:
    """A capture that is read chunk by chunk, of which a chunk's end may be kept for the next one.

    Parameters
    ----------
    head : bytes
        Its first bytes.
    blocks : iterator of bytes
        All its bytes.
    name : str
        For messages.
    """

    def __init__(self, head: bytes, blocks: Iterator[bytes], name: str) -> None:
        if not is_capture(head):
            raise InvalidInputError(f"ingest {name}: it is no pcap or pcapng capture, but begins with {head[:4].hex()}")
        self._name = name
        self._blocks = blocks
        self._kind = _PCAP.get(head[:4])
        self._rest = b""
        self._offset = 0
        """Of the rest in the capture."""
        self._begin = 0
        """Where the first record lies in the chunk."""
        self._again = self._ended = False
        self._link = 0
        self._interfaces = np.zeros((INTERFACE_COUNT_MAX, 3), np.int64)
        self._state = np.zeros(2, np.int64)
        self.damage: IntegrityError | None = None
        """What is wrong with the file; to be raised after what could be read."""

    @classmethod
    def of(cls, member: Member, head: bytes) -> Capture:
        """Return the capture in a member of a source."""
        return cls(head, member.blocks(CHUNK_SIZE), member.path)

    @property
    def rest(self) -> bytes:
        """What is left after the last chunk: nothing, or a packet that the file ends in."""
        return self._rest

    def keep(self, record: int, chunk: Payloads) -> None:
        """Let the next chunk begin with a record of this one."""
        self._rest = chunk.data[record:].tobytes()
        self._offset = chunk.offset + record

    def chunk(self) -> Payloads | None:
        """Return the next payloads, None at the end of the capture."""
        block = b""
        if not self._again and not self._ended:
            try:
                block = next(self._blocks, b"")
            except IntegrityError as error:
                self.damage = error
            self._ended = not block
        if self._ended and not self._again and (not self._rest or self._offset < 0):
            return None
        data = self._rest + block
        if self._kind and self._offset == 0 and not self._begin:
            if len(data) < 24:
                if self._ended:
                    return None
                self._rest = data
                return self.chunk()
            self._begin = 24
            big = self._kind[0]
            self._link = int.from_bytes(data[20:24], "big" if big else "little") & 0x0FFFFFFF
        payloads, place, status = self._walked(data)
        ended = self._ended and status != _INTERFACES
        if status == _DAMAGED and self.damage is None:
            self.damage = IntegrityError(
                f"ingest {self._name}: the capture is damaged at byte {self._offset + place}: no record can begin there"
            )
        self._again = status == _INTERFACES
        if status == _DAMAGED:
            self._ended = ended = True
            data = data[:place]
        made = payloads._replace(last=ended or self._again)
        self._rest, self._offset, self._begin = data[place:], self._offset + place, 0
        if ended:
            # What remains is no whole record; there is no further chunk.
            self._ended, self._offset = True, -1
        return made

    def _walked(self, data: bytes) -> tuple[Payloads, int, int]:
        chunk = np.frombuffer(data, np.uint8)
        limit = len(data) // 16 + 1
        out, cut = np.empty((4, limit), np.int64), np.empty(limit, np.bool_)
        if self._kind:
            big, nano = self._kind
            count, place, status = _walk_pcap(chunk, self._begin, big, 1 if nano else 1000, self._link, out, cut)
        else:
            count, place, status = _walk_pcapng(chunk, 0, self._interfaces, self._state, out, cut)
        starts, ends, ts, records = (out[row, :count] for row in range(4))
        return Payloads(chunk, starts, ends, cut[:count], ts, records, self._offset, False), place, status


def first_payloads(head: bytes) -> list[bytes]:
    """Return the UDP payloads in the first bytes of a capture, to tell by them what it holds."""
    if not is_capture(head):
        return []
    chunk = Capture(head, iter([head]), "").chunk()
    if chunk is None:
        return []
    return [bytes(chunk.data[start:end]) for start, end in zip(chunk.starts.tolist(), chunk.ends.tolist(), strict=True)]
