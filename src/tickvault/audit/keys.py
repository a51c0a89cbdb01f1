"""The keys of a trail, as the chain itself tells them: records that introduce a signer's public key.

Invariants: the first block introduces the first key and is signed by it; every later key is introduced by a block that
the key before signed, and signs from the next block on, so at any block exactly one key may sign. A key that introduces
itself later (the one before was lost) is believed only by whoever was told it from elsewhere. Whoever was also told
which block introduced a key believes no other block in its place: a key that was replaced signs nothing any more, even
where the block that names its successor was taken away.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tickvault.audit.block import FLAG_KEYS, HEADER_SIZE, check_body, payloads_of
from tickvault.audit.chain import Located, Walk
from tickvault.audit.codec import decode
from tickvault.audit.record import AuditRecord, Category
from tickvault.audit.signing import PublicKey, public_key
from tickvault.errors import FormatError
from tickvault.seam.disk import Disk

KEY_ACTION = "AddAuditSigner"
_ACTION_BYTES = KEY_ACTION.encode()


class PinnedKey(NamedTuple):
    """A public key that was told from elsewhere, and where in the trail it belongs."""

    key: PublicKey
    first_block: int | None = None
    """The block that introduced it; None: that was not told."""


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
    pinned : iterable of PublicKey or PinnedKey, optional
        Keys that were told from elsewhere. With any, the first key of the trail has to be one of them, and each whose
        first block was told as well has to be introduced there and to sign from there until the next one.
    """

    def __init__(self, pinned: Iterable[PublicKey | PinnedKey] | None = None) -> None:
        told = None if pinned is None else [one if isinstance(one, PinnedKey) else PinnedKey(one) for one in pinned]
        self._pinned = None if told is None else {one.key.key_id for one in told}
        #: They may introduce themselves in any block: where they belong was not told.
        placed = {one.key.key_id for one in told or () if one.first_block is not None}
        self._unplaced = (self._pinned or set()) - placed
        #: Block that introduces a key, in ascending order, to the key.
        self._places = {number: one for one, number in sorted(told or (), key=_place) if number is not None}
        self._place_numbers = list(self._places)
        self.current: PublicKey | None = None
        self.seen: list[tuple[PublicKey, int]] = []
        """Each key with the block that introduced it."""

    @property
    def last_place(self) -> int:
        """The last block that was told from elsewhere to introduce a key, 0 if none was."""
        return self._place_numbers[-1] if self._place_numbers else 0

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
        self._hold_against_places(key_id, number, new)
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
            if self._pinned is not None and key_id not in self._unplaced and number not in self._places:
                raise FormatError(
                    f"key {key_id.hex()} introduces itself, and the keys you gave name another block for that: it was "
                    "replaced, or the trail is another one"
                )
            signer = new
        if new is not None:
            self.current = new
            self.seen.append((new, number))
        elif self.current is None:
            self.current = signer
        return signer

    def _hold_against_places(self, key_id: bytes, number: int, new: PublicKey | None) -> None:
        """Hold a block against the blocks that were told from elsewhere to introduce keys."""
        due = self._places.get(number)
        if due is not None and (new is None or new.key_id != due.key_id):
            raise FormatError(
                f"block {number} must introduce key {due.key_id.hex()}, and what follows must be signed by key "
                f"{due.key_id.hex()}, which the keys you gave name from there on"
            )
        before = bisect_left(self._place_numbers, number) - 1
        if before < 0 or number > self.last_place:
            # What follows the last key that was told is for the chain to tell.
            return
        since = self._place_numbers[before]
        expected = self._places[since].key_id
        if key_id != expected and (due is None or key_id != due.key_id):
            raise FormatError(
                f"block {number} must be signed by key {expected.hex()}, which the keys you gave name from block "
                f"{since} on, and is by {key_id.hex()}"
            )


def _place(pinned: PinnedKey) -> int:
    return pinned.first_block or 0


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
