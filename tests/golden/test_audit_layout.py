"""The bytes of the audit trail, frozen: trails are kept for years, and every release has to read them.

A test that fails here is a change of the format: it needs a new version number, and a reader for this one.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from tickvault.audit.block import HEADER, HEADER_SIZE
from tickvault.audit.codec import HEAD, decode, encode
from tickvault.audit.files import FILE_HEADER_SIZE, file_name
from tickvault.audit.head import Head
from tickvault.audit.opening import open_trail
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.signing import Ed25519Signer
from tickvault.audit.verify import verify

RECORD = AuditRecord(
    sequence=0,
    time_ns=0x0102030405060708,
    clock_error_ns=-1,
    category=Category.CHANGE,
    action="PutObject",
    result="ok",
    status=200,
    door="s3",
    identity="alice",
    source="::1",
    request_id="R",
    bucket="b",
    key="k/é",
    version_id="v",
    size_bytes=5,
    vault_sequence=9,
    detail={"sha256": "00"},
)
RECORD_HEX = (
    "01010000c80001000807060504030201ffffffffffffffff050000000000000009000000000000000900020002000500030001000100040001"
    "000000"
    "5075744f626a6563746f6b7333616c6963653a3a3152626b2fc3a97606000200"
    "7368613235363030"
)


class Clock:
    def now_ns(self) -> int:
        return 1_764_400_000_000_000_000

    def monotonic_ns(self) -> int:
        return 0


class Host:
    def boot_id(self) -> bytes:
        return bytes(16)

    def pid_namespace(self) -> int:
        return 1

    def random_u64(self) -> int:
        return 0x1122334455667788


def test_a_record() -> None:
    assert encode(RECORD).hex() == RECORD_HEX
    assert decode(bytes.fromhex(RECORD_HEX)) == RECORD
    assert HEAD.size == 60


def test_a_trail(tmp_path: Path) -> None:
    signer = Ed25519Signer(bytes(range(32)))
    with open_trail(str(tmp_path), signer, clock=Clock(), host=Host()) as writer:
        head = writer.append([RECORD, RECORD], b"cursor")
        writer.append_timestamp(b"token")
    raw = (tmp_path / file_name(1)).read_bytes()
    assert (HEADER.size, HEADER_SIZE, FILE_HEADER_SIZE) == (200, 200, 88)
    assert raw[:8] == b"TVAUTRL1"
    assert raw[88:96] == b"TVAUBLK1"
    second = raw.index(b"TVAUBLK1", 89)
    assert raw[second + 128 : second + 192] == b"cursor".ljust(64, b"\0")
    number, first, count, size = struct.unpack_from("<QQII", raw, second + 16)
    assert (number, first, count, size) == (2, 2, 2, 12 + 2 * len(RECORD_HEX) // 2)
    table = struct.unpack_from("<3I", raw, second + 200)
    assert table == (0, len(RECORD_HEX) // 2, len(RECORD_HEX))
    end = second + 200 + size
    assert raw[end : end + 32] == hashlib.sha256(raw[second:end]).digest() == head.digest
    assert raw[end + 32 : end + 36] == (64).to_bytes(4, "little")
    assert hashlib.sha256(raw).hexdigest() == TRAIL_SHA256
    assert str(head) == HEAD_LINE
    assert Head.parse(HEAD_LINE) == head
    assert verify(str(tmp_path), expected_head=Head.parse(HEAD_LINE)).ok


TRAIL_SHA256 = "5929c9116dd88b2a853c66b07bc7f083fc53e207de470d9c09fc2d53804c6105"
HEAD_LINE = (
    "tickvault-head:88776655443322118877665544332211:3:2:35adfdccb12113142afe61d428fe5992ceb9ed3f15d55c33"
    "b5508fcd86eb6a2d:64992a33d94ec4d4321df375d9dd34975bce6df240057f11d322d68b8a719d9c1953ccc52af929f445e"
    "2a38f0f13ee2a1d0f90883a3fab6d4095f063d6187a09"
)
