"""The certificate and the private key of a server that speaks TLS.

Invariants: what is wrong with a file is said with its name and with what to do, before the server is announced; nobody
is asked for a passphrase.
"""

from __future__ import annotations

import os
import re
import ssl
import stat

from tickvault.errors import InvalidInputError

_CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
_DER_START = b"\x30"
_NOT_A_PAIR = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}


class _PassphraseAskedError(Exception):
    """The private key is encrypted."""


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return the context of a certificate and key in PEM, None without them.

    Raises
    ------
    InvalidInputError
        A file is missing, cannot be read, or is not what it should be; or the two do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InvalidInputError("TLS needs both a certificate file and a key file")
    _check_certificate(certificate, _read("certificate", certificate))
    _check_key(key, _read("private key", key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_passphrase)
    except _PassphraseAskedError:
        raise InvalidInputError(
            f"private key {key} is encrypted, and a server has nobody to ask for its passphrase; write it without one, "
            f"readable by you only: (umask 077; openssl pkey -in {key} -out plain.key)"
        ) from None
    except ssl.SSLError as error:
        if error.reason in _NOT_A_PAIR:
            raise InvalidInputError(
                f"private key {key} does not belong to certificate {certificate}; give the key that the certificate "
                "was made for, and in a chain put the server's own certificate first"
            ) from None
        raise InvalidInputError(
            f"private key {key} cannot be read: it is damaged or of an unknown kind; openssl pkey -in {key} -noout "
            "tells more"
        ) from None
    return context


def _read(what: str, path: str) -> bytes:
    try:
        # Asked before it is opened: that would wait for ever at a pipe nobody writes to, and a device has no end.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InvalidInputError(f"{what} {path} is a pipe or a device; name a regular file")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InvalidInputError(f"{what} {path}: there is no such file") from None
    except PermissionError:
        raise InvalidInputError(
            f"{what} {path}: this user may not read it; give the server's user the right to, or serve as one who may"
        ) from None
    except IsADirectoryError:
        raise InvalidInputError(f"{what} {path} is a folder; name the file in it") from None
    except OSError as error:
        raise InvalidInputError(f"{what} {path}: {error.strerror}") from None


def _check_certificate(path: str, text: bytes) -> None:
    if not _CERTIFICATE.search(text):
        if _PRIVATE_KEY.search(text):
            hint = "it holds a private key: are the two files swapped?"
        elif text.startswith(_DER_START):
            hint = f"it looks like DER: openssl x509 -inform DER -in {path} -out server.crt"
        else:
            hint = "give a file with -----BEGIN CERTIFICATE-----"
        raise InvalidInputError(f"certificate {path} holds no certificate in PEM; {hint}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise InvalidInputError(
            f"certificate {path} is damaged; openssl x509 -in {path} -noout -text tells more"
        ) from None


def _check_key(path: str, text: bytes) -> None:
    if _PRIVATE_KEY.search(text):
        return
    if _CERTIFICATE.search(text):
        hint = "it holds a certificate: are the two files swapped?"
    elif text.startswith(_DER_START):
        hint = f"it looks like DER: openssl pkey -inform DER -in {path} -out server.key"
    else:
        hint = "give a file with -----BEGIN PRIVATE KEY-----"
    raise InvalidInputError(f"private key {path} holds no private key in PEM; {hint}")


def _refuse_passphrase() -> str:
    raise _PassphraseAskedError
