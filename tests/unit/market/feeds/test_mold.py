"""MoldUDP64 packets of ITCH in captures: gaps, repeats, two feeds, packets that are cut."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import captures_writing as write
import itch_reading as itch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itch_decoded import Decoded, T, add, agree, script
from itch_reading import midnight_ns, stock

from tickvault.errors import InvalidInputError
from tickvault.market.feeds import streams


def test_mold_gaps_repeats_and_heartbeats(tmp_path: Path) -> None:
    messages = [stock(7, "AAPL"), *(add(order) for order in range(1, 40))]

    def frame(first: int, last: int, **more: Any) -> bytes:
        return write.packet(itch.mold(first, messages[first - 1 : last], **more))

    frames = [
        frame(1, 2),
        frame(1, 2),
        frame(3, 3),
        write.packet(b"something else"),
        write.packet(itch.mold(4, [])),
        frame(3, 6),
        frame(9, 10),
        frame(7, 8),
        frame(9, 10),
        frame(13, 15),
        write.packet(itch.mold(18, [])),
        frame(18, 20),
        write.packet(itch.mold(21, [], count=0xFFFF)),
    ]
    path = tmp_path / "capture.pcap"
    path.write_bytes(write.pcap([(T + place, one) for place, one in enumerate(frames)]))
    found = Decoded(path)
    taken = [*range(1, 11), *range(13, 16), *range(18, 21)]
    agree(found, itch.read([(number, messages[number - 1], 4 if number > 12 else 0) for number in taken]))
    tally = found.feed.tally
    assert (tally.gaps, tally.missing, tally.missing_before, tally.repeated, tally.foreign) == (2, 4, 0, 5, 1)
    (columns,) = found.series("AAPL", "mbo")
    assert columns["ts_recv"].tolist()[:5] == [T, T + 2, T + 5, T + 5, T + 5]
    assert found.rows[0].ts_event == midnight_ns("2019-01-30")


def test_mold_that_begins_late_or_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(write.pcap([(T, write.packet(itch.mold(50, [add(1)])))]))
    found = Decoded(path)
    assert (found.rows[0].flags, found.rows[0].sequence, found.feed.tally.missing_before) == (132, 50, 49)
    assert found.feed.tally.gaps == 0
    packet = write.packet(itch.mold(1, [add(1), add(2), add(3)]))
    path.write_bytes(write.pcap([(T, packet), (T, write.packet(itch.mold(4, [add(4)])))], kept=len(packet) - 50))
    found = Decoded(path)
    assert [(row.order_id, row.flags) for row in found.rows] == [(1, 128), (4, 132)]
    assert (found.count, [one.row for one in found.bad]) == (4, [1])
    path.write_bytes(write.pcap([(T, packet), (T, packet)])[:-5])
    found = Decoded(path)
    assert (found.count, len(found.bad), len(found.rows)) == (4, 1, 3)
    path.write_bytes(write.pcap([(5, packet)]))
    with pytest.raises(InvalidInputError, match="say it with date="):
        Decoded(path)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), chunk=st.integers(100, 3000), lost=st.sets(st.integers(0, 60), max_size=3))
def test_two_feeds_of_a_session(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk: int, lost: set[int]
) -> None:
    """A and B, shifted against each other, losing packets each; what both lose is a gap."""
    chance = random.Random(seed)
    messages = script(seed, 120)
    packets, begin = [], 0
    while begin < len(messages):
        size = chance.randrange(1, 5)
        packets.append((begin + 1, messages[begin : begin + size]))
        begin += size
    both = [
        (place + chance.random() * 4 + shift, first, part)
        for shift in (0, 3)
        for place, (first, part) in enumerate(packets)
    ]
    kept = [
        one
        for one in sorted(both)
        if chance.random() < 0.9 and one[1] not in {packets[p][0] for p in lost if p < len(packets)}
    ]
    numbers = sorted({first + step for _, first, part in kept for step in range(len(part))})
    doubt, wanted = 0, []
    for place, number in enumerate(numbers):
        doubt = 4 if number != (numbers[place - 1] if place else 0) + 1 else doubt
        wanted.append((number, messages[number - 1], doubt))
    frames = [(T, write.packet(itch.mold(first, part))) for _, first, part in kept]
    path = tmp_path_factory.mktemp("mold") / "capture.pcapng"
    path.write_bytes(write.pcapng(frames))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tickvault.market.feeds.pcap.CHUNK_SIZE", chunk)
        found = Decoded(path)
    agree(found, itch.read(wanted))
    assert found.feed.tally.repeated == sum(len(part) for _, _, part in kept) - len(numbers)


def test_window_is_what_the_kernel_looks_ahead(tmp_path: Path) -> None:
    packets = [(number, [add(number)]) for number in [1, *range(3, 3 + streams.WINDOW), 2]]
    path = tmp_path / "capture.pcap"
    path.write_bytes(write.pcap([(T, write.packet(itch.mold(*one))) for one in packets]))
    assert Decoded(path).feed.tally.gaps == 1
    del packets[2]
    path.write_bytes(
        write.pcap([(T, write.packet(itch.mold(*one))) for one in [*packets[:5], packets[-1], *packets[5:-1]]])
    )
    found = Decoded(path)
    assert (found.feed.tally.gaps, found.feed.tally.missing) == (1, 1)
    assert [row.order_id for row in found.rows][:4] == [1, 2, 3, 5]
