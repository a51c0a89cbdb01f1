"""Keys in a transit engine: HashiCorp Vault's or OpenBao's, which never lets them out.

Every call is a request; put an `EnvelopeKeyService` over it. The engine must be of Vault 1.12 or later, or OpenBao,
for ``associated_data``, which carries the binding.

Invariants: a data key is wrapped only under a key that the engine said it has, because ``encrypt`` would make one that
it has not; the answer to every request is judged by type and form before it is used.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import os
import re
from collections.abc import Mapping
from typing import Any

from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from tickvault.security.keyring.service import KeyDescription, check_key_id
from tickvault.security.keyring.transit_http import TIMEOUT_S, TRY_COUNT, Answer, TransitConnection

#: Names the file with the token where no option does.
TOKEN_FILE_VARIABLE = "TICKVAULT_TRANSIT_TOKEN_FILE"  # noqa: S105 -- the name of a variable

_KEY_TYPE = "aes256-gcm96"
_CIPHERTEXT = re.compile(r"[a-z]{1,16}:v[1-9][0-9]{0,8}:[A-Za-z0-9+/]{16,1900}={0,2}")
_MOUNT = re.compile(r"[A-Za-z0-9._-]{1,128}(/[A-Za-z0-9._-]{1,128}){0,7}")
_PLAIN_SIZE_MAX = 256


class TransitKeyService:
    """A key service whose keys are in a transit engine.

    Parameters
    ----------
    connection : TransitConnection
        Where it is.
    mount : str
        Path of the engine.
    """

    def __init__(self, connection: TransitConnection, *, mount: str = "transit") -> None:
        if not _MOUNT.fullmatch(mount) or ".." in mount:
            raise InvalidInputError(f"mount {mount!r:.150}: must be the path of a transit engine, such as 'transit'")
        self._connection = connection
        self._mount = mount

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> TransitKeyService:
        """Return the service that options name.

        Parameters
        ----------
        options : mapping of str to str
            ``address``; ``token_file``, else the variable `TOKEN_FILE_VARIABLE` names the file; ``mount``,
            ``namespace``, ``ca_file``, ``timeout_s``, ``try_count``.
        """
        unknown = options.keys() - {"address", "token_file", "mount", "namespace", "ca_file", "timeout_s", "try_count"}
        if unknown:
            raise InvalidInputError(f"the key service transit has no option {sorted(unknown)[0]!r:.80}")
        token_file = options.get("token_file") or os.environ.get(TOKEN_FILE_VARIABLE, "")
        if not options.get("address") or not token_file:
            raise InvalidInputError(
                "the key service transit needs address, and token_file (or the variable "
                f"{TOKEN_FILE_VARIABLE}), a private file that holds the token"
            )
        try:
            timeout_s, try_count = float(options.get("timeout_s", TIMEOUT_S)), int(options.get("try_count", TRY_COUNT))
        except ValueError:
            raise InvalidInputError("timeout_s and try_count of the key service transit must be numbers") from None
        connection = TransitConnection(
            options["address"],
            token_file,
            namespace=options.get("namespace", ""),
            ca_file=options.get("ca_file", ""),
            timeout_s=timeout_s,
            try_count=try_count,
        )
        return cls(connection, mount=options.get("mount", "transit"))

    def __repr__(self) -> str:
        return f"TransitKeyService({self._connection.address!r}, mount={self._mount!r})"

    def wrap(self, key_id: str, plaintext: bytes, binding: bytes) -> bytes:
        """Return a data key wrapped by the engine; see `KeyService.wrap`."""
        if not 0 < len(plaintext) <= _PLAIN_SIZE_MAX:
            raise InvalidInputError(f"a key to wrap must have 1 to {_PLAIN_SIZE_MAX} bytes, has {len(plaintext)}")
        try:
            version = self.describe(key_id).current_version
        except NotFoundError:
            raise self._no_key("wrap", key_id) from None
        secret = _base64(plaintext)
        body = {"plaintext": secret, "associated_data": _base64(binding), "key_version": version}
        answer = self._ask("POST", f"encrypt/{key_id}", body, secret=secret)
        if answer.status != 200:
            raise self._refused("wrap", key_id, answer)
        ciphertext = answer.data.get("ciphertext")
        if not isinstance(ciphertext, str) or not _CIPHERTEXT.fullmatch(ciphertext):
            raise self._no_transit("wrap", key_id)
        return ciphertext.encode("ascii")

    def unwrap(self, key_id: str, blob: bytes, binding: bytes) -> bytes:
        """Return the data key of what `wrap` returned; see `KeyService.unwrap`."""
        check_key_id(key_id)
        ciphertext = bytes(blob).decode("ascii", "replace")
        if not _CIPHERTEXT.fullmatch(ciphertext):
            raise IntegrityError("a wrapped key is not one of a transit engine: it was damaged, or another service's")
        body = {"ciphertext": ciphertext, "associated_data": _base64(binding)}
        answer = self._ask("POST", f"decrypt/{key_id}", body)
        if answer.status != 200:
            raise self._refused("unwrap", key_id, answer)
        plaintext = answer.data.get("plaintext")
        try:
            plain = base64.b64decode(plaintext, validate=True) if isinstance(plaintext, str) else b""
        except (binascii.Error, ValueError):
            plain = b""
        if not 0 < len(plain) <= _PLAIN_SIZE_MAX:
            raise self._no_transit("unwrap", key_id)
        return plain

    def describe(self, key_id: str) -> KeyDescription:
        """Return what the engine knows of a key; see `KeyService.describe`."""
        answer = self._ask("GET", f"keys/{check_key_id(key_id)}")
        if answer.status == 404:
            raise NotFoundError(f"there is no key {key_id} in {self!r}; make it, or look at the address and the mount")
        if answer.status != 200:
            raise self._refused("describe", key_id, answer)
        kind, latest, versions = (answer.data.get(name) for name in ("type", "latest_version", "keys"))
        if kind != _KEY_TYPE:
            raise InvalidInputError(f"key {key_id} in {self!r} is of type {kind!r:.60}; it must be {_KEY_TYPE}")
        if type(latest) is not int or not isinstance(versions, dict) or not all(map(_is_number, versions)):
            raise self._no_transit("describe", key_id)
        numbers = sorted(map(int, versions))
        if not numbers or latest != numbers[-1] or latest < 1:
            raise self._no_transit("describe", key_id)
        made = versions[min(versions, key=int)]
        return KeyDescription(key_id, "enabled", "aes-256-gcm", latest, tuple(numbers), _time_ns(made))

    def create(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a key that cannot be exported; see `KeyService.create`. The engine's own audit says who did it."""
        try:
            self.describe(key_id)
        except NotFoundError:
            pass
        else:
            raise AlreadyExistsError(f"create key {key_id}: {self!r} has one; rotate it, or choose another id")
        body = {"type": _KEY_TYPE, "exportable": False, "allow_plaintext_backup": False}
        self._expect("create", key_id, self._ask("POST", f"keys/{key_id}", body))
        return self.describe(key_id)

    def rotate(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Make a new version current; older ones still unwrap."""
        self.describe(key_id)
        # Sent once: a second try could make two versions of it.
        self._expect("rotate", key_id, self._ask("POST", f"keys/{key_id}/rotate", {}, repeat=False))
        return self.describe(key_id)

    def destroy(self, key_id: str, *, by: str = "") -> KeyDescription:
        """Delete a key with all its versions. The engine keeps no trace of it but in its own audit."""
        known = self.describe(key_id)
        self._expect("destroy", key_id, self._ask("POST", f"keys/{key_id}/config", {"deletion_allowed": True}))
        answer = self._ask("DELETE", f"keys/{key_id}")
        # Not found: the answer to an earlier try of this very request was lost.
        if answer.status != 404 and "not found" not in answer.errors.lower():
            self._expect("destroy", key_id, answer)
        return known._replace(state="destroyed", current_version=0, versions=())

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, repeat: bool = True, secret: str = ""
    ) -> Answer:
        return self._connection.ask(method, f"{self._mount}/{path}", body, repeat=repeat, secret=secret)

    def _expect(self, doing: str, key_id: str, answer: Answer) -> None:
        if answer.status not in {200, 204}:
            raise self._refused(doing, key_id, answer)

    def _refused(self, doing: str, key_id: str, answer: Answer) -> Exception:
        told = answer.errors.lower()
        if answer.status == 404 or "key not found" in told:
            return self._no_key(doing, key_id)
        if "too old" in told or "disallowed by policy" in told:
            return AccessDeniedError(
                f"{doing} with key {key_id}: the engine no longer allows that version ({answer.errors}); lower the "
                "key's min_decryption_version"
            )
        if answer.status == 400 and doing == "unwrap":
            return IntegrityError(
                f"unwrap with key {key_id}: the engine cannot open it ({answer.errors or 'no reason given'}): it was "
                "damaged, or belongs to another object, version or key; run tickvault audit verify --objects "
                "--everything"
            )
        return StorageError(
            f"{doing} with key {key_id}: {self!r} answered {answer.status} ({answer.errors or 'no reason given'}); see "
            "its log"
        )

    def _no_key(self, doing: str, key_id: str) -> AccessDeniedError:
        return AccessDeniedError(
            f"{doing} with key {key_id}: it is not in {self!r}; if it was deleted, what was encrypted under it cannot "
            "be read any more; else correct the address or the mount"
        )

    def _no_transit(self, doing: str, key_id: str) -> StorageError:
        return StorageError(
            f"{doing} with key {key_id}: what {self!r} answered is not what a transit engine answers; see what is there"
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _is_number(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10


def _time_ns(value: Any) -> int:
    """Return the time of a version, 0 if the engine says it in another way."""
    if isinstance(value, dict):
        value = value.get("creation_time")
    if type(value) is int:
        return value * 1_000_000_000 if 0 <= value < 1 << 33 else 0
    if not isinstance(value, str):
        return 0
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000
