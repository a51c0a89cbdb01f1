"""Key-encryption keys by name and version, in one sealed file.

Invariants: a change is durable before it is answered, and made on what the file says, never on what this process
remembers; a file of a lower generation than was seen, or of another keyring, is refused; an id, once destroyed, never
has a secret again, also not an imported one; what another process changed is seen within `check_interval_s`.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tickvault.errors import AccessDeniedError, AlreadyExistsError, IntegrityError, NotFoundError, TickVaultError
from tickvault.seam.clock import Clock, SystemClock
from tickvault.seam.disk import Disk, OsDisk
from tickvault.security.cipher import AES_256_GCM
from tickvault.security.keyring import storing
from tickvault.security.keyring.faults import as_fault
from tickvault.security.keyring.key import Key
from tickvault.security.keyring.protection import Protection
from tickvault.security.keyring.sealed_file import KeyringContent, decode, encode
from tickvault.security.keyring.service import KeyDescription, check_key_id

#: How often a reader looks whether the file was replaced, seconds.
CHECK_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One generation of a keyring, as it was read. Compared by identity: a later one is another object."""

    content: KeyringContent
    file: storing.StoredFile


class Keyring:
    """An open keyring; see `create_keyring` and `open_keyring`. Threads may share it."""

    def __init__(
        self,
        path: str,
        protection: Protection,
        *,
        lowest_generation: int,
        keyring_id: str = "",
        disk: Disk,
        clock: Clock,
        check_interval_s: float,
    ) -> None:
        self.path = path
        self._protection = protection
        self._disk = disk
        self._clock = clock
        self._interval_ns = int(check_interval_s * 1e9)
        self._lock = threading.RLock()
        self._lowest = lowest_generation
        self._keyring_id = keyring_id
        self._check_at_ns = 0
        self._snapshot = self._load()

    def __repr__(self) -> str:
        return f"Keyring({self.path!r}, generation={self.generation})"

    @property
    def generation(self) -> int:
        """Rises with every change; keep it elsewhere and give it to `open_keyring`, which refuses an older file."""
        return self._snapshot.content.generation

    @property
    def keyring_id(self) -> str:
        """Names this keyring for ever, whatever its generation and protection."""
        return self._snapshot.content.keyring_id

    def snapshot(self, *, now: bool = False) -> Snapshot:
        """Return the current generation, read anew when another process replaced the file.

        Parameters
        ----------
        now : bool
            Look at the file also if that was done less than `check_interval_s` ago.
        """
        if not now and self._clock.monotonic_ns() < self._check_at_ns:
            return self._snapshot
        with self._lock:
            try:
                if not self._snapshot.file.is_current(self.path):
                    self._snapshot = self._load()
            except TickVaultError as error:
                # It was opened: what is wrong now is not that of any object.
                raise as_fault(error) from None
            self._check_at_ns = self._clock.monotonic_ns() + self._interval_ns
            return self._snapshot

    def keys(self) -> list[KeyDescription]:
        """Return all keys by id, destroyed ones too."""
        content = self.snapshot(now=True).content
        return [content.keys[key_id].describe() for key_id in sorted(content.keys)]

    def describe(self, key_id: str) -> KeyDescription:
        """Return what is known of a key.

        Raises
        ------
        NotFoundError
            There is none.
        """
        return self._existing(self.snapshot(now=True).content, key_id).describe()

    def create_key(
        self, key_id: str, *, suite: str = AES_256_GCM.name, by: str = "", material: bytes | None = None
    ) -> KeyDescription:
        """Make a key, or import one.

        Parameters
        ----------
        key_id : str
            1 to 128 letters, digits, ``.``, ``_`` and ``-``.
        suite : str
            The cipher that wraps with it; choose the one of the bodies.
        by : str
            Who does it; kept with the key.
        material : bytes, optional
            The secret, if it was made elsewhere.

        Raises
        ------
        AlreadyExistsError
            There is one of that id, or was one that is destroyed.
        """
        check_key_id(key_id)

        def add(old: Key | None) -> Key:
            if old is not None and old.state == "destroyed":
                raise AlreadyExistsError(
                    f"create key {key_id}: a key of that id was destroyed, and never comes back; choose another id"
                )
            if old is not None:
                raise AlreadyExistsError(f"create key {key_id}: it is there already; rotate it, or choose another id")
            return Key.new(key_id, suite, self._clock.now_ns(), by, material=material)

        return self._change(key_id, add)

    def rotate(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a new version current; older ones still unwrap."""
        return self._change_existing(key_id, lambda key: key.rotated(self._clock.now_ns(), by))

    def disable(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Refuse wrapping and unwrapping until the key is enabled again."""
        return self._change_existing(key_id, lambda key: key.turned("disabled", self._clock.now_ns(), by))

    def enable(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Take `disable` back."""
        return self._change_existing(key_id, lambda key: key.turned("enabled", self._clock.now_ns(), by))

    def destroy(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Destroy every version of a key: what was encrypted under it can never be read again.

        The id stays, with when and who. Copies of the keyring file that were made before still hold the secret, as may
        free blocks of the disk.
        """
        return self._change_existing(key_id, lambda key: key.turned("destroyed", self._clock.now_ns(), by))

    def protect(self, protection: Protection) -> None:
        """Seal the file with another passphrase or key file from now on.

        Other processes that have it open must be given the new one: they raise `AccessDeniedError`.
        """
        with self._lock, storing.locked(self.path):
            old = self._reload()
            self._store(old._replace(generation=old.generation + 1, protection=protection.fresh()), protection)

    def close(self) -> None:
        """Let the file go."""
        self._snapshot.file.close()

    def _change_existing(self, key_id: str, change: Callable[[Key], Key]) -> KeyDescription:
        def checked(old: Key | None) -> Key:
            if old is None:
                raise self._missing(key_id)
            return change(old)

        return self._change(key_id, checked)

    def _change(self, key_id: str, change: Callable[[Key | None], Key]) -> KeyDescription:
        with self._lock, storing.locked(self.path):
            old = self._reload()
            key = change(old.keys.get(key_id))
            keys = {**old.keys, key_id: key}
            self._store(old._replace(generation=old.generation + 1, keys=keys), self._protection)
            return key.describe()

    def _reload(self) -> KeyringContent:
        return self.snapshot(now=True).content

    def _store(self, content: KeyringContent, protection: Protection) -> None:
        storing.replace(self._disk, self.path, encode(content, protection))
        self._protection = protection
        # From the file, so that what could not be read again is noticed now.
        self._snapshot = self._load()

    def _load(self) -> Snapshot:
        file = storing.StoredFile(self._disk, self.path)
        content = decode(file.data, self._protection, self.path)
        if self._keyring_id and content.keyring_id != self._keyring_id:
            raise AccessDeniedError(f"{self.path}: was replaced by another keyring; put the right one back")
        if content.generation < self._lowest:
            # Without its id the two cannot be told apart.
            other = "" if self._keyring_id else ", or another keyring"
            raise IntegrityError(
                f"{self.path}: is of generation {content.generation}, and generation {self._lowest} was seen already: "
                f"an older copy was put in its place{other}; keys may be missing in it, or destroyed ones back. Put "
                "the newest one back"
            )
        self._lowest, self._keyring_id = content.generation, content.keyring_id
        return Snapshot(content, file)

    def _existing(self, content: KeyringContent, key_id: str) -> Key:
        key = content.keys.get(check_key_id(key_id))
        if key is None:
            raise self._missing(key_id)
        return key

    def _missing(self, key_id: str) -> NotFoundError:
        return NotFoundError(f"there is no key {key_id} in {self.path}; make it, or look at the keys there are")


def create_keyring(
    path: str,
    protection: Protection,
    *,
    disk: Disk | None = None,
    clock: Clock | None = None,
    check_interval_s: float = CHECK_INTERVAL_S,
) -> Keyring:
    """Make an empty keyring file and open it.

    Raises
    ------
    AlreadyExistsError
        There is a file of that name; it is not replaced.
    """
    disk = disk or OsDisk()
    path = os.path.abspath(path)
    with storing.locked(path):
        if storing.exists(disk, path):
            raise AlreadyExistsError(f"{path}: there is a file already; open it, or choose another name")
        content = KeyringContent(secrets.token_hex(16), 1, protection.fresh(), {})
        storing.replace(disk, path, encode(content, protection))
    return open_keyring(path, protection, disk=disk, clock=clock, check_interval_s=check_interval_s)


def open_keyring(
    path: str,
    protection: Protection,
    *,
    lowest_generation: int = 0,
    keyring_id: str = "",
    disk: Disk | None = None,
    clock: Clock | None = None,
    check_interval_s: float = CHECK_INTERVAL_S,
) -> Keyring:
    """Open a keyring file.

    Parameters
    ----------
    path : str
        The file.
    protection : Protection
        A `Passphrase` or a `KeyFile`.
    lowest_generation : int
        The highest generation that the caller has seen and kept elsewhere; an older file is refused.
    keyring_id : str, optional
        `Keyring.keyring_id` as the caller has kept it elsewhere; another keyring is refused as such, whatever its
        generation. Empty: any is taken.
    check_interval_s : float
        How often to look whether another process replaced the file, seconds.

    Raises
    ------
    NotFoundError
        There is no such file.
    AccessDeniedError
        The passphrase or the key file is another one, or the keyring is another one than `keyring_id`.
    IntegrityError
        The file is damaged or cut off, or older than `lowest_generation`.
    FormatError
        It is no keyring, or a newer release wrote it.
    """
    return Keyring(
        os.path.abspath(path),
        protection,
        lowest_generation=lowest_generation,
        keyring_id=keyring_id,
        disk=disk or OsDisk(),
        clock=clock or SystemClock(),
        check_interval_s=check_interval_s,
    )
