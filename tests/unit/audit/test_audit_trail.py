from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from audit_made import OTHER_SIGNER, SIGNER, SameHost, made_trail, opened, record

from tickvault.audit.block import RECORDS_MAX
from tickvault.audit.chain import BrokenBlockError, Walk
from tickvault.audit.codec import encode
from tickvault.audit.files import FILE_HEADER_SIZE, file_name
from tickvault.audit.head import Head, read_page
from tickvault.audit.opening import open_trail
from tickvault.audit.query import query
from tickvault.audit.verify import read_head, verify
from tickvault.errors import (
    BusyError,
    ClosedError,
    DiskFullError,
    InvalidInputError,
    NotFoundError,
    PoisonedError,
    StorageError,
)
from tickvault.seam.disk import OsDisk, SyncError


class FaultyDisk(OsDisk):
    """Fails the next synchronous write, after half of it reached the file."""

    def __init__(self) -> None:
        self.error: StorageError | None = None

    def write_synced(self, fd: int, buffers, offset: int) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            whole = b"".join(buffers)
            self.pwritev(fd, [whole[: len(whole) // 2]], offset)
            raise error
        super().write_synced(fd, buffers, offset)


def test_records_come_back_in_order_with_dense_sequences(tmp_path: Path) -> None:
    expected = made_trail(tmp_path, 6, 4)
    found = list(query(str(tmp_path)))
    assert found[1:] == expected
    assert [one.sequence for one in found] == list(range(1, 26))
    assert found[0].action == "AddAuditSigner"
    assert found[0].detail["public_key"] == SIGNER.public_key.key.hex()


def test_reopening_goes_on_where_the_trail_ended(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        first = writer.append([record(1)], b"at 1")
    with opened(tmp_path) as writer:
        assert writer.head == first
        assert writer.cursor == b"at 1".ljust(64, b"\0")
        assert writer.recovery is None
        second = writer.append([record(2), encode(record(3))])
        assert second.block_number == first.block_number + 1
        assert second.sequence == first.sequence + 2
        assert writer.cursor == b"at 1".ljust(64, b"\0")
    assert verify(str(tmp_path), expected_head=first).ok
    assert verify(str(tmp_path), expected_head=second).ok
    assert read_head(str(tmp_path)) == second


def test_files_follow_one_another(tmp_path: Path) -> None:
    made_trail(tmp_path, 12, 3, file_size_max=2000)
    assert os.path.exists(tmp_path / file_name(3))
    made_trail(tmp_path, 4, 3, file_size_max=2000)
    report = verify(str(tmp_path))
    assert report.ok
    assert report.files >= 4
    assert report.blocks == 17
    assert len(list(query(str(tmp_path)))) == 49


def test_a_file_that_has_no_block_yet(tmp_path: Path) -> None:
    """A crash between making a file and its first block left the writer without a key to compare."""
    made_trail(tmp_path, 2, 2, file_size_max=400)
    with opened(tmp_path, file_size_max=400) as writer:
        writer._begin_file(writer._file_number + 1)
        head, cursor = writer.head, writer.cursor
    assert read_head(str(tmp_path)) == head
    with pytest.raises(InvalidInputError, match="key"):
        opened(tmp_path, signer=OTHER_SIGNER)
    with opened(tmp_path) as writer:
        assert writer.head == head
        assert writer.cursor == cursor
        writer.append([record(9)])
    assert verify(str(tmp_path)).ok


def test_one_process_writes(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(BusyError, match="another process"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_forked_child_may_not_write_and_does_not_keep_the_lock(tmp_path: Path) -> None:
    writer = opened(tmp_path)
    go, gone = os.pipe()
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            writer.append([record(1)])
        except ClosedError:
            status = 0
        os.close(gone)
        os.write(tell, b".")
        os.read(go, 1)
        os._exit(status)
    assert os.read(ready, 1) == b"."
    writer.close()
    opened(tmp_path).close()
    os.close(gone)
    for fd in (go, ready, tell):
        os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_append_whole_blocks(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        threads = [
            threading.Thread(target=lambda start=start: [writer.append([record(start + i)] * 5) for i in range(20)])
            for start in range(0, 4000, 1000)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.head.sequence == 1 + 4 * 20 * 5
    assert verify(str(tmp_path)).ok


@pytest.mark.parametrize("records", [[], [record(1)] * (RECORDS_MAX + 1), [b"short"], [b"\x02" + bytes(80)]])
def test_what_is_no_block_is_refused_and_changes_nothing(tmp_path: Path, records: list) -> None:
    with opened(tmp_path) as writer:
        before = writer.head
        with pytest.raises(InvalidInputError):
            writer.append(records)
        assert writer.head == before
        writer.append([record(1)])
    assert verify(str(tmp_path)).ok


def test_the_largest_block(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.append([encode(record(number)) for number in range(RECORDS_MAX)])
    assert verify(str(tmp_path)).records == RECORDS_MAX + 1


def test_a_cursor_too_long(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        with pytest.raises(InvalidInputError, match="64 bytes, had 65"):
            writer.append([record(1)], bytes(65))
        writer.append([record(1)], bytes(range(64)))
        assert writer.cursor == bytes(range(64))


def test_a_full_disk_leaves_the_trail_as_it_was(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with opened(tmp_path, disk=disk) as writer:
        writer.append([record(1)])
        before, size = writer.head, os.path.getsize(tmp_path / file_name(1))
        disk.error = DiskFullError("no space")
        with pytest.raises(DiskFullError):
            writer.append([record(2)])
        assert os.path.getsize(tmp_path / file_name(1)) == size
        assert writer.head == before
        assert verify(str(tmp_path)).ok
        writer.append([record(3)])
    assert [one.size_bytes for one in query(str(tmp_path))][1:] == [10, 30]


def test_a_failed_sync_ends_the_writer(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with opened(tmp_path, disk=disk) as writer:
        writer.append([record(1)])
        head = writer.head
        disk.error = SyncError("I/O error")
        with pytest.raises(SyncError):
            writer.append([record(2)])
        with pytest.raises(PoisonedError, match="open the trail again"):
            writer.append([record(3)])
        report = verify(str(tmp_path))
        assert report.ok
        assert report.unfinished_bytes > 0
    with opened(tmp_path) as writer:
        assert writer.head == head
        assert writer.recovery is not None
        assert writer.recovery.size_bytes == report.unfinished_bytes


@pytest.mark.parametrize("written", [True, False])
def test_an_interrupt_ends_the_writer(tmp_path: Path, written: bool) -> None:
    disk = FaultyDisk()
    with opened(tmp_path, disk=disk) as writer:

        def interrupted(fd: int, buffers, offset: int) -> None:
            if written:
                OsDisk().write_synced(fd, buffers, offset)
            raise KeyboardInterrupt

        disk.write_synced = interrupted
        with pytest.raises(KeyboardInterrupt):
            writer.append([record(1)])
        with pytest.raises(PoisonedError, match="interrupted"):
            writer.append([record(2)])
    with opened(tmp_path) as writer:
        writer.append([record(3)])
    assert [one.size_bytes for one in query(str(tmp_path))][1:] == ([10, 30] if written else [30])
    assert verify(str(tmp_path)).ok


def test_a_block_that_was_written_and_not_acknowledged_is_kept_and_written_again(tmp_path: Path) -> None:
    writes: list[int] = []

    class Noting(OsDisk):
        def write_synced(self, fd: int, buffers, offset: int) -> None:
            writes.append(offset)
            super().write_synced(fd, buffers, offset)

    made_trail(tmp_path, 3, 2)
    page = (tmp_path / "head").read_bytes()
    with opened(tmp_path) as writer:
        offset = writer._end
        head = writer.append([record(7)])
    (tmp_path / "head").write_bytes(page)
    with opened(tmp_path, disk=Noting()) as writer:
        assert writer.head == head
    assert writes == [offset]
    assert read_page(str(tmp_path)).block_number == head.block_number


def test_a_block_that_was_acknowledged_is_never_written_over(tmp_path: Path) -> None:
    """A power cut while it was written again would have taken it."""

    class Noting(OsDisk):
        def write_synced(self, fd: int, buffers, offset: int) -> None:
            raise AssertionError

    class AfterABoot(SameHost):
        def boot_id(self) -> bytes:
            return b"x" * 16

    made_trail(tmp_path, 3, 2)
    opened(tmp_path, disk=Noting()).close()
    page = (tmp_path / "head").read_bytes()
    with opened(tmp_path) as writer:
        writer.append([record(7)])
    (tmp_path / "head").write_bytes(page)
    open_trail(str(tmp_path), SIGNER, disk=Noting(), host=AfterABoot()).close()
    (tmp_path / "head").unlink()
    opened(tmp_path, disk=Noting()).close()


def test_a_record_that_a_power_cut_could_take_back_is_not_shown(tmp_path: Path) -> None:
    disk = FaultyDisk()
    with open_trail(str(tmp_path), SIGNER, disk=disk) as writer:
        head = writer.append([record(1)])

        class Late(SyncError):
            """The block is in the file, and nobody knows if it is on the disk."""

        def failing(fd: int, buffers, offset: int) -> None:
            OsDisk().write_synced(fd, buffers, offset)
            raise Late("I/O error")

        disk.write_synced = failing
        with pytest.raises(Late):
            writer.append([record(2)])
        assert [one.size_bytes for one in query(str(tmp_path))][1:] == [10]
        assert read_head(str(tmp_path)) == head
    open_trail(str(tmp_path), SIGNER).close()
    assert [one.size_bytes for one in query(str(tmp_path))][1:] == [10, 20]


def test_closed(tmp_path: Path) -> None:
    writer = opened(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ClosedError):
        writer.append([record(1)])


def test_sm3_and_sha256_in_one_trail(tmp_path: Path) -> None:
    made_trail(tmp_path, 2, 2)
    made_trail(tmp_path, 2, 2, hash_algorithm="sm3")
    assert {block.header.hash_code for block in Walk(OsDisk(), str(tmp_path))} == {1, 2}
    assert verify(str(tmp_path)).ok
    with pytest.raises(InvalidInputError, match="sha-256, sm3"):
        opened(tmp_path, hash_algorithm="md5")
    with pytest.raises(InvalidInputError, match="file_size_max"):
        opened(tmp_path, file_size_max=FILE_HEADER_SIZE)


def test_no_trail(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify(str(tmp_path))
    assert read_head(str(tmp_path)) is None
    assert list(query(str(tmp_path / "nowhere"))) == []


def test_files_removed_under_the_head_page(tmp_path: Path) -> None:
    made_trail(tmp_path)
    (tmp_path / file_name(1)).unlink()
    with pytest.raises(BrokenBlockError, match="missing"):
        opened(tmp_path)
    assert not verify(str(tmp_path)).ok


def test_the_head_line(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        head = writer.append([record(1)])
    line = str(head)
    assert Head.parse(line + "\n") == head
    assert line.startswith(f"tickvault-head:{head.trail_id.hex()}:2:2:")
    for wrong in ("", line[:-1], line[1:], line + "0", line.replace(":2:", ":-2:"), line.upper(), "x" * 10_000):
        with pytest.raises(InvalidInputError, match="head"):
            Head.parse(wrong)
