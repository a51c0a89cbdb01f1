"""Timestamps of an independent authority over the head of a trail (RFC 3161).

Invariants: a token is kept only if it covers the hash and the nonce that were asked for. `check_token` checks the CMS
signature (RFC 5652) with one certificate that the caller trusts: that the signed attributes hold the hash of the
content, that they are signed by that certificate's key, that they name that certificate (RFC 5035), that it is for
timestamps and was valid at the time told. It does not check who issued the certificate, nor whether it was revoked.
"""

from __future__ import annotations

import hashlib
import secrets
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tickvault.audit import der
from tickvault.audit.block import TOKEN_SIZE_MAX
from tickvault.audit.head import Head
from tickvault.audit.trail import TrailWriter
from tickvault.errors import BusyError, FormatError, IntegrityError, InvalidInputError, StorageError

TIMEOUT_S = 15.0
#: Of `block.HASHES`, by their number.
_IMPRINTS = {1: "2.16.840.1.101.3.4.2.1", 2: "1.2.156.10197.1.401"}
_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_TST_INFO = der.oid("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE = der.oid("1.2.840.113549.1.9.16.2.12")
_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_DIGESTS: dict[bytes, hashes.HashAlgorithm] = {
    der.oid("2.16.840.1.101.3.4.2.1"): hashes.SHA256(),
    der.oid("2.16.840.1.101.3.4.2.2"): hashes.SHA384(),
    der.oid("2.16.840.1.101.3.4.2.3"): hashes.SHA512(),
}


class Timestamp(NamedTuple):
    """What a token says."""

    digest: bytes
    """What it covers."""
    imprint: bytes
    """OID of the hash algorithm, DER."""
    time_ns: int
    serial: int
    nonce: int | None
    content: bytes
    """The TSTInfo, DER."""
    signer: der.Element
    """The SignerInfo."""


def request(digest: bytes, nonce: int, *, hash_code: int = 1) -> bytes:
    """Return a TimeStampReq over a block hash that asks for the authority's certificate too."""
    algorithm = der.element(der.SEQUENCE, der.oid(_IMPRINTS[hash_code]), der.element(der.NULL))
    imprint = der.element(der.SEQUENCE, algorithm, der.element(der.OCTET_STRING, digest))
    return der.element(
        der.SEQUENCE, der.integer(1), imprint, der.integer(nonce), der.element(der.BOOLEAN, b"\xff")
    )  # fmt: skip


def token_of(response: bytes, digest: bytes, nonce: int | None = None) -> bytes:
    """Return the token of a TimeStampResp, if it covers what was asked for.

    Raises
    ------
    FormatError
        The response is none.
    BusyError
        The authority refused.
    IntegrityError
        The token covers something else.
    """
    parts = der.parse(response, der.SEQUENCE).children(der.SEQUENCE)
    status = parts[0].children(der.INTEGER)[0].number()
    if status not in (0, 1) or len(parts) < 2:
        raise BusyError(f"timestamp: the authority refused with status {status} (RFC 3161, section 2.4.2)")
    found = parse_token(parts[1].raw)
    if found.digest != digest or (nonce is not None and found.nonce != nonce):
        raise IntegrityError("timestamp: the token covers another hash, or answers another request; ask again")
    return parts[1].raw


def parse_token(token: bytes) -> Timestamp:
    """Return what a token says; its signature is not looked at.

    Raises
    ------
    FormatError
        It is no timestamp token.
    """
    outer = der.parse(token, der.SEQUENCE).children(der.OID, der.context(0))
    if outer[0].raw != _SIGNED_DATA:
        raise FormatError("timestamp: the token is no SignedData")
    data = outer[1].children(der.SEQUENCE)[0].children(der.INTEGER, der.SET, der.SEQUENCE)
    held = data[2].children(der.OID, der.context(0))
    if held[0].raw != _TST_INFO:
        raise FormatError("timestamp: the token holds no TSTInfo")
    content = held[1].children(der.OCTET_STRING)[0].content
    signers = data[-1].children(der.SEQUENCE)
    if data[-1].tag != der.SET or len(signers) != 1:
        raise FormatError(f"timestamp: the token must have one signer, had {len(signers)}")
    info = der.parse(content, der.SEQUENCE).children(
        der.INTEGER, der.OID, der.SEQUENCE, der.INTEGER, der.GENERALIZED_TIME
    )
    algorithm, covered = info[2].children(der.SEQUENCE, der.OCTET_STRING)[:2]
    nonces = [part.number() for part in info[5:] if part.tag == der.INTEGER]
    return Timestamp(
        covered.content,
        algorithm.children(der.OID)[0].raw,
        _time_ns(info[4].content),
        info[3].number(),
        nonces[0] if nonces else None,
        content,
        signers[0],
    )


def check_token(token: bytes, digest: bytes, certificate: x509.Certificate) -> Timestamp:
    """Return what a token over a hash says, after its signature was checked.

    Parameters
    ----------
    certificate : Certificate
        The authority's, which the caller trusts.

    Raises
    ------
    IntegrityError
        Something does not hold; the message says what.
    FormatError
        It is no timestamp token, or signed in a way that is not known.
    """
    found = parse_token(token)
    if found.digest != digest:
        raise IntegrityError(f"timestamp {found.serial}: covers {found.digest.hex()}, and must cover {digest.hex()}")
    parts = found.signer.children(
        der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.context(0), der.SEQUENCE, der.OCTET_STRING
    )
    hash_oid = parts[2].children(der.OID)[0].raw
    if hash_oid not in _DIGESTS:
        raise FormatError(f"timestamp {found.serial}: its digest algorithm is none of SHA-256, SHA-384 and SHA-512")
    algorithm = _DIGESTS[hash_oid]
    attributes = {}
    for attribute in parts[3].children():
        name, values = attribute.children(der.OID, der.SET)[:2]
        attributes[name.raw] = values.children()[0]
    digest_of_content = hashlib.new(algorithm.name, found.content).digest()
    if (
        attributes.get(_CONTENT_TYPE, parts[0]).raw != _TST_INFO
        or attributes.get(_MESSAGE_DIGEST, parts[0]).content != digest_of_content
    ):
        raise IntegrityError(f"timestamp {found.serial}: its content was changed (signed attributes)")
    # RFC 5652, section 5.4: what is signed has the tag of a SET.
    signed = bytes((der.SET,)) + parts[3].raw[1:]
    if not _signed_by(certificate, parts[5].content, signed, algorithm):
        raise IntegrityError(f"timestamp {found.serial}: is not signed by the certificate that was given")
    _check_certificate(found, attributes, certificate)
    return found


def _signed_by(certificate: x509.Certificate, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            raise FormatError("timestamp: the certificate's key is none of RSA, ECDSA and Ed25519")
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_certificate(found: Timestamp, attributes: dict[bytes, der.Element], certificate: x509.Certificate) -> None:
    raw = certificate.public_bytes(Encoding.DER)
    named = attributes.get(_SIGNING_CERTIFICATE_V2) or attributes.get(_SIGNING_CERTIFICATE)
    if named is None:
        raise IntegrityError(f"timestamp {found.serial}: does not name its certificate (RFC 3161, section 2.4.2)")
    first = named.children(der.SEQUENCE)[0].children(der.SEQUENCE)[0]
    hash_of_certificate = next((part.content for part in first.children() if part.tag == der.OCTET_STRING), b"")
    # The older attribute has SHA-1 (RFC 2634); it only names what the signature above binds.
    if hash_of_certificate not in (hashlib.sha256(raw).digest(), hashlib.sha1(raw).digest()):
        raise IntegrityError(f"timestamp {found.serial}: names another certificate than the one that was given")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or ExtendedKeyUsageOID.TIME_STAMPING not in usage.value:
        raise IntegrityError(f"timestamp {found.serial}: the certificate is not for timestamps (extended key usage)")
    moment = datetime.fromtimestamp(found.time_ns // 1_000_000_000, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise IntegrityError(f"timestamp {found.serial}: the certificate was not valid at {moment.isoformat()}")


def _time_ns(raw: bytes) -> int:
    """Return a GeneralizedTime as RFC 3161 has it: UTC, with a fraction or without."""
    try:
        text = raw.decode("ascii")
        whole, _, fraction = text.removesuffix("Z").partition(".")
        if not text.endswith("Z") or len(whole) != 14 or not whole.isdigit() or len(fraction) > 9:
            raise ValueError(text)
        moment = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    except ValueError:
        raise FormatError(f"timestamp: the time {raw[:40]!r} is not YYYYMMDDhhmmss[.f]Z") from None


def fetch_token(url: str, digest: bytes, *, hash_code: int = 1, timeout_s: float = TIMEOUT_S) -> bytes:
    """Ask an authority for a token over a hash.

    Raises
    ------
    StorageError
        The authority cannot be reached.
    BusyError, FormatError, IntegrityError
        As `token_of`.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInputError(f"timestamp authority {url[:80]!r}: must begin with http:// or https://")
    nonce = secrets.randbits(63) | 1
    asked = urllib.request.Request(  # noqa: S310 -- the scheme was checked
        url,
        request(digest, nonce, hash_code=hash_code),
        {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=timeout_s) as answer:  # noqa: S310
            response: bytes = answer.read(TOKEN_SIZE_MAX + 4096)
    except (urllib.error.URLError, OSError) as error:
        raise StorageError(f"timestamp authority {url}: {error}; try again later") from error
    return token_of(response, digest, nonce)


def timestamp(writer: TrailWriter, url: str, *, timeout_s: float = TIMEOUT_S) -> Head:
    """Have an authority confirm the present head, keep its token in the trail, and return the new head.

    Raises
    ------
    BusyError
        A block was appended while the authority was asked; the token would not follow the block it covers.
    """
    head = writer.head
    token = fetch_token(url, head.digest, hash_code=writer.hash_code, timeout_s=timeout_s)
    return writer.append_timestamp(token, expected=head)
