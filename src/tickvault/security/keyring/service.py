"""Who wraps data keys: the protocol of a key service, whatever stands behind it.

Invariants: what `wrap` returned opens only with the same key id and the same binding; a key-encryption key never leaves
the service; an error names the key id and never a key, a token or a passphrase.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, Protocol

from tickvault.errors import InvalidInputError

KeyState = Literal["enabled", "disabled", "destroyed"]

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class KeyDescription(NamedTuple):
    """What may be known of a key-encryption key. Times are nanoseconds since the epoch, UTC; 0 is not known."""

    key_id: str
    state: KeyState
    suite: str
    current_version: int
    """Wraps; 0 when destroyed."""
    versions: tuple[int, ...]
    """Can unwrap."""
    created_ns: int = 0
    created_by: str = ""
    changed_ns: int = 0
    """Of the last rotation, disabling, enabling or destruction."""
    changed_by: str = ""


class KeyService(Protocol):
    """Keeps key-encryption keys, and wraps and unwraps data keys under them."""

    def wrap(self, key_id: str, plaintext: bytes, binding: bytes) -> bytes:
        """Return a data key wrapped under the current version of a key.

        Parameters
        ----------
        key_id : str
            See `check_key_id`.
        plaintext : bytes
            At most 256.
        binding : bytes
            What it belongs to; at most 70,000 bytes.

        Raises
        ------
        AccessDeniedError
            The key is missing, disabled or destroyed, or the service refuses.
        BusyError
            The service did not answer in time.
        """

    def unwrap(self, key_id: str, blob: bytes, binding: bytes) -> bytes:
        """Return the data key of what `wrap` returned.

        Raises
        ------
        IntegrityError
            The blob was changed, or belongs to another key or binding.
        AccessDeniedError
            See `wrap`; also that the version of the key is missing.
        BusyError
            See `wrap`.
        """

    def describe(self, key_id: str) -> KeyDescription:
        """Return what is known of a key.

        Raises
        ------
        NotFoundError
            There is none.
        """

    def create(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a key.

        Raises
        ------
        AlreadyExistsError
            There is one of that id, or was one that is destroyed.
        """

    def rotate(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a new version current; older ones still unwrap."""

    def destroy(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Destroy all versions of a key: what was encrypted under it can never be read again."""


def check_key_id(key_id: str) -> str:
    """Return a key id if it is one.

    Raises
    ------
    InvalidInputError
        It is not 1 to 128 letters, digits, ``.``, ``_`` and ``-``, or does not begin with a letter or digit.
    """
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise InvalidInputError(
            f"key id {key_id!r:.150}: must be 1 to 128 letters, digits, '.', '_' or '-', and begin with one "
            "of the first two"
        )
    return key_id
