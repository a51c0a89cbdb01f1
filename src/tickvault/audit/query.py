"""Finding records in a trail.

Invariants: the hash of a block is checked before a record of it is handed out; blocks outside the time asked for are
never read, and those that cannot hold a text asked for are read and not decoded; a record that was not acknowledged yet
is not shown; records come in the order of the trail, or in the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tickvault.audit.block import HEADER_SIZE, BlockHeader, BlockKind, check_body, payloads_of
from tickvault.audit.chain import BrokenBlockError, Located, Walk
from tickvault.audit.codec import decode
from tickvault.audit.files import file_name
from tickvault.audit.head import acknowledged_block, read_page
from tickvault.audit.pattern import Pattern
from tickvault.audit.record import AuditRecord, Category
from tickvault.errors import FormatError, InvalidInputError
from tickvault.seam.disk import Disk, OsDisk


def query(
    folder: str,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    identity: str | None = None,
    bucket: str | None = None,
    key: str | None = None,
    key_prefix: str | None = None,
    action: str | None = None,
    result: str | None = None,
    category: Category | None = None,
    sequence_from: int = 1,
    limit: int | None = None,
    newest_first: bool = False,
    disk: Disk | None = None,
) -> Iterator[AuditRecord]:
    """Yield the records that fit, in the order of the trail.

    Parameters
    ----------
    folder : str
        ``VAULT/audit``.
    since_ns, until_ns : int, optional
        ``[since, until)`` of a record's time, nanoseconds since the epoch, UTC.
    identity, bucket, key, action, result : str, optional
        The whole text; ``*`` stands for any letters.
    key_prefix : str, optional
        How the key begins, letter by letter.
    sequence_from : int
        Least sequence.
    limit : int, optional
        Most records.
    newest_first : bool
        From the end of the trail to its beginning.

    Raises
    ------
    BrokenBlockError
        The walk came to a block that is damaged.
    InvalidInputError
        An argument is out of range.
    """
    if limit is not None and limit < 0:
        raise InvalidInputError(f"limit: must be 0 or more, was {limit}")
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise InvalidInputError(f"query: since must not be later than until, were {since_ns} and {until_ns}")
    tests: list[Callable[[AuditRecord], bool]] = []
    needles: list[bytes] = []
    for name, text in (
        ("action", action), ("result", result), ("identity", identity), ("bucket", bucket), ("key", key),
    ):  # fmt: skip
        if text is not None:
            pattern = Pattern(text)
            tests.append(_fits(name, pattern))
            needles.append(pattern.longest_piece.encode("utf-8", "surrogatepass"))
    if key_prefix:
        prefix = key_prefix
        tests.append(lambda record: record.key.startswith(prefix))
        needles.append(prefix.encode("utf-8", "surrogatepass"))
    if category is not None:
        tests.append(lambda record: record.category == category)
    if since_ns is not None:
        since = since_ns
        tests.append(lambda record: record.time_ns >= since)
    if until_ns is not None:
        until = until_ns
        tests.append(lambda record: record.time_ns < until)
    if sequence_from > 1:
        tests.append(lambda record: record.sequence >= sequence_from)

    def may_hold(header: BlockHeader) -> bool:
        return (
            header.kind == BlockKind.RECORDS
            and header.last_sequence >= sequence_from
            and (since_ns is None or header.last_time_ns >= since_ns)
            and (until_ns is None or header.first_time_ns < until_ns)
        )

    found = _records(disk or OsDisk(), folder, may_hold, tests, [needle for needle in needles if needle], newest_first)
    return found if limit is None else _first(found, limit)


def _fits(name: str, pattern: Pattern) -> Callable[[AuditRecord], bool]:
    def test(record: AuditRecord) -> bool:
        return pattern.matches(getattr(record, name))

    return test


def _first(records: Iterator[AuditRecord], count: int) -> Iterator[AuditRecord]:
    for _, record in zip(range(count), records, strict=False):
        yield record


def _records(
    disk: Disk,
    folder: str,
    may_hold: Callable[[BlockHeader], bool],
    tests: list[Callable[[AuditRecord], bool]],
    needles: list[bytes],
    newest_first: bool,
) -> Iterator[AuditRecord]:
    for block in blocks(disk, folder, may_hold, newest_first=newest_first):
        raw = read_block(disk, folder, block)
        if not all(needle in raw for needle in needles):
            continue
        for record in records_of(block, raw, newest_first=newest_first):
            if all(test(record) for test in tests):
                yield record


def blocks(
    disk: Disk, folder: str, may_hold: Callable[[BlockHeader], bool], *, newest_first: bool = False
) -> Iterator[Located]:
    """Yield the blocks whose header passes a test, in order or in reverse."""
    walk = acknowledged_blocks(disk, folder)
    if not newest_first:
        yield from (block for block in walk if may_hold(block.header))
        return
    # The links run backward, but only a forward walk checks them; a header takes a few hundred bytes here.
    yield from reversed([block for block in walk if may_hold(block.header)])


def acknowledged_blocks(disk: Disk, folder: str) -> Iterator[Located]:
    """Yield the blocks that were acknowledged, as far as that can be told."""
    limit = acknowledged_block(folder)
    for block in Walk(disk, folder, acknowledged=read_page(folder)):
        if limit is not None and block.header.number > limit:
            return
        yield block


def read_block(disk: Disk, folder: str, block: Located) -> bytes:
    """Return header and body of a block whose hash holds.

    Raises
    ------
    BrokenBlockError
        It does not.
    """
    fd = disk.open(f"{folder}/{file_name(block.file_number)}", writable=False)
    try:
        raw = disk.pread(fd, block.header.hash_offset, block.offset)
    finally:
        disk.close(fd)
    fault = check_body(block.header, raw, block.tail.digest)
    if fault:
        raise BrokenBlockError(block.fault("changed", fault))
    return raw


def records_of(block: Located, raw: bytes, *, newest_first: bool = False) -> Iterator[AuditRecord]:
    """Yield the records of a block that was read."""
    header = block.header
    numbered = list(enumerate(payloads_of(header, raw[HEADER_SIZE:]), header.first_sequence))
    for sequence, payload in reversed(numbered) if newest_first else numbered:
        try:
            yield decode(payload, sequence)
        except FormatError as error:
            raise BrokenBlockError(block.fault("changed", str(error))) from error
