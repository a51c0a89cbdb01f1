"""Key-encryption keys: a keyring file, or a key service elsewhere.

Invariants: a key-encryption key never leaves its service, and never appears in a representation, a message or a log.
The file's drawing is in ``docs/formats/keyring.md``.
"""

from tickvault.security.keyring.envelope import EnvelopeKeyService
from tickvault.security.keyring.faults import KeyDestroyedError, KeyFault
from tickvault.security.keyring.file_service import FileKeyService
from tickvault.security.keyring.keyring import Keyring, create_keyring, open_keyring
from tickvault.security.keyring.protection import KeyFile, Passphrase, Protection
from tickvault.security.keyring.service import KeyDescription, KeyService
from tickvault.security.keyring.services import key_service_names, open_key_service
from tickvault.security.keyring.transit_http import TransitConnection
from tickvault.security.keyring.transit_service import TransitKeyService

__all__ = [
    "EnvelopeKeyService",
    "FileKeyService",
    "KeyDescription",
    "KeyDestroyedError",
    "KeyFault",
    "KeyFile",
    "KeyService",
    "Keyring",
    "Passphrase",
    "Protection",
    "TransitConnection",
    "TransitKeyService",
    "create_keyring",
    "key_service_names",
    "open_key_service",
    "open_keyring",
]
