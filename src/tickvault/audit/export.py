"""A part of the trail as a folder that can be verified without TickVault, years later.

Invariants: the bundle is there whole or not at all; its blocks are the trail's own bytes, in one piece from the first
to the last that may hold a record of the range; whatever is in it is named, with its SHA-256, in `manifest.json`.

::

    manifest.json   what the bundle is: trail, range, heads, checksum of every file
    blocks/         the blocks, a file for each trail file
    records.jsonl   the records of the range, one a line
    records.parquet the same, if pyarrow is installed
    index.json      which block lies where and holds which sequences and times
    keys.json       the public keys of all signers
    verify.py       checks all of it, with Python 3.8 or later and nothing else
    README.txt
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from tickvault._version import __version__
from tickvault.audit import parquet
from tickvault.audit.block import BlockHeader, BlockKind
from tickvault.audit.chain import Located
from tickvault.audit.files import file_name
from tickvault.audit.head import Head
from tickvault.audit.jsonl import as_line, time_text
from tickvault.audit.keys import trail_keys
from tickvault.audit.query import blocks, read_block, records_of
from tickvault.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.seam.disk import Disk, OsDisk, storage_error

FORMATS = ("jsonl", "parquet")
BUNDLE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds."""

    folder: str
    first_block: int
    last_block: int
    first_sequence: int
    last_sequence: int
    records: int
    """In the range of time; the blocks may hold more."""
    size_bytes: int
    head: Head
    """The last block of the bundle."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Formats that were asked for and are not there, with the reason."""


def export(
    folder: str,
    destination: str,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    formats: Sequence[str] = FORMATS,
    disk: Disk | None = None,
    clock: Clock | None = None,
) -> ExportReport:
    """Write a bundle of the records in ``[since, until)``.

    Parameters
    ----------
    folder : str
        ``VAULT/audit``.
    destination : str
        Folder to make; must not exist.
    formats : sequence of {'jsonl', 'parquet'}
        Besides the blocks.

    Raises
    ------
    AlreadyExistsError
        The destination exists.
    NotFoundError
        No block may hold a record of the range.
    BrokenBlockError
        The trail is damaged.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise InvalidInputError(f"formats: must be some of {', '.join(FORMATS)}, had {', '.join(unknown)}")
    if since_ns is not None and until_ns is not None and since_ns >= until_ns:
        raise InvalidInputError(f"export: since must be earlier than until, were {since_ns} and {until_ns}")
    destination = os.path.abspath(destination)
    if os.path.lexists(destination):
        raise AlreadyExistsError(f"export to {destination}: it exists; choose another name")
    temporary = f"{destination}.{secrets.token_hex(4)}.new"
    disk = disk or OsDisk()
    try:
        os.makedirs(os.path.join(temporary, "blocks"), mode=0o700)
        bundle = _Bundle(folder, temporary, since_ns, until_ns, formats, disk, clock or SystemClock())
        bundle.write()
        _sync_tree(temporary)
        if os.path.lexists(destination):
            raise AlreadyExistsError(f"export to {destination}: it was made meanwhile; choose another name")
        os.rename(temporary, destination)
        OsDisk().sync_directory(os.path.dirname(destination))
        return bundle.report(destination)
    except OSError as error:
        raise storage_error(error, "export to", destination) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Bundle:
    def __init__(
        self,
        folder: str,
        target: str,
        since_ns: int | None,
        until_ns: int | None,
        formats: Sequence[str],
        disk: Disk,
        clock: Clock,
    ) -> None:
        self._folder = folder
        self._target = target
        self._since, self._until = since_ns, until_ns
        self._formats = formats
        self._disk = disk
        self._clock = clock
        self._first: Located | None = None
        self._last: Located | None = None
        self._trail_last: Located | None = None
        self._index: list[dict[str, Any]] = []
        self._records = 0
        self._size = 0
        self._left_out: dict[str, str] = {}

    def write(self) -> None:
        located = self._in_one_piece()
        with ExitStack() as stack:
            lines = parts = None
            if "jsonl" in self._formats:
                lines = stack.enter_context(open(self._path("records.jsonl"), "xb"))
            if "parquet" in self._formats:
                if parquet.available():
                    parts = parquet.ParquetFile(self._path("records.parquet"))
                    stack.callback(parts.close)
                else:
                    self._left_out["parquet"] = "pyarrow is not installed"
            for block, raw in self._copied(located, stack):
                for record in records_of(block, raw):
                    if (self._since is None or record.time_ns >= self._since) and (
                        self._until is None or record.time_ns < self._until
                    ):
                        self._records += 1
                        if lines is not None:
                            lines.write(as_line(record))
                        if parts is not None:
                            parts.add(record)
        keys = [
            {"key_id": key.key_id.hex(), "algorithm": key.algorithm, "public_key": key.key.hex(), "first_block": number}
            for key, number in trail_keys(self._disk, self._folder)
        ]
        self._write_json("keys.json", {"signers": keys})
        self._write_json("index.json", {"blocks": self._index})
        self._write("verify.py", _shipped("verify_bundle.py"))
        self._write_manifest()

    def _in_one_piece(self) -> list[Located]:
        """Return the blocks from the first to the last that may hold a record of the range."""

        def seen(header: BlockHeader) -> bool:
            return True

        every: list[Located] = []
        last = 0
        for block in blocks(self._disk, self._folder, seen):
            self._trail_last = block
            fits = self._may_hold(block.header)
            if fits or every:
                every.append(block)
            if fits:
                last = len(every)
        if not last:
            raise NotFoundError("export: no block of the trail may hold a record of that time; ask for a longer range")
        del every[last:]
        return every

    def _may_hold(self, header: BlockHeader) -> bool:
        return (
            header.kind == BlockKind.RECORDS
            and (self._since is None or header.last_time_ns >= self._since)
            and (self._until is None or header.first_time_ns < self._until)
        )

    def _copied(self, located: list[Located], stack: ExitStack) -> Iterator[tuple[Located, bytes]]:
        """Yield each block with its bytes, after they were copied."""
        name, offset = "", 0
        file: Any = None
        self._first, self._last = located[0], located[-1]
        for block in located:
            raw = read_block(self._disk, self._folder, block)
            if file_name(block.file_number) != name:
                name, offset = file_name(block.file_number), 0
                file = stack.enter_context(open(self._path(f"blocks/{name}"), "xb"))  # noqa: SIM115 -- the stack closes it
            tail = block.tail
            file.write(raw)
            file.write(tail.digest + len(tail.signature).to_bytes(4, "little") + tail.signature)
            header = block.header
            self._index.append(
                {
                    "file": f"blocks/{name}", "offset": offset, "size": block.size, "block": header.number,
                    "kind": header.kind, "first_sequence": header.first_sequence,
                    "last_sequence": header.last_sequence, "first_time_ns": header.first_time_ns,
                    "last_time_ns": header.last_time_ns, "hash": tail.digest.hex(),
                }
            )  # fmt: skip
            offset += block.size
            yield block, raw

    def _write_manifest(self) -> None:
        first, last, end = self._first, self._last, self._trail_last
        assert first is not None and last is not None and end is not None
        made = time_text(self._clock.now_ns())
        range_text = "".join(
            f" {word} {time_text(value)}"
            for word, value in (("from", self._since), ("until", self._until))
            if value is not None
        )
        facts: dict[str, Any] = {
            "trail_id": first.header.trail_id.hex(), "first_block": first.header.number,
            "last_block": last.header.number, "records": self._records,
        }  # fmt: skip
        readme = _shipped("README.txt").decode().format(**facts, range=range_text, made=made, version=__version__)
        self._write("README.txt", readme.encode())
        named = {}
        for root, _, names in os.walk(self._target):
            for name in names:
                path = os.path.join(root, name)
                named[os.path.relpath(path, self._target)] = _checksum(path)
        self._write_json(
            "manifest.json",
            {
                "format": BUNDLE_FORMAT,
                "tickvault": __version__,
                "made": made,
                **facts,
                "first_sequence": first.header.first_sequence,
                "last_sequence": last.header.last_sequence,
                "since_ns": self._since,
                "until_ns": self._until,
                "previous_hash": first.header.previous_hash.hex(),
                "head": str(last.head),
                "trail_head": str(end.head),
                "left_out": self._left_out,
                "files": dict(sorted(named.items())),
            },
        )
        self._size = sum(entry["size"] for entry in named.values())

    def report(self, destination: str) -> ExportReport:
        first, last = self._first, self._last
        assert first is not None and last is not None
        return ExportReport(
            destination, first.header.number, last.header.number, first.header.first_sequence,
            last.header.last_sequence, self._records, self._size, last.head, self._left_out,
        )  # fmt: skip

    def _path(self, name: str) -> str:
        return os.path.join(self._target, name)

    def _write(self, name: str, data: bytes) -> None:
        with open(self._path(name), "xb") as file:
            file.write(data)

    def _write_json(self, name: str, document: dict[str, Any]) -> None:
        self._write(name, json.dumps(document, indent=1).encode() + b"\n")


def _shipped(name: str) -> bytes:
    """Return a file that goes into every bundle."""
    return files("tickvault.audit").joinpath("standalone", name).read_bytes()


def _checksum(path: str) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def _sync_tree(folder: str) -> None:
    # Not the trail's disk: a bundle is no part of the vault.
    disk = OsDisk()
    for root, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(root, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                disk.sync(fd)
            finally:
                os.close(fd)
        disk.sync_directory(root)
