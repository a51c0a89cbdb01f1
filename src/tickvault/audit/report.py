"""What a verification found, as values and as text.

Invariants: a report that is `ok` has no fault; a warning is something that an operator should know and no proof of a
change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from tickvault.audit.chain import Fault
from tickvault.audit.head import Head
from tickvault.audit.signing import PublicKey


@dataclass(slots=True)
class VerifyReport:
    """The outcome of `verify`."""

    folder: str
    trail_id: bytes = b""
    files: int = 0
    blocks: int = 0
    records: int = 0
    size_bytes: int = 0
    timestamps: int = 0
    """RFC 3161 tokens in the chain. Their hash is compared; their signature only `rfc3161.check_token` checks."""
    first_time_ns: int = 0
    last_time_ns: int = 0
    blocks_dated_back: int = 0
    """Blocks with records dated more than an hour before ones that precede them."""
    keys: list[tuple[PublicKey, int]] = field(default_factory=list)
    """Each signer's key with the block that introduced it."""
    keys_pinned: bool = False
    """Whether the keys were told from elsewhere; otherwise they come from the trail itself."""
    head: Head | None = None
    expected_head: Head | None = None
    fault: Fault | None = None
    unfinished_bytes: int = 0
    """Behind the last block: of an append that was never acknowledged."""
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None

    def text(self) -> str:
        """Return the report for a reader."""
        lines = [f"{'PASS' if self.ok else 'FAIL'}  audit trail {self.trail_id.hex() or '(none)'} in {self.folder}"]
        if self.fault is not None:
            lines.append(f"first fault: {self.fault}")
        lines.append(
            f"{self.records:,} records in {self.blocks:,} blocks and {self.files:,} files, {self.size_bytes:,} bytes"
            f"{' before it' if self.fault is not None else ''}; {self.timestamps} timestamps; {self.seconds:.2f} s"
        )
        if self.records:
            lines.append(f"from {_utc(self.first_time_ns)} to {_utc(self.last_time_ns)}")
        for key, block in self.keys:
            lines.append(f"signer {key.key_id.hex()} ({key.algorithm}) from block {block} on")
        if self.expected_head is not None and self.ok:
            lines.append(f"the head that was kept elsewhere (block {self.expected_head.block_number}) is in the chain")
        lines += [f"note: {warning}" for warning in self.warnings]
        if self.head is not None:
            lines.append(str(self.head))
        return "\n".join(lines)


def _utc(time_ns: int) -> str:
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
