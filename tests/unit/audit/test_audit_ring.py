from __future__ import annotations

import os
import random
import struct
import threading
from collections import deque
from pathlib import Path

import pytest
from audit_made import made_trail, opened, record

from tickvault.audit.codec import RECORD_SIZE_MAX, decode, encode
from tickvault.audit.drain import DAMAGED_ACTION, UNREADABLE_ACTION, Drain
from tickvault.audit.query import query
from tickvault.audit.ring import CAPACITY_DEFAULT, Ring, create_ring, open_ring, ring_paths
from tickvault.audit.verify import verify
from tickvault.errors import ClosedError, DiskFullError, FormatError, InvalidInputError
from tickvault.seam.disk import PAGE_SIZE, OsDisk, SyncError

BOOT = bytes(range(16))
SMALL = 4 * RECORD_SIZE_MAX


def ring_in(folder: Path, capacity: int = SMALL) -> Ring:
    return create_ring(str(folder / "rings"), BOOT, capacity=capacity)


def take(ring: Ring, count: int = 10**6) -> list[bytes]:
    taken = ring.peek(count, final=True)
    assert taken.damaged_bytes == 0
    ring.taking(taken.end, 1)
    ring.took()
    return taken.payloads


def keys(folder: Path) -> list[str]:
    return [one.key for one in query(str(folder)) if one.action == "GetObject"]


def test_a_ring_against_a_queue(tmp_path: Path) -> None:
    rng = random.Random(3)
    ring = ring_in(tmp_path)
    waiting: deque[bytes] = deque()
    full = rounds = 0
    while rounds < 60:
        payload = rng.randbytes(rng.choice((1, 7, 8, 9, 200, 5000, RECORD_SIZE_MAX)))
        put = ring.put(payload)
        if put:
            waiting.append(payload)
        full += not put
        if rng.random() < 0.01 or (not put and rng.random() < 0.5):
            rounds += 1
            count = rng.randrange(1, 60)
            expected = [waiting.popleft() for _ in range(min(count, len(waiting)))]
            assert take(ring, count) == expected
    assert full > 5
    assert take(ring) == list(waiting)
    assert ring.waiting_bytes == 0
    ring.close()


def test_a_full_ring_says_so_and_drops_nothing(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    put = 0
    while ring.put(b"%08d" % put * 30):
        put += 1
    assert not ring.put(b"x" * 240)
    assert [int(payload[:8]) for payload in take(ring)] == list(range(put))
    assert ring.put(b"again")
    assert take(ring) == [b"again"]


def test_what_is_no_record(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    for size in (0, RECORD_SIZE_MAX + 1):
        with pytest.raises(InvalidInputError, match="bytes, had"):
            ring.put(bytes(size))
    for capacity in (0, SMALL - PAGE_SIZE, SMALL + 1, 1 << 40):
        with pytest.raises(InvalidInputError, match="capacity"):
            ring_in(tmp_path, capacity)
    ring.close()
    ring.close()
    with pytest.raises(ClosedError):
        ring.put(b"x")
    with pytest.raises(ClosedError):
        ring.peek(1, final=True)


def test_threads_put_whole_records(tmp_path: Path) -> None:
    ring = create_ring(str(tmp_path), BOOT, capacity=CAPACITY_DEFAULT)
    threads = [
        threading.Thread(target=lambda name=name: [ring.put(b"%d:%06d" % (name, i) * 9) for i in range(3000)])
        for name in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = take(ring)
    assert len(found) == 12_000
    for name in range(4):
        mine = [payload for payload in found if payload.startswith(b"%d:" % name)]
        assert mine == [b"%d:%06d" % (name, i) * 9 for i in range(3000)]


def test_a_half_written_record_is_not_taken(tmp_path: Path) -> None:
    """What a kill between two stores leaves: the position not moved, or moved before the bytes."""
    ring = ring_in(tmp_path)
    ring.put(b"whole")
    raw = Path(ring.path).read_bytes()
    ring.put(b"half a record")
    Path(ring.path + "x").write_bytes(b"")
    with open(ring.path, "r+b") as file:
        file.seek(16 * 8)
        file.write(raw[16 * 8 : 17 * 8])
    other, _ = open_ring(ring.path)
    assert other.peek(10, final=True).payloads == [b"whole"]
    with open(ring.path, "r+b") as file:
        file.seek(16 * 8)
        file.write(struct.pack("<Q", 4096))
    assert other.peek(10, final=False).payloads == [b"whole", b"half a record"]
    assert other.peek(10, final=False).damaged_bytes == 0
    final = other.peek(10, final=True)
    assert (final.payloads, final.damaged_bytes) == ([b"whole", b"half a record"], 4096 - 16 - 24)
    other.close()
    ring.close()


def test_every_flipped_byte_of_a_ring(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    put = [b"%03d" % number * 11 for number in range(8)]
    for payload in put:
        ring.put(payload)
    ring.close()
    whole = Path(ring.path).read_bytes()
    data_size = 8 * 48
    for place in [*range(48), *range(128, 160), *range(PAGE_SIZE, PAGE_SIZE + data_size)]:
        raw = bytearray(whole)
        raw[place] ^= 0x41
        Path(ring.path).write_bytes(raw)
        try:
            other, _ = open_ring(ring.path)
        except FormatError:
            continue
        found = other.peek(100, final=True)
        # A record is as it was put, or is not handed out.
        assert found.payloads == put[: len(found.payloads)]
        other.close()


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(PAGE_SIZE), bytes(PAGE_SIZE + SMALL)])
def test_a_file_that_is_no_ring(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rings" / "1-00.ring"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(FormatError):
        open_ring(str(path))
    with opened(tmp_path) as writer:
        drain = Drain(writer, BOOT)
        drained = drain.drain()
        drain.close()
    assert drained.records == 0
    assert "audit ring" in drained.problems[0]
    assert path.exists()


def test_a_drain_takes_from_the_living_and_removes_the_dead(tmp_path: Path) -> None:
    own, living, dead = (ring_in(tmp_path) for _ in range(3))
    for name, ring in (("own", own), ("living", living), ("dead", dead)):
        for number in range(3):
            ring.put(encode(record(number, key=f"{name}{number}")))
    dead.close()
    with opened(tmp_path) as writer:
        drain = Drain(writer, BOOT, own=own)
        drained = drain.drain(b"here")
        assert (drained.records, drained.blocks, drained.rings_removed) == (9, 1, 1)
        assert writer.cursor == b"here".ljust(64, b"\0")
        assert sorted(ring_paths(str(tmp_path / "rings"))) == sorted([own.path, living.path])
        living.put(encode(record(9, key="living3")))
        assert drain.drain().records == 1
        assert drain.drain() == (0, 0, 0, [])
        living.close()
        assert drain.drain().rings_removed == 1
        drain.close()
    found = keys(tmp_path)
    for name, count in (("own", 3), ("living", 4), ("dead", 3)):
        assert [key for key in found if key.startswith(name)] == [f"{name}{number}" for number in range(count)]
    own.close()


def test_many_records_go_into_several_blocks(tmp_path: Path) -> None:
    ring = create_ring(str(tmp_path / "rings"), BOOT)
    for number in range(5000):
        assert ring.put(encode(record(number, key=f"{number}")))
    with opened(tmp_path) as writer:
        drain = Drain(writer, BOOT, own=ring)
        assert drain.drain(count_max=1000, blocks_max=2).blocks == 2
        drained = drain.drain(count_max=1000)
        assert drained.blocks == 4
        drain.close()
        with pytest.raises(InvalidInputError, match="count_max"):
            drain.drain(count_max=5000)
    assert keys(tmp_path) == [f"{number}" for number in range(5000)]
    ring.close()


class Faulty(OsDisk):
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.late = False

    def write_synced(self, fd: int, buffers, offset: int) -> None:
        error, self.error = self.error, None
        if error is None or self.late:
            super().write_synced(fd, buffers, offset)
        if error is not None:
            raise error


def test_a_full_disk_leaves_the_records_in_the_ring(tmp_path: Path) -> None:
    disk, ring = Faulty(), ring_in(tmp_path)
    ring.put(encode(record(1, key="kept")))
    with opened(tmp_path, disk=disk) as writer:
        drain = Drain(writer, BOOT, own=ring)
        disk.error = DiskFullError("no space")
        with pytest.raises(DiskFullError):
            drain.drain()
        # The number it noted is given to another block now, which does not hold the record.
        writer.append([record(2, key="other")])
    drain.close()
    with opened(tmp_path) as writer:
        assert Drain(writer, BOOT, own=ring).drain().records == 1
    assert keys(tmp_path) == ["other", "kept"]
    ring.close()


@pytest.mark.parametrize("written", [True, False])
def test_a_failed_sync_neither_loses_nor_doubles(tmp_path: Path, written: bool) -> None:
    disk, ring = Faulty(), ring_in(tmp_path)
    ring.put(encode(record(1, key="once")))
    writer = opened(tmp_path, disk=disk)
    drain = Drain(writer, BOOT, own=ring)
    disk.error, disk.late = SyncError("I/O error"), written
    with pytest.raises(SyncError):
        drain.drain()
    with pytest.raises(Exception, match="unknown"):
        drain.drain()
    writer.close()
    with opened(tmp_path) as writer:
        writer.append([record(5, key="between")])
        Drain(writer, BOOT, own=ring).drain()
    assert sorted(keys(tmp_path)) == ["between", "once"]
    assert verify(str(tmp_path)).ok
    ring.close()


def test_what_cannot_be_chained_becomes_a_record_that_says_so(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    ring.put(encode(record(1, key="before")))
    ring.put(b"no record at all")
    ring.put(encode(record(1, key="behind")))
    with opened(tmp_path) as writer:
        Drain(writer, BOOT, own=ring).drain()
    assert keys(tmp_path) == ["before", "behind"]
    told = next(iter(query(str(tmp_path), action=UNREADABLE_ACTION)))
    assert bytes.fromhex(told.detail["begins"]) == b"no record at all"
    ring.close()


def test_a_damaged_ring_of_a_dead_process_is_told_and_goes(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    for number in range(4):
        ring.put(encode(record(number, key=f"{number}")))
    ring.close()
    with open(ring.path, "r+b") as file:
        file.seek(PAGE_SIZE + 2 * ((len(encode(record(0, key="0"))) + 15) & -8) + 30)
        file.write(b"\xff\xff")
    with opened(tmp_path) as writer:
        drain = Drain(writer, b"another boot....")
        assert drain.drain().rings_removed == 1
        drain.close()
    assert keys(tmp_path) == ["0", "1"]
    told = next(iter(query(str(tmp_path), action=DAMAGED_ACTION)))
    assert int(told.detail["skipped_bytes"]) > 100
    assert "went off" in told.detail["reason"]


def test_a_ring_that_was_being_made_is_swept_away(tmp_path: Path) -> None:
    made_trail(tmp_path, 1, 1)
    left = tmp_path / "rings" / "77-aa.new"
    left.parent.mkdir()
    left.write_bytes(b"")
    with opened(tmp_path) as writer:
        Drain(writer, BOOT).drain()
    assert not left.exists()


def test_a_forked_child_has_no_ring_and_does_not_keep_the_parents(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    ring.put(encode(record(1, key="parent")))
    stay, go = os.pipe()
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ring.put(b"child")
        except ClosedError:
            status = 0
        os.close(go)
        os.write(tell, b".")
        os.read(stay, 1)
        os._exit(status)
    assert os.read(ready, 1) == b"."
    ring.close()
    with opened(tmp_path) as writer:
        drain = Drain(writer, BOOT)
        assert drain.drain() == (1, 1, 1, [])
        drain.close()
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for fd in (stay, ready, tell):
        os.close(fd)
    assert keys(tmp_path) == ["parent"]


def test_the_payload_is_what_was_put(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    made = record(3, key="ü/\udc80")
    ring.put(encode(made))
    assert decode(take(ring)[0]) == made
    ring.close()


@pytest.mark.parametrize("seed", range(6))
def test_what_is_taken_is_what_was_put_whatever_the_sizes(tmp_path: Path, seed: int) -> None:
    """Records are looked at in pieces of a fixed size: none is lost or doubled where two of them meet."""
    rng = random.Random(seed)
    ring = create_ring(str(tmp_path), BOOT, capacity=1 << 20)
    wanted: list[bytes] = []
    filled: list[int] = []
    ring.on_filling = lambda: filled.append(ring.waiting_bytes)
    number = 0
    for _ in range(300):
        for _ in range(rng.randrange(60)):
            size = rng.choice([1, 7, 8, 9, 200, 280, 4096, 65_535, RECORD_SIZE_MAX])
            payload = number.to_bytes(4, "little") * (size // 4 + 1)
            payload = payload[:size]
            if not ring.put(payload):
                break
            wanted.append(payload)
            number += 1
        taken = ring.peek(rng.choice([1, 3, 50, 5000]), final=rng.random() < 0.5)
        assert taken.payloads == wanted[: len(taken.payloads)]
        assert taken.damaged_bytes == 0
        assert taken.payloads or not wanted
        ring.taking(taken.end, 1)
        ring.took()
        del wanted[: len(taken.payloads)]
    assert number > 1000
    assert filled
    assert min(filled) >= 1 << 17
    ring.close()
