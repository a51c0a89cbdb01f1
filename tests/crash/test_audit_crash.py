"""The audit trail under power cuts at every operation, and under kill -9 at any instruction."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from simdisk import PowerCut, SimDisk, SimHost

from tickvault.audit.codec import encode
from tickvault.audit.drain import Drain
from tickvault.audit.head import Head
from tickvault.audit.opening import open_trail
from tickvault.audit.query import query
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.ring import create_ring
from tickvault.audit.signing import Ed25519Signer
from tickvault.audit.trail import TrailWriter
from tickvault.audit.verify import verify

SIGNER = Ed25519Signer(bytes(32))
NEXT_SIGNER = Ed25519Signer(bytes(range(32)))
BOOT = bytes(16)
HOST = SimHost()
FILE_SIZE = 1500


def record(key: str) -> AuditRecord:
    return AuditRecord(
        0, 1_764_400_000_000_000_000, -1, Category.READ, "GetObject", "ok", 200, "s3", "me", "", "", "b", key, "", 0, 0
    )


def opened(folder: Path, disk: SimDisk | None = None, signer: Ed25519Signer = SIGNER) -> TrailWriter:
    return open_trail(str(folder), signer, disk=disk, host=HOST, file_size_max=FILE_SIZE)


def work(folder: Path, disk: SimDisk, told: list[tuple[str, Head, bytes]]) -> None:
    """Append, over several files and three openings; note what was acknowledged."""
    number = 0
    for _ in range(3):
        with opened(folder, disk) as writer:
            for _ in range(5):
                key = f"key{number}"
                head = writer.append([record(key)] * (number % 3 + 1), b"%d" % number)
                told.append((key, head, writer.cursor))
                number += 1


def keys(folder: Path) -> list[str]:
    return [one.key for one in query(str(folder)) if one.action == "GetObject"]


def check(folder: Path, told: list[tuple[str, Head, bytes]]) -> None:
    """What was acknowledged is there; at most the append in hand is there too, whole."""
    expected = [f"key{number}" for number in range(16) for _ in range(number % 3 + 1)]
    found = keys(folder)
    assert found == expected[: len(found)]
    acknowledged = sum(number % 3 + 1 for number in range(len(told)))
    assert len(found) in (acknowledged, acknowledged + len(told) % 3 + 1)
    for _, head, _ in told[-1:]:
        report = verify(str(folder), expected_head=head)
        assert report.ok, report.text()


def operations_of_a_run(folder: Path) -> int:
    disk = SimDisk()
    work(folder, disk, [])
    return disk.operations


@pytest.mark.parametrize("page", ["kept", "of an older boot", "lost"])
def test_a_power_cut_at_every_operation(tmp_path: Path, page: str) -> None:
    rng = random.Random(page)
    total = operations_of_a_run(tmp_path / "counted")
    assert total > 60
    cut = 0
    for at in range(1, total + 1):
        folder = tmp_path / f"cut{at}"
        disk, told = SimDisk(), []
        disk.cut_at = at
        with pytest.raises(PowerCut):
            work(folder, disk, told)
        for again in range(4):
            # The power may go off in the recoveries too.
            disk.crash(rng)
            HOST.boot += page != "kept"
            if page == "lost":
                (folder / "head").unlink(missing_ok=True)
            disk.cut_at = disk.operations + again + 1 if again < 3 else None
            try:
                writer = opened(folder, disk)
            except PowerCut:
                continue
            disk.cut_at = None
            break
        with writer:
            cut += writer.recovery is not None
            if told:
                assert writer.head.block_number >= told[-1][1].block_number
                assert writer.cursor in (told[-1][2], (b"%d" % len(told)).ljust(64, b"\0"))
            check(folder, told)
            before = keys(folder)
            writer.append([record("after")])
        report = verify(str(folder))
        assert report.ok, report.text()
        assert report.unfinished_bytes == 0
        assert keys(folder) == [*before, "after"]
    assert cut > 2


def test_a_disk_that_lies_is_noticed(tmp_path: Path) -> None:
    """The harness shows that it catches a planted bug: a sync that does nothing loses acknowledged blocks."""
    caught = 0
    for seed in range(12):
        folder = tmp_path / f"{seed}"
        disk, told = SimDisk(), []
        with opened(folder, disk) as writer:
            disk.lying = True
            for number in range(3):
                told.append((f"key{number}", writer.append([record(f"key{number}")] * (number % 3 + 1)), b""))
            disk.off = True
        disk.crash(random.Random(seed))
        disk.lying = False
        try:
            with opened(folder, disk):
                check(folder, told)
        except Exception:
            caught += 1
    assert caught > 8


def test_a_power_cut_in_a_rotation(tmp_path: Path) -> None:
    def run(folder: Path, disk: SimDisk) -> None:
        with opened(folder, disk) as writer:
            writer.append([record("a")])
            writer.rotate(NEXT_SIGNER)
            writer.append([record("b")])

    disk = SimDisk()
    run(tmp_path / "counted", disk)
    ways = set()
    for at in range(1, disk.operations + 1):
        folder, cut = tmp_path / f"cut{at}", SimDisk()
        cut.cut_at = at
        with pytest.raises(PowerCut):
            run(folder, cut)
        cut.crash(random.Random(at))
        for name, signer in (("old", SIGNER), ("new", NEXT_SIGNER)):
            try:
                opened(folder, cut, signer).close()
            except ValueError:
                continue
            ways.add(name)
            break
        assert verify(str(folder)).ok
    assert ways == {"old", "new"}


def killed_after(child: int, seconds: float) -> None:
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_kill_the_writer_at_any_instruction(tmp_path: Path) -> None:
    rng = random.Random(11)
    log = tmp_path / "acknowledged"
    folder = tmp_path / "audit"
    number = 0
    for _ in range(25):
        child = os.fork()
        if child == 0:
            try:
                fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                writer = open_trail(str(folder), SIGNER, file_size_max=200_000)
                while True:
                    head = writer.append([record(f"{number}/{place}") for place in range(40)])
                    os.write(fd, b"%d %s\n" % (number, str(head).encode()))
                    number += 1
            finally:
                os._exit(9)
        killed_after(child, rng.uniform(0.01, 0.06))
        number += 1000
    lines = log.read_text().splitlines()
    assert len(lines) > 100
    with open_trail(str(folder), SIGNER) as writer:
        last = Head.parse(lines[-1].split()[1])
        assert writer.head.block_number in (last.block_number, last.block_number + 1)
    found = keys(folder)
    assert len(found) == len(set(found))
    there = set(found)
    for line in lines:
        assert {f"{line.split()[0]}/{place}" for place in range(40)} <= there
    for line in (lines[0], lines[len(lines) // 2], lines[-1]):
        assert verify(str(folder), expected_head=Head.parse(line.split()[1])).ok


def _put_until_killed(folder: Path, log: Path, name: str) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ring = create_ring(str(folder / "rings"), BOOT, capacity=1 << 18)
    number = 0
    while True:
        if ring.put(encode(record(f"{name}/{number}"))):
            os.write(fd, b"%d\n" % number)
            number += 1


def _drain_until_killed(folder: Path) -> None:
    with open_trail(str(folder), SIGNER, wait=True) as writer:
        drain = Drain(writer, BOOT)
        while True:
            drain.drain(count_max=100)


def test_kill_those_who_put_and_those_who_drain(tmp_path: Path) -> None:
    """Whatever `put` said it took is in the trail exactly once, in its process's order."""
    rng = random.Random(5)
    folder = tmp_path / "audit"
    names = []
    for round_number in range(20):
        children = []
        for kind in range(3):
            name = f"{round_number}-{kind}"
            child = os.fork()
            if child == 0:
                try:
                    if kind < 2:
                        _put_until_killed(folder, tmp_path / f"{name}.log", name)
                    _drain_until_killed(folder)
                finally:
                    os._exit(9)
            children.append(child)
            if kind < 2:
                names.append(name)
        time.sleep(rng.uniform(0.02, 0.1))
        rng.shuffle(children)
        for child in children:
            killed_after(child, rng.uniform(0, 0.01))
    with open_trail(str(folder), SIGNER) as writer:
        drain = Drain(writer, BOOT)
        drained = drain.drain(blocks_max=10_000)
        drain.close()
    assert drained.problems == []
    assert os.listdir(folder / "rings") == []
    found: dict[str, list[int]] = {name: [] for name in names}
    for key in keys(folder):
        name, number = key.split("/")
        found[name].append(int(number))
    acknowledged = 0
    for name in names:
        log = tmp_path / f"{name}.log"
        count = len(log.read_bytes().splitlines()) if log.exists() else 0
        assert found[name] in (list(range(count)), list(range(count + 1))), name
        acknowledged += count
    assert acknowledged > 1000
    assert verify(str(folder)).ok
    assert not list(query(str(folder), action="*Audit[R]*"))
    assert {one.action for one in query(str(folder))} == {"AddAuditSigner", "GetObject"}
