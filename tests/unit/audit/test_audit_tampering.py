"""Every way to change a trail behind the store's back is found, and named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from audit_made import OTHER_SIGNER, SIGNER, SameHost, made_trail, opened, record
from hypothesis import given, settings
from hypothesis import strategies as st

from tickvault.audit import block as block_format
from tickvault.audit.block import HEADER_SIZE, finish, pack_header, seal
from tickvault.audit.chain import BrokenBlockError, Located, Walk
from tickvault.audit.files import FILE_HEADER_SIZE, file_name
from tickvault.audit.head import Head, read_page
from tickvault.audit.query import query
from tickvault.audit.verify import verify
from tickvault.seam.disk import OsDisk


def located(folder: Path) -> list[Located]:
    return list(Walk(OsDisk(), str(folder)))


def fault_of(folder: Path, **options):
    return verify(str(folder), threads=1, **options).fault


@pytest.mark.parametrize("with_page", [True, False])
def test_each_byte_of_a_small_trail(tmp_path: Path, with_page: bool) -> None:
    made_trail(tmp_path, 2, 2)
    if not with_page:
        (tmp_path / "head").unlink()
    path = tmp_path / file_name(1)
    whole = path.read_bytes()
    starts = [FILE_HEADER_SIZE, *(block.end for block in located(tmp_path))]
    missed = []
    with path.open("r+b", buffering=0) as file:
        for place, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ (1 << place % 8)]), place)
            fault = fault_of(tmp_path)
            if fault is None:
                missed.append(place)
            elif place >= FILE_HEADER_SIZE:
                broken = sum(start <= place for start in starts)
                assert fault.block_number == broken, (place, fault)
                assert fault.offset == starts[broken - 1], (place, fault)
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert missed == []
    assert fault_of(tmp_path) is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes_of_a_larger_trail(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "larger-trail"
    if not folder.exists():
        made_trail(folder, 60, 20, file_size_max=60_000)
    number = data.draw(st.integers(1, len(list(folder.glob("trail-*")))))
    path = folder / file_name(number)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(min_size=1, max_size=40))[: len(whole) - place]
    changed = whole[:place] + new + whole[place + len(new) :]
    try:
        path.write_bytes(changed)
        report = verify(str(folder), threads=2)
    finally:
        path.write_bytes(whole)
    assert report.ok == (changed == whole)


def test_two_faults_and_the_first_is_named(tmp_path: Path) -> None:
    made_trail(tmp_path, 200, 5)
    blocks = located(tmp_path)
    with (tmp_path / file_name(1)).open("r+b", buffering=0) as file:
        for number in (150, 40, 90):
            os.pwrite(file.fileno(), b"\xff\xff", blocks[number - 1].offset + HEADER_SIZE + 40)
    for threads in (1, 2, 8):
        fault = verify(str(tmp_path), threads=threads).fault
        assert fault is not None
        assert (fault.block_number, fault.kind) == (40, "changed")
        assert fault.first_sequence == blocks[39].header.first_sequence
        assert fault.last_sequence == blocks[39].header.last_sequence
        assert "block 40 at byte" in str(fault)


def cut(folder: Path, start: int, end: int) -> bytes:
    path = folder / file_name(1)
    raw = path.read_bytes()
    path.write_bytes(raw[:start] + raw[end:])
    return raw[start:end]


def test_a_block_removed(tmp_path: Path) -> None:
    made_trail(tmp_path, 8, 2)
    blocks = located(tmp_path)
    cut(tmp_path, blocks[3].offset, blocks[5].offset)
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.block_number) == ("missing", 4)
    assert "blocks 4 to 5 are missing" in fault.what
    with pytest.raises(BrokenBlockError):
        list(query(str(tmp_path)))
    with pytest.raises(BrokenBlockError):
        opened(tmp_path)


def test_two_blocks_swapped(tmp_path: Path) -> None:
    made_trail(tmp_path, 8, 2)
    blocks = located(tmp_path)
    path = tmp_path / file_name(1)
    raw = path.read_bytes()
    a, b, c = blocks[3].offset, blocks[4].offset, blocks[5].offset
    path.write_bytes(raw[:a] + raw[b:c] + raw[a:b] + raw[c:])
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.block_number) == ("order", 4)


def test_a_block_twice(tmp_path: Path) -> None:
    made_trail(tmp_path, 4, 2)
    blocks = located(tmp_path)
    path = tmp_path / file_name(1)
    raw = path.read_bytes()
    path.write_bytes(raw[: blocks[2].end] + raw[blocks[2].offset :])
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.block_number) == ("order", 4)


def test_the_tail_removed(tmp_path: Path) -> None:
    made_trail(tmp_path, 8, 2)
    head = verify(str(tmp_path)).head
    blocks = located(tmp_path)
    os.truncate(tmp_path / file_name(1), blocks[6].offset)
    assert fault_of(tmp_path).kind == "shorter"
    with pytest.raises(BrokenBlockError, match="tail was removed"):
        opened(tmp_path)
    # With the head page gone too, only a head that was kept elsewhere tells.
    (tmp_path / "head").unlink()
    assert fault_of(tmp_path) is None
    fault = fault_of(tmp_path, expected_head=head)
    assert (fault.kind, fault.block_number) == ("shorter", 7)
    assert "older copy" in fault.what


def test_records_removed_and_the_block_made_again_with_its_hash(tmp_path: Path) -> None:
    """Whoever can compute hashes and holds no key still breaks the signature and the link behind."""
    made_trail(tmp_path, 4, 3)
    blocks = located(tmp_path)
    victim = blocks[2]
    path = tmp_path / file_name(1)
    raw = bytearray(path.read_bytes())
    body = bytearray(raw[victim.offset + HEADER_SIZE : victim.offset + victim.header.hash_offset])
    body[-1] ^= 1
    again, digest = finish(victim.header, bytes(body))
    made = b"".join(seal(again, digest, victim.tail.signature))
    raw[victim.offset : victim.end] = made
    path.write_bytes(raw)
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.block_number) == ("signature", 3)
    # With the right key the block would pass, and the next one tells.
    made = b"".join(seal(again, digest, SIGNER.sign(digest)))
    raw[victim.offset : victim.end] = made
    path.write_bytes(raw)
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.block_number) == ("replaced", 4)


def test_an_older_copy_put_back_and_gone_on_with(tmp_path: Path) -> None:
    trail, copy = tmp_path / "trail", tmp_path / "copy"
    made_trail(trail, 3, 2)
    shutil.copytree(trail, copy)
    with opened(trail) as writer:
        head = writer.append([record(50)])
    with opened(copy) as writer:
        for number in range(3):
            writer.append([record(60 + number)])
    assert fault_of(copy) is None
    fault = fault_of(copy, expected_head=head)
    assert (fault.kind, fault.block_number) == ("replaced", head.block_number)
    assert fault_of(trail, expected_head=head) is None


def test_a_head_whose_signature_is_another(tmp_path: Path) -> None:
    made_trail(tmp_path, 3, 2)
    head = verify(str(tmp_path)).head
    forged = head._replace(signature=OTHER_SIGNER.sign(head.digest))
    assert fault_of(tmp_path, expected_head=forged).kind == "signature"
    assert fault_of(tmp_path, expected_head=Head.parse(str(head))) is None


def test_another_trail_in_its_place(tmp_path: Path) -> None:
    class OtherHost(SameHost):
        def random_u64(self) -> int:
            return 99

    made_trail(tmp_path / "a", 3, 2)
    made_trail(tmp_path / "b", 3, 2, file_size_max=900)
    head = verify(str(tmp_path / "a")).head
    shutil.rmtree(tmp_path / "a")
    from audit_made import StillClock

    from tickvault.audit.opening import open_trail

    with open_trail(str(tmp_path / "a"), SIGNER, clock=StillClock(), host=OtherHost()) as writer:
        writer.append([record(1)])
    assert fault_of(tmp_path / "a", expected_head=head).kind == "foreign"
    shutil.copy(tmp_path / "a" / file_name(1), tmp_path / "b" / file_name(2))
    assert fault_of(tmp_path / "b").kind == "foreign"


def test_a_file_missing_in_the_middle(tmp_path: Path) -> None:
    made_trail(tmp_path, 20, 3, file_size_max=2000)
    (tmp_path / file_name(2)).unlink()
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.file_name) == ("missing", file_name(2))
    with pytest.raises(BrokenBlockError, match="missing"):
        opened(tmp_path)


def test_the_last_file_missing(tmp_path: Path) -> None:
    made_trail(tmp_path, 20, 3, file_size_max=2000)
    last = sorted(tmp_path.glob("trail-*"))[-1]
    last.unlink()
    assert fault_of(tmp_path).kind == "shorter"
    with pytest.raises(BrokenBlockError):
        opened(tmp_path)


def test_a_damaged_block_in_the_middle_is_never_cut_off(tmp_path: Path) -> None:
    """A flipped length hides where the next block begins; what follows still shows that it was acknowledged."""
    made_trail(tmp_path, 6, 3)
    (tmp_path / "head").unlink()
    blocks = located(tmp_path)
    path = tmp_path / file_name(1)
    whole = path.read_bytes()
    for place in (blocks[4].offset + 36, blocks[4].offset + HEADER_SIZE + 3, blocks[4].offset):
        raw = bytearray(whole)
        raw[place] ^= 0x10
        path.write_bytes(raw)
        if place == blocks[4].offset + HEADER_SIZE + 3:
            # Only `verify` reads bodies in the middle; the writer goes on behind them.
            opened(tmp_path).close()
            (tmp_path / "head").unlink()
        else:
            with pytest.raises(BrokenBlockError):
                opened(tmp_path)
        assert path.read_bytes() == bytes(raw)
        assert fault_of(tmp_path).block_number == 5


def test_bytes_behind_the_last_block(tmp_path: Path) -> None:
    made_trail(tmp_path, 2, 2)
    with (tmp_path / file_name(1)).open("ab") as file:
        file.write(b"\0" * 500)
    report = verify(str(tmp_path))
    assert report.ok
    assert report.unfinished_bytes == 500
    assert "never acknowledged" in report.text()
    (tmp_path / "head").unlink()
    assert fault_of(tmp_path).kind == "changed"


@pytest.mark.parametrize("size", [0, 1, FILE_HEADER_SIZE - 1])
def test_a_file_cut_into_its_header(tmp_path: Path, size: int) -> None:
    made_trail(tmp_path, 2, 2)
    os.truncate(tmp_path / file_name(1), size)
    assert fault_of(tmp_path).kind == "changed"
    (tmp_path / "head").unlink()
    with pytest.raises(BrokenBlockError):
        opened(tmp_path)


def test_a_header_that_claims_a_huge_body(tmp_path: Path) -> None:
    """Its checksum is right, so only the limits stand between it and the memory."""
    made_trail(tmp_path, 2, 2)
    last = located(tmp_path)[-1]
    path = tmp_path / file_name(1)
    raw = bytearray(path.read_bytes())
    for body_size, count in ((0xFFFFFFFF, 2), (block_format.BODY_SIZE_MAX, 4096), (100, 0xFFFFFFFF), (0, 0)):
        header = last.header._replace(body_size=body_size, record_count=count)
        raw[last.offset : last.offset + HEADER_SIZE] = pack_header(header)
        path.write_bytes(raw)
        assert fault_of(tmp_path).block_number == 3


def test_progress_is_told(tmp_path: Path) -> None:
    made_trail(tmp_path, 300, 2)
    told: list[tuple[int, int]] = []
    report = verify(str(tmp_path), progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == report.size_bytes
    assert told[-1][1] == os.path.getsize(tmp_path / file_name(1))


def test_sequences_that_are_not_dense(tmp_path: Path) -> None:
    """Whoever has the key could leave a number out: the next record would not follow."""
    made_trail(tmp_path, 2, 2)
    with opened(tmp_path) as writer:
        writer._head = writer._head._replace(sequence=writer._head.sequence + 1)
        writer.append([record(9)])
    fault = fault_of(tmp_path)
    assert (fault.kind, fault.block_number) == ("missing", 4)
    assert "must have sequence 6, had 7" in fault.what


def test_each_byte_of_the_head_page(tmp_path: Path) -> None:
    """A slot that was half written does not count; the one before does, and is true as well."""
    made_trail(tmp_path, 3, 2)
    page = tmp_path / "head"
    whole = page.read_bytes()
    newest = read_page(str(tmp_path))
    assert newest.block_number == 4
    for place in range(256):
        raw = bytearray(whole)
        raw[place] ^= 0x10
        page.write_bytes(raw)
        found = read_page(str(tmp_path))
        assert found == newest or found.block_number == 3
        assert fault_of(tmp_path) is None
    page.write_bytes(bytes(len(whole)))
    assert read_page(str(tmp_path)) is None
    page.write_bytes(b"short")
    assert read_page(str(tmp_path)) is None
    opened(tmp_path).close()
    assert read_page(str(tmp_path)) == newest
