"""A key-encryption key with its versions, as the keyring holds it.

Invariants: a key has no secret once it is destroyed, and keeps its id, when and who for ever; a version's number is
one above the last and is never given again; neither class shows a secret in its representation.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from tickvault.errors import ConflictError, FormatError, InvalidInputError
from tickvault.security.cipher import SUITES, suite_named
from tickvault.security.keyring.faults import KeyDestroyedError, KeyDisabledError, KeyMissingError, told
from tickvault.security.keyring.service import KeyDescription, KeyState, check_key_id

#: Versions of one key, at most.
VERSION_COUNT_MAX = 1000
#: Longest name of who did something, characters.
BY_LENGTH_MAX = 256

_STATES: dict[str, KeyState] = {"enabled": "enabled", "disabled": "disabled", "destroyed": "destroyed"}


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One generation of a key."""

    version: int
    material: bytes = field(repr=False)
    created_ns: int
    created_by: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key-encryption key. Times are nanoseconds since the epoch, UTC."""

    key_id: str
    suite: str
    state: KeyState
    versions: tuple[KeyVersion, ...]
    """Oldest first; the last one is current. Empty when destroyed."""
    created_ns: int
    created_by: str
    changed_ns: int = 0
    changed_by: str = ""

    @classmethod
    def new(cls, key_id: str, suite: str, now_ns: int, by: str, *, material: bytes | None = None) -> Key:
        """Return a key with one version, of fresh random bytes unless they are given."""
        chosen = suite_named(suite)
        if material is not None and len(material) != chosen.key_size:
            raise InvalidInputError(f"a key of {suite} must have {chosen.key_size} bytes, has {len(material)}")
        version = KeyVersion(1, bytes(material) if material is not None else chosen.new_key(), now_ns, check_by(by))
        return cls(check_key_id(key_id), suite, "enabled", (version,), now_ns, by)

    def rotated(self, now_ns: int, by: str) -> Key:
        """Return the key with a new version."""
        if self.state != "enabled":
            raise ConflictError(f"rotate key {self.key_id}: it is {self.state}; only an enabled key gets a new version")
        last = self.versions[-1].version
        if last >= VERSION_COUNT_MAX:
            raise InvalidInputError(
                f"rotate key {self.key_id}: it has {last} versions, the most there may be; make another"
            )
        version = KeyVersion(last + 1, suite_named(self.suite).new_key(), now_ns, check_by(by))
        return replace(self, versions=(*self.versions, version), changed_ns=now_ns, changed_by=by)

    def turned(self, state: KeyState, now_ns: int, by: str) -> Key:
        """Return the key in another state; a destroyed one stays so, and has no secret."""
        if self.state == "destroyed":
            raise ConflictError(f"key {self.key_id} is destroyed; what was encrypted under it cannot be read any more")
        versions = () if state == "destroyed" else self.versions
        return replace(self, state=state, versions=versions, changed_ns=now_ns, changed_by=check_by(by))

    def describe(self) -> KeyDescription:
        """Return what may be told of it."""
        numbers = tuple(version.version for version in self.versions)
        return KeyDescription(
            self.key_id,
            self.state,
            self.suite,
            numbers[-1] if numbers else 0,
            numbers,
            self.created_ns,
            self.created_by,
            self.changed_ns,
            self.changed_by,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what the sealed part of the file holds, secrets and all."""
        return {
            "key_id": self.key_id,
            "suite": self.suite,
            "state": self.state,
            "created_ns": self.created_ns,
            "created_by": self.created_by,
            "changed_ns": self.changed_ns,
            "changed_by": self.changed_by,
            "versions": [
                {
                    "version": each.version,
                    "material": base64.b64encode(each.material).decode("ascii"),
                    "created_ns": each.created_ns,
                    "created_by": each.created_by,
                }
                for each in self.versions
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Key:
        """Return the key of what `to_json` returned.

        Raises
        ------
        FormatError
            It is not that; another release wrote it.
        """
        try:
            state, suite = _STATES[data["state"]], SUITES[data["suite"]]
            versions = tuple(
                KeyVersion(
                    int(each["version"]),
                    base64.b64decode(each["material"], validate=True),
                    int(each["created_ns"]),
                    str(each["created_by"]),
                )
                for each in data["versions"]
            )
            key = cls(
                check_key_id(data["key_id"]),
                suite.name,
                state,
                versions,
                int(data["created_ns"]),
                str(data["created_by"]),
                int(data["changed_ns"]),
                str(data["changed_by"]),
            )
        except (KeyError, TypeError, ValueError):
            # Without the cause: it could quote what it could not read.
            raise FormatError("the keyring holds a key that this release cannot read; a newer one wrote it") from None
        numbers = [version.version for version in versions]
        rising = all(low < high for low, high in pairwise(numbers))
        sizes = all(len(version.material) == suite.key_size for version in versions)
        if not rising or not sizes or bool(numbers) != (state != "destroyed") or min(numbers, default=1) < 1:
            raise FormatError(f"the keyring's key {key.key_id} contradicts itself; restore the file from a backup")
        return key


def check_by(by: str) -> str:
    """Return the name of who does something, if it can be kept.

    Raises
    ------
    InvalidInputError
        It is longer than `BY_LENGTH_MAX` characters, or not printable.
    """
    if not isinstance(by, str) or len(by) > BY_LENGTH_MAX or not by.isprintable():
        raise InvalidInputError(f"by={by!r:.80}: must be at most {BY_LENGTH_MAX} printable characters")
    return by


def usable(keys: Mapping[str, Key], key_id: str, doing: str, path: str) -> Key:
    """Return a key that may wrap and unwrap.

    Raises
    ------
    AccessDeniedError
        It is missing, disabled or destroyed; the message says what to do.
    """
    key = keys.get(check_key_id(key_id))
    if key is None:
        missing = KeyMissingError(
            f"{doing} with key {key_id}: it is not in {path}; open the keyring that has it, or restore it from a backup"
        )
        raise told(missing, f"Key {key_id} does not exist.")
    if key.state == "disabled":
        disabled = KeyDisabledError(
            f"{doing} with key {key_id}: it was disabled{_since(key)}; if it may be used again, enable it "
            f"(`tickvault keys enable {key_id}`)"
        )
        raise told(disabled, f"Key {key_id} is disabled.")
    if key.state == "destroyed":
        destroyed = KeyDestroyedError(
            f"{doing} with key {key_id}: it was destroyed{_since(key)}; what was encrypted under it cannot be read any "
            "more, and new objects need another key"
        )
        raise told(destroyed, f"Key {key_id} was destroyed; what was encrypted under it cannot be read any more.")
    return key


def _since(key: Key) -> str:
    by = f" by {key.changed_by}" if key.changed_by else ""
    changed = datetime.fromtimestamp(key.changed_ns // 10**9, UTC)
    return f" at {changed:%Y-%m-%dT%H:%M:%S}.{key.changed_ns // 10**6 % 1000:03d}Z{by}"
