"""Bodies encrypted at rest: suites, frames, and data keys wrapped for one place.

Invariants: nothing here reads or writes a file, and nothing keeps a key longer than its object lives; what does not
open is an `IntegrityError`, never data. The drawing is in ``docs/formats/encrypted-body.md``.
"""

from tickvault.security.cipher.layout import (
    BODY_SIZE_MAX,
    FRAME_PLAIN_SIZE,
    FRAME_STORED_SIZE,
    TAG_SIZE,
    frame_count,
    stored_range,
    stored_size,
)
from tickvault.security.cipher.opener import Opener, ReadStored
from tickvault.security.cipher.sealer import SealedBody, Sealer, seal_body
from tickvault.security.cipher.suite import AES_256_GCM, SM4_GCM, SUITES, Suite, suite_named, suite_with_id
from tickvault.security.cipher.values import ValueCipher
from tickvault.security.cipher.wrapping import body_binding, parts_digest, unwrap_data_key, wrap_data_key

__all__ = [
    "AES_256_GCM",
    "BODY_SIZE_MAX",
    "FRAME_PLAIN_SIZE",
    "FRAME_STORED_SIZE",
    "SM4_GCM",
    "SUITES",
    "TAG_SIZE",
    "Opener",
    "ReadStored",
    "SealedBody",
    "Sealer",
    "Suite",
    "ValueCipher",
    "body_binding",
    "frame_count",
    "parts_digest",
    "seal_body",
    "stored_range",
    "stored_size",
    "suite_named",
    "suite_with_id",
    "unwrap_data_key",
    "wrap_data_key",
]
