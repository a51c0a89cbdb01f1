"""What the security of this process is made of: algorithms, and who does the work.

Invariants: it tells what was found, asks nothing of the network, shows no secret, and claims no certification.
"""

from __future__ import annotations

import hashlib
import ssl
import sys
from typing import Any

import cryptography
from cryptography.hazmat.backends.openssl.backend import backend

from tickvault.security.cipher import FRAME_PLAIN_SIZE, FRAME_STORED_SIZE, SUITES
from tickvault.security.cipher.sm4_gcm import libgcrypt

NO_CERTIFICATION = (
    "No certification is claimed: neither TickVault nor, through it, the libraries named here are presented as "
    "validated (FIPS 140-3, GM/T 0028 or any other). Whoever needs a validated module must install one and verify that "
    "it is used."
)


def security_report() -> dict[str, Any]:
    """Return what a reviewer asks first; every value is one that JSON can hold.

    Returns
    -------
    dict
        ``suites`` (each with its key size and the module that does the work), ``modules`` (versions, and ``fips_mode``:
        True, False, or None where it cannot be asked), ``algorithms`` and ``certification``.
    """
    library, why_not = libgcrypt()
    return {
        "suites": {
            suite.name: {"key_bits": suite.key_size * 8, "tag_bits": 128, "module": suite.module}
            for suite in SUITES.values()
        },
        "modules": {
            "cryptography": {
                "version": cryptography.__version__,
                "openssl": backend.openssl_version_text(),
                "fips_mode": _openssl_fips_mode(),
            },
            "libgcrypt": {
                "used": library is not None,
                "version": library.version if library is not None else None,
                "fips_mode": library.fips_mode() if library is not None else None,
                "reason": why_not or None,
            },
            "python": {"version": sys.version.split()[0], "openssl": ssl.OPENSSL_VERSION},
        },
        "algorithms": {
            "bodies": f"STREAM of frames of {FRAME_PLAIN_SIZE} bytes, {FRAME_STORED_SIZE} stored; the bucket's suite",
            "data_keys": "one random key for each object, wrapped by the suite of the key-encryption key (GCM, NIST SP "
            "800-38D; SM4-GCM, RFC 8998)",
            "derivation": "HKDF-SHA-256 (RFC 5869)",
            "keyring": "AES-256-GCM; passphrase by scrypt (RFC 7914), or a file of 256 random bits",
            "scrypt_available": hasattr(hashlib, "scrypt"),
            "randomness": "the operating system's (getrandom)",
        },
        "certification": NO_CERTIFICATION,
    }


def _openssl_fips_mode() -> bool | None:
    enabled = getattr(backend, "_fips_enabled", None)  # no public question exists
    return enabled if isinstance(enabled, bool) else None
