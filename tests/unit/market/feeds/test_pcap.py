"""Captures: every way to UDP payloads, and what is no capture."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import captures_writing as write
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.errors import IntegrityError, InvalidInputError
from tickvault.market.feeds.pcap import Capture, first_payloads, is_capture
from tickvault.market.schema import TIME_NULL

T = 1_548_858_600_123_456_789


def read(data: bytes, size: int = 1 << 22) -> list[tuple[int, bytes, bool]]:
    capture = Capture(data[:24], iter([data[at : at + size] for at in range(0, len(data), size)]), "test")
    found = []
    while (chunk := capture.chunk()) is not None:
        rows = zip(chunk.ts, chunk.starts, chunk.ends, chunk.cut, strict=True)
        found += [(int(ts), chunk.data[start:end].tobytes(), bool(cut)) for ts, start, end, cut in rows]
    if capture.damage:
        raise capture.damage
    return found


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_of_either_endianness_and_resolution(endian: str, nano: bool) -> None:
    data = write.pcap([(T, write.packet(b"odd")), (T + 1, write.packet(b""))], endian=endian, nano=nano)
    assert is_capture(data)
    stamps = [T, T + 1] if nano else [T // 1000 * 1000] * 2
    assert read(data) == [(stamps[0], b"odd", False), (stamps[1], b"", False)]


@pytest.mark.parametrize("endian", ["<", ">"])
def test_pcapng_of_either_endianness(endian: str) -> None:
    data = write.pcapng([(T, write.packet(b"abc")), (T + 5, write.packet(b"de"))], endian=endian)
    assert is_capture(data)
    assert read(data) == [(T, b"abc", False), (T + 5, b"de", False)]


@pytest.mark.parametrize(
    ("options", "ticks", "ns"),
    [
        (b"", T // 1000, T // 1000 * 1000),
        (write.option(9, b"\x06"), T // 1000, T // 1000 * 1000),
        (write.option(9, b"\x03"), T // 10**6, T // 10**6 * 10**6),
        (write.option(9, b"\x0a"), 10 * (T % 10**17) + 7, T % 10**17),
        (write.option(9, b"\x00"), T // 10**9, T // 10**9 * 10**9),
        (write.option(9, b"\x94"), 1_548_858_600 << 20 | 1 << 19, 1_548_858_600_500_000_000),
        (write.option(9, b"\x9e"), 1_548_858_600 << 30 | 3 << 28, 1_548_858_600_750_000_000),
        (
            write.option(2, b"eth0") + write.option(9, b"\x09") + write.option(14, struct.pack("<q", -5)),
            T,
            T - 5 * 10**9,
        ),
    ],
)
def test_pcapng_resolutions_and_offset(options: bytes, ticks: int, ns: int) -> None:
    data = write.section() + write.interface(options) + write.enhanced(ticks, write.packet(b"x"))
    assert read(data) == [(ns, b"x", False)]


def test_pcapng_interfaces_sections_and_other_blocks() -> None:
    nano, packet = write.interface(write.option(9, b"\x09")), write.packet(b"1")
    raw = write.interface(write.option(9, b"\x09"), link=101)
    old = struct.pack("<HHIIII", 1, 0, T >> 32, T & 0xFFFFFFFF, len(packet), len(packet)) + packet
    data = b"".join(
        [
            write.section(),
            write.block(4, b"names here"),
            nano,
            write.enhanced(T, packet, options=write.option(1, b"comment") + write.option(0, b"")),
            raw,
            write.enhanced(T + 1, write.ipv4(write.udp(b"2")), number=1),
            write.block(0x0BAD, b"\1\2\3"),
            write.block(2, old.replace(struct.pack("<HH", 1, 0), struct.pack("<HH", 0, 0), 1)),
            write.block(3, struct.pack("<I", len(packet)) + packet),
            write.section(">"),
            write.interface(write.option(9, b"\x09", ">"), endian=">"),
            write.enhanced(T + 3, write.packet(b"3"), endian=">"),
        ]
    )
    wanted = [(T, b"1", False), (T + 1, b"2", False), (T, b"1", False), (TIME_NULL, b"1", False), (T + 3, b"3", False)]
    assert read(data) == wanted
    assert read(data, 37) == wanted


def test_ways_to_udp() -> None:
    inner = write.udp(b"hello")
    tcp = struct.pack(">HHIIHHHH", 1, 2, 3, 4, 0x5000, 0, 0, 0) + b"not this"
    hop = struct.pack(">BB6x", 43, 0) + struct.pack(">BB14x", 17, 1)
    frames = {
        "plain, padded": write.ethernet(write.ipv4(write.udp(b"hi")), padding=16),
        "vlan": write.ethernet(write.ipv4(inner), vlans=[(0x8100, 7)]),
        "two vlans": write.ethernet(write.ipv4(inner), vlans=[(0x88A8, 7), (0x8100, 9)]),
        "ip options": write.ethernet(write.ipv4(inner, options=b"\x94\x04\0\0")),
        "ipv6": write.ethernet(write.ipv6(inner), kind=0x86DD),
        "ipv6 extensions": write.ethernet(write.ipv6(inner, following=0, extension=hop), kind=0x86DD),
        "no size": write.ethernet(write.ipv4(write.udp(b"hello", size=0))),
    }
    found = read(write.pcap([(T, frame) for frame in frames.values()]))
    assert [payload for _, payload, _ in found] == [b"hi"] + [b"hello"] * 6
    passed_over = [
        write.ethernet(write.ipv4(tcp, protocol=6)),
        write.ethernet(write.ipv6(tcp, following=6), kind=0x86DD),
        write.ethernet(write.ipv4(inner, fragment=0x2000)),
        write.ethernet(write.ipv4(inner, fragment=3)),
        write.ethernet(write.ipv6(inner, following=44), kind=0x86DD),
        write.ethernet(b"\x00\x01 arp", kind=0x0806),
        write.ethernet(b"", vlans=[(0x8100, 7)])[:16],
        write.ethernet(write.ipv4(write.udp(b"", size=3))),
        b"",
        b"\x01" * 13,
        write.ethernet(write.ipv4(inner)[:19]),
        write.ethernet(b"\x15" + write.ipv4(inner)[1:]),
    ]
    assert read(write.pcap([(T, frame) for frame in passed_over])) == []


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (101, write.ipv4(write.udp(b"x"))),
        (229, write.ipv6(write.udp(b"x"))),
        (0, b"\x02\0\0\0" + write.ipv4(write.udp(b"x"))),
        (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800) + write.ipv4(write.udp(b"x"))),
        (276, struct.pack(">HHIHBB8s", 0x0800, 0, 2, 1, 0, 6, b"") + write.ipv4(write.udp(b"x"))),
    ],
)
def test_link_layers(link: int, frame: bytes) -> None:
    assert read(write.pcap([(T, frame)], link=link)) == [(T, b"x", False)]
    assert read(write.pcap([(T, frame)], link=105)) == []


def test_cut_payload_is_told() -> None:
    frame = write.packet(b"0123456789")
    assert read(write.pcap([(T, frame)], kept=len(frame) - 4)) == [(T, b"012345", True)]


def test_file_that_ends_inside_a_packet_leaves_the_rest() -> None:
    data = write.pcap([(T, write.packet(b"one")), (T, write.packet(b"two"))])[:-2]
    capture = Capture(data[:24], iter([data]), "test")
    chunks = []
    while (chunk := capture.chunk()) is not None:
        chunks.append(len(chunk.starts))
    assert sum(chunks) == 1
    assert capture.rest == data[24 + 16 + len(write.packet(b"one")) :]


def test_damage_is_raised_after_what_could_be_read() -> None:
    good = write.pcap([(T, write.packet(b"one"))])
    with pytest.raises(IntegrityError, match=f"damaged at byte {len(good)}"):
        read(good + b"\xff" * 40)
    good = write.pcapng([(T, write.packet(b"one"))])
    for bad in (
        b"\x06\0\0\0\x0b\0\0\0" + bytes(20),
        write.enhanced(T, b"", number=9),
        write.section()[:-4] + b"\1\2\3\4",
    ):
        with pytest.raises(IntegrityError, match=f"damaged at byte {len(good)}"):
            read(good + bad)
    capture = Capture(good[:24], iter([good + b"\x06\0\0\0\x0b\0\0\0" + bytes(20)]), "test")
    chunk = capture.chunk()
    assert chunk is not None and len(chunk.starts) == 1


def test_what_is_no_capture() -> None:
    assert not is_capture(b"")
    assert not is_capture(b"\n\r\r\n____abcd")
    assert first_payloads(b"time,price\n1,2\n") == []
    with pytest.raises(InvalidInputError, match="no pcap or pcapng"):
        Capture(b"PK\3\4", iter([b""]), "test")
    assert first_payloads(write.pcap([])) == []
    assert first_payloads(write.pcap([])[:10]) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.binary(max_size=70)), max_size=30),
    st.integers(20, 300),
    st.booleans(),
    st.sampled_from("<>"),
)
def test_chunks_do_not_matter(packets: list[tuple[int, bytes]], size: int, new: bool, endian: str) -> None:
    packets = [(ts if new else ts % (2**32 * 10**9), payload) for ts, payload in packets]
    frames = [(ts, write.packet(payload)) for ts, payload in packets]
    data = write.pcapng(frames, endian=endian) if new else write.pcap(frames, endian=endian)
    assert read(data, size) == [(ts, payload, False) for ts, payload in packets]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([0, 1, 101, 113, 276]))
def test_no_frame_breaks_the_kernel(frame: bytes, link: int) -> None:
    found = read(write.pcap([(T, frame), (T, write.packet(b"x"))], link=link))
    assert all(len(payload) <= len(frame) + 60 for _, payload, _ in found)


def test_kept_packets_come_again() -> None:
    data = write.pcap([(T + row, write.packet(bytes([row]))) for row in range(20)])

    def blocks() -> Iterator[bytes]:
        yield data[:400]
        yield data[400:]

    capture = Capture(data[:24], blocks(), "test")
    first = capture.chunk()
    assert first is not None and not first.last and first.offset == 0
    capture.keep(int(first.records[2]), first)
    second = capture.chunk()
    assert second is not None
    assert second.ts[0] == T + 2
    assert second.offset + second.records[0] == first.records[2]
    capture.keep(int(second.records[-1]), second)
    third = capture.chunk()
    assert third is not None and third.last
    assert np.array_equal(third.ts, [T + 19])
    assert capture.chunk() is None
