"""The keys of a trail, as the chain itself tells them: records that introduce a signer's public key.

Invariants: the first block introduces the first key and is signed by it; every later key is introduced by a block that
the key before signed, and signs from the next block on, so at any block exactly one key may sign. A key that introduces
itself later (the one before was lost) is believed only by whoever was told it from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tickvault.audit.block import FLAG_KEYS, HEADER_SIZE, check_body, payloads_of
from tickvault.audit.chain import Located, Walk
from tickvault.audit.codec import decode
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.signing import PublicKey, public_key
from tickvault.errors import FormatError
from tickvault.seam.disk import Disk

KEY_ACTION = "AddAuditSigner"
_ACTION_BYTES = KEY_ACTION.encode()


def key_record(key: PublicKey, time_ns: int, *, replaces: bytes = b"", lost: bool = False) -> AuditRecord:
    """Return the record that introduces a key."""
    detail = {"algorithm": key.algorithm, "key_id": key.key_id.hex(), "public_key": key.key.hex()}
    if replaces:
        detail["replaces"] = replaces.hex()
    if lost:
        detail["reason"] = "the key before was lost; this one introduces itself"
    return AuditRecord(
        0, time_ns, -1, Category.SYSTEM, KEY_ACTION, "ok", 0, "system", "", "", "", "", "", "", 0, 0, detail
    )


def introduced(payloads: Sequence[bytes]) -> PublicKey | None:
    """Return the key that the records of a block introduce, the last if there are several.

    Raises
    ------
    FormatError
        A record says that it introduces a key, and does not.
    """
    found = None
    for payload in payloads:
        if _ACTION_BYTES not in payload:
            continue
        record = decode(payload)
        if record.action == KEY_ACTION and record.category == Category.SYSTEM:
            found = public_key(record.detail.get("algorithm", ""), record.detail.get("public_key", ""))
    return found


class KeyChain:
    """Which key must have signed the next block.

    Parameters
    ----------
    pinned : iterable of PublicKey, optional
        Keys that were told from elsewhere. With any, the first key of the trail has to be one of them.
    """

    def __init__(self, pinned: Iterable[PublicKey] | None = None) -> None:
        self._pinned = None if pinned is None else {key.key_id: key for key in pinned}
        self.current: PublicKey | None = None
        self.seen: list[tuple[PublicKey, int]] = []
        """Each key with the block that introduced it."""

    def signer_of(self, key_id: bytes, number: int, new: PublicKey | None) -> PublicKey:
        """Return the key that signed a block, and take note of the one that the block introduces.

        Parameters
        ----------
        key_id : bytes
            As the block's header has it.
        new : PublicKey or None
            What the block introduces.

        Raises
        ------
        FormatError
            That key may not sign this block; the message says why.
        """
        signer = self.current
        if signer is None or signer.key_id != key_id:
            # Only a key that introduces itself may sign here.
            if new is None or new.key_id != key_id:
                expected = "one that the block introduces" if signer is None else signer.key_id.hex()
                raise FormatError(f"it is signed by key {key_id.hex()}, and must be by {expected}")
            if self._pinned is None and signer is not None:
                raise FormatError(
                    f"key {key_id.hex()} introduces itself, as after the key before was lost; who trusts it says so by "
                    "giving its public key"
                )
            if self._pinned is not None and key_id not in self._pinned:
                raise FormatError(
                    f"it is signed by key {key_id.hex()}, which is none of the public keys that were given"
                )
            signer = new
        if new is not None:
            self.current = new
            self.seen.append((new, number))
        elif self.current is None:
            self.current = signer
        return signer


def introduced_by(disk: Disk, block: Located) -> tuple[PublicKey | None, str]:
    """Return the key that a block introduces, and what is wrong with the block, empty if nothing is.

    Reads the block only if its header says that it introduces one.
    """
    header = block.header
    if not header.flags & FLAG_KEYS:
        return None, ""
    raw = disk.pread(block.fd, header.hash_offset, block.offset)
    fault = check_body(header, raw, block.tail.digest)
    if fault:
        return None, fault
    try:
        return introduced(payloads_of(header, raw[HEADER_SIZE:])), ""
    except FormatError as error:
        return None, str(error)


def trail_keys(disk: Disk, folder: str) -> list[tuple[PublicKey, int]]:
    """Return the keys that a trail introduces, each with its block; nothing is verified."""
    keys: list[tuple[PublicKey, int]] = []
    for block in Walk(disk, folder):
        key, _ = introduced_by(disk, block)
        if key is not None:
            keys.append((key, block.header.number))
    return keys
