"""Captures for tests, byte by byte: pcap, pcapng, Ethernet, IPv4 and IPv6, UDP."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def udp(payload: bytes, *, port: int = 10378, size: int | None = None) -> bytes:
    return struct.pack(">HHHH", 40000, port, 8 + len(payload) if size is None else size, 0) + payload


def ipv4(body: bytes, *, protocol: int = 17, options: bytes = b"", fragment: int = 0) -> bytes:
    header = 5 + len(options) // 4
    first = struct.pack(">BBHHHBBH", 0x40 | header, 0, header * 4 + len(body), 7, fragment, 64, protocol, 0)
    return first + bytes([10, 0, 0, 1]) + bytes([233, 215, 21, 4]) + options + body


def ipv6(body: bytes, *, following: int = 17, extension: bytes = b"") -> bytes:
    head = struct.pack(">IHBB", 0x60000000, len(extension) + len(body), following, 64)
    return head + bytes(16) + bytes(range(16)) + extension + body


def ethernet(body: bytes, *, kind: int = 0x0800, vlans: Sequence[tuple[int, int]] = (), padding: int = 0) -> bytes:
    tags = b"".join(struct.pack(">HH", tag, number) for tag, number in vlans)
    return (
        b"\x01\x00\x5e\x00\x00\x01"
        + b"\x02\x00\x00\x00\x00\x09"
        + tags
        + struct.pack(">H", kind)
        + body
        + bytes(padding)
    )


def packet(payload: bytes) -> bytes:
    return ethernet(ipv4(udp(payload)))


def pcap(
    packets: Sequence[tuple[int, bytes]], *, endian: str = "<", nano: bool = True, link: int = 1, kept: int = 1 << 30
) -> bytes:
    """Return a pcap of (time in ns, frame); no more than `kept` bytes of each are captured."""
    out = [struct.pack(endian + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)]
    for ts, frame in packets:
        part = ts % 10**9 if nano else ts % 10**9 // 1000
        out.append(struct.pack(endian + "IIII", ts // 10**9, part, min(kept, len(frame)), len(frame)) + frame[:kept])
    return b"".join(out)


def block(kind: int, body: bytes, endian: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(endian + "I", 12 + len(body))
    return struct.pack(endian + "I", kind) + size + body + size


def option(code: int, value: bytes, endian: str = "<") -> bytes:
    return struct.pack(endian + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(endian: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(endian + "IHHq", 0x1A2B3C4D, 1, 0, -1), endian)


def interface(options: bytes = b"", *, link: int = 1, endian: str = "<") -> bytes:
    end = option(0, b"", endian) if options else b""
    return block(1, struct.pack(endian + "HHI", link, 0, 0) + options + end, endian)


def enhanced(ticks: int, frame: bytes, *, number: int = 0, endian: str = "<", options: bytes = b"") -> bytes:
    head = struct.pack(endian + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4) + options, endian)


def pcapng(packets: Sequence[tuple[int, bytes]], *, endian: str = "<") -> bytes:
    """Return a pcapng of (time in ns, frame), its interface in nanoseconds."""
    parts = [section(endian), interface(option(9, b"\x09", endian), endian=endian)]
    return b"".join(parts + [enhanced(ts, frame, endian=endian) for ts, frame in packets])
