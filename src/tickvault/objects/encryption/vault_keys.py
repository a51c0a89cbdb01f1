"""The keys of a vault: its key service, opened when it is first needed, and every change of a key on record.

Invariants: a change of a key is written down in the vault (the document ``keyring/state``, with the keyring's id and
generation), and so in its audit trail; an older copy of the keyring than the vault has written down is refused; opening
a vault, verifying it, backing it up and rebuilding its index need no key and open none.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BusyError,
    ClosedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    TickVaultError,
)
from tickvault.objects.documents import VaultDocuments
from tickvault.objects.encryption.opening_keys import at_a_distance, has_keyring, open_vault_service
from tickvault.objects.encryption.setting import default_key_id
from tickvault.objects.entries import KEYRING_DOCUMENT
from tickvault.security.cipher import AES_256_GCM, SUITES
from tickvault.security.keyring import (
    EnvelopeKeyService,
    FileKeyService,
    KeyDescription,
    KeyService,
    Protection,
    open_key_service,
)
from tickvault.security.keyring.faults import as_fault

#: What a keyring file puts around a data key, bytes; see docs/formats/encrypted-body.md.
_FILE_OVERHEAD = 22 + 28
#: What a blob may grow by between two of them: the digits of a version.
_SLACK = 64
_DEFAULT_IDS = {default_key_id(suite): suite for suite in SUITES}
_ATTEMPTS = 5


class MissingKeyError(AccessDeniedError):
    """There is no key of that id; `s3_code` is what S3 calls it."""

    s3_code = "KMS.NotFoundException"


class VaultKeys:
    """The keys of one vault in one process. Threads may share it."""

    def __init__(self, path: str, documents: VaultDocuments) -> None:
        self._path = path
        self._documents = documents
        self._lock = threading.RLock()
        self._given: KeyService | None = None
        self._service: KeyService | None = None
        self._ensured: set[str] = set()

    def __repr__(self) -> str:
        return f"VaultKeys({self._service!r})"

    # -- the service

    def use(self, service: str | KeyService) -> None:
        """Use a key service, by name or as it is, in place of what the environment says.

        Raises
        ------
        InvalidInputError
            This process has opened another one for this vault already.
        """
        found = open_key_service(service, {}) if isinstance(service, str) else service
        with self._lock:
            if self._service is not None and found is not self._given:
                raise InvalidInputError(f"{self._path} is open in this process with another key service")
            self._given = found

    def open(self, *, create: bool = False) -> KeyService:
        """Return the key service, opened if it is not; with `create` a vault that never had keys gets a keyring.

        Raises
        ------
        AccessDeniedError, IntegrityError
            See `open_vault_service`.
        """
        found = self._service
        if found is not None:
            return found
        with self._lock:
            if self._service is None:
                if self._given is not None:
                    service = at_a_distance(self._given)
                else:
                    state = self._documents.get(KEYRING_DOCUMENT)
                    seen = state.data if state is not None and state.data.get("id") else None
                    try:
                        service = open_vault_service(self._path, seen, create=create)
                    except TickVaultError as error:
                        # Whatever is wrong with what holds the keys, no object is damaged by it.
                        raise as_fault(error) from None
                self._note(service, "OpenKeyring", only_if_new=True)
                self._service = service
            return self._service

    def check(self) -> str:
        """Open the keys, if the vault has any; return what keeps them from being opened, empty for nothing."""
        try:
            if self._given is None and self._documents.get(KEYRING_DOCUMENT) is None and not has_keyring(self._path):
                return ""
            self.open()
        except TickVaultError as error:
            return str(error)
        return ""

    @property
    def at_once(self) -> bool:
        """Whether wrapping and unwrapping waits for nobody: the service is open, and of this machine."""
        return isinstance(self._service, FileKeyService)

    def ready(self, key_id: str) -> bool:
        """Return whether `prepare` waits for nothing."""
        return self.at_once and key_id in self._ensured

    def close(self) -> None:
        """Let the keyring go."""
        with self._lock:
            service, self._service = self._service, None
        if isinstance(service, FileKeyService) and service is not self._given:
            service.keyring.close()

    # -- data keys

    def prepare(self, key_id: str, size: int) -> int:
        """Have everything ready to wrap under a key inside a commit; return how large that gets at most, bytes.

        Raises
        ------
        AccessDeniedError
            There is no such key, or it may not be used.
        """
        service = self._service
        if service is None or key_id not in self._ensured:
            service = self._ensure(key_id)
        if type(service) is FileKeyService:
            return size + _FILE_OVERHEAD
        # The one round trip that an intermediate key takes is made here, and not under the commit lock.
        return len(service.wrap(key_id, bytes(size), b"")) + _SLACK

    def wrap(self, key_id: str, data_key: bytes, binding: bytes) -> bytes:
        """Return a data key wrapped under the current version of a key; `prepare` was called before."""
        service = self._service
        if service is None:
            # Opening may change the vault, which cannot be done inside a commit.
            raise ClosedError(f"the keys of {self._path} were closed; open the vault again")
        return service.wrap(key_id, data_key, binding)

    def unwrap(self, key_id: str, wrapped: bytes, binding: bytes) -> bytes:
        """Return a data key; raises `AccessDeniedError` for a key that is missing, disabled or destroyed.

        What is wrong with the keys, and not with what was wrapped, is a `KeyFault`.
        """
        service = self._service or self.open()
        try:
            return service.unwrap(key_id, wrapped, binding)
        except (AccessDeniedError, NotFoundError, StorageError, BusyError) as error:
            raise as_fault(error) from None

    def _ensure(self, key_id: str) -> KeyService:
        """Make a default key that is not there yet; any other key has to be there."""
        service = self.open(create=True)
        suite = _DEFAULT_IDS.get(key_id)
        try:
            service.describe(key_id)
        except NotFoundError:
            if suite is None:
                raise MissingKeyError(
                    f"there is no key {key_id}; make it (`tickvault keys create {key_id}`), or name another one"
                ) from None
            try:
                self.create(key_id, suite=suite)
            except AlreadyExistsError:
                pass  # another process was faster
        self._ensured.add(key_id)
        return service

    # -- keys

    def list(self) -> list[KeyDescription]:
        """Return all keys by id, destroyed ones too; none where the vault never had any.

        Those of a service elsewhere are listed there.
        """
        if self._service is None and self._given is None:
            state = self._documents.get(KEYRING_DOCUMENT)
            if state is None and not has_keyring(self._path):
                return []
        service = self.open()
        return service.keys() if isinstance(service, FileKeyService) else []

    def describe(self, key_id: str) -> KeyDescription:
        """Return what is known of a key; raises `NotFoundError`."""
        return self.open().describe(key_id)

    def create(self, key_id: str, *, suite: str = AES_256_GCM.name) -> KeyDescription:
        """Make a key that wraps with a suite; raises `AlreadyExistsError`, also for a destroyed one."""
        service = self.open(create=True)
        if isinstance(service, FileKeyService):
            return self._changed("CreateKey", service.create(key_id, by=_by(), suite=suite))
        return self._changed("CreateKey", service.create(key_id, by=_by()))

    def rotate(self, key_id: str) -> KeyDescription:
        """Make a new version of a key current; what older ones wrapped stays readable."""
        return self._changed("RotateKey", self.open().rotate(key_id, by=_by()))

    def disable(self, key_id: str) -> KeyDescription:
        """Refuse a key until it is enabled again: what it wraps cannot be read meanwhile."""
        return self._changed("DisableKey", self._keyring("disable").disable(key_id, by=_by()))

    def enable(self, key_id: str) -> KeyDescription:
        """Take `disable` back."""
        return self._changed("EnableKey", self._keyring("enable").enable(key_id, by=_by()))

    def protect(self, protection: Protection) -> None:
        """Seal the keyring with another passphrase or key file from now on."""
        self._keyring("protect").protect(protection)
        self._note(self.open(), "ProtectKeyring")

    def destroy(self, key_id: str) -> KeyDescription:
        """Destroy a key without asking who needs it; `key_uses.destroy_key` asks."""
        found = self.open().destroy(key_id, by=_by())
        self._ensured.discard(key_id)
        return found

    def note_destroyed(self, found: KeyDescription) -> None:
        """Put on record that a key was destroyed."""
        self._changed("DestroyKey", found)

    def _keyring(self, doing: str) -> Any:
        service = self.open()
        if not isinstance(service, FileKeyService):
            raise InvalidInputError(f"{doing}: the keys of this vault are in {service!r}; do it there")
        return service.keyring

    def _changed(self, action: str, found: KeyDescription) -> KeyDescription:
        self._ensured.discard(found.key_id)
        service = self.open()
        if isinstance(service, EnvelopeKeyService):
            service.forget(found.key_id)
        self._note(service, action, found)
        return found

    def _note(
        self, service: KeyService, action: str, key: KeyDescription | None = None, *, only_if_new: bool = False
    ) -> None:
        """Write down in the vault which keyring it has, and what was done to it last: the audit trail tells it."""
        keyring = service.keyring if isinstance(service, FileKeyService) else None
        for _ in range(_ATTEMPTS):
            found = self._documents.get(KEYRING_DOCUMENT)
            generation = 0 if keyring is None else keyring.generation
            known = 0 if found is None else int(found.data.get("generation", 0))
            if only_if_new and (keyring is None or (found is not None and generation <= known)):
                return
            data = {
                "id": "" if keyring is None else keyring.keyring_id,
                "generation": max(generation, known),
                "action": action,
                "key": "" if key is None else key.key_id,
                "by": _by(),
            }
            if key is not None:
                data |= {"state": key.state, "version": key.current_version}
            try:
                self._documents.put(KEYRING_DOCUMENT, data, expect=0 if found is None else found.revision)
                return
            except ConflictError:
                continue  # another process changed a key at the same time
            except TickVaultError:
                if only_if_new:
                    return  # a vault that cannot be written to can still be read
                raise
        raise ConflictError(f"document {KEYRING_DOCUMENT} is changed all the time by others; try again")


def _by() -> str:
    return f"local:{os.geteuid()}"
