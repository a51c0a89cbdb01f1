"""Timestamps, against the authority that OpenSSL can play: its replies are read here, and ours by it."""

from __future__ import annotations

import datetime
import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from audit_made import made_trail, opened, record
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tickvault.audit import der
from tickvault.audit.block import HEADER_SIZE, BlockKind
from tickvault.audit.chain import Walk
from tickvault.audit.rfc3161 import check_token, fetch_token, parse_token, request, timestamp, token_of
from tickvault.audit.verify import verify
from tickvault.errors import BusyError, FormatError, IntegrityError, InvalidInputError, StorageError
from tickvault.seam.disk import OsDisk

DIGEST = hashlib.sha256(b"the head").digest()
CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ordering = yes
ess_cert_id_alg = sha256
"""


def certificate_of(key, *, usage=ExtendedKeyUsageOID.TIME_STAMPING, days=-1) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


class Authority:
    """``openssl ts`` with a key of its own."""

    def __init__(self, folder: Path, key) -> None:
        folder.mkdir()
        self.folder = folder
        self.key = key
        self.certificate = certificate_of(key)
        self.pem = folder / "tsa.pem"
        self.pem.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        (folder / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))

    def reply(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        self.openssl(
            "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key",
            "-out", "reply",
        )  # fmt: skip
        return (self.folder / "reply").read_bytes()

    def openssl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["openssl", "ts", *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the authority is played by openssl")


@pytest.fixture(scope="module", params=["rsa", "ecdsa"])
def authority(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = rsa.generate_private_key(65537, 2048) if request.param == "rsa" else ec.generate_private_key(ec.SECP256R1())
    return Authority(tmp_path_factory.mktemp("tsa") / request.param, key)


class Handler(BaseHTTPRequestHandler):
    authority: Authority
    answer: bytes | None = None

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/timestamp-query"
        query = self.rfile.read(int(self.headers["Content-Length"]))
        body = self.answer if self.answer is not None else self.authority.reply(query)
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    Handler.authority, Handler.answer = authority, None
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tsa"
    server.shutdown()
    thread.join()
    server.server_close()


def test_openssl_reads_the_request(authority: Authority) -> None:
    (authority.folder / "ours").write_bytes(request(DIGEST, 0xFEDCBA9876543210))
    text = authority.openssl("-query", "-in", "ours", "-text")
    assert "Hash Algorithm: sha256" in text
    assert "0xFEDCBA9876543210" in text
    assert "Certificate required: yes" in text


def test_a_timestamp_in_the_trail(tmp_path: Path, authority: Authority, url: str) -> None:
    made_trail(tmp_path, 2, 2)
    with opened(tmp_path) as writer:
        covered = writer.head
        head = timestamp(writer, url)
        assert (head.block_number, head.sequence) == (covered.block_number + 1, covered.sequence)
        writer.append([record(9)])
    report = verify(str(tmp_path))
    assert report.ok
    assert report.timestamps == 1
    block = next(block for block in Walk(OsDisk(), str(tmp_path)) if block.header.kind == BlockKind.TIMESTAMP)
    raw = (tmp_path / "trail-00000001").read_bytes()
    token = raw[block.offset + HEADER_SIZE : block.offset + block.header.hash_offset]
    found = check_token(token, covered.digest, authority.certificate)
    assert abs(found.time_ns / 1e9 - datetime.datetime.now().timestamp()) < 60
    (authority.folder / "token").write_bytes(token)
    said = authority.openssl(
        "-verify", "-digest", covered.digest.hex(), "-in", "token", "-token_in", "-CAfile", "tsa.pem", "-partial_chain"
    )
    assert "OK" in said


def test_a_token_of_another_hash_in_the_trail(tmp_path: Path, authority: Authority, url: str) -> None:
    with opened(tmp_path) as writer:
        writer.append([record(1)])
        head = writer.head
        writer.append([record(2)])
        token = fetch_token(url, DIGEST)
        with pytest.raises(BusyError, match="meanwhile"):
            writer.append_timestamp(token, expected=head)
        writer.append_timestamp(token)
    assert verify(str(tmp_path)).fault.kind == "replaced"


def test_what_does_not_hold(authority: Authority, tmp_path: Path) -> None:
    response = authority.reply(request(DIGEST, 77))
    token = token_of(response, DIGEST, 77)
    check_token(token, DIGEST, authority.certificate)
    with pytest.raises(IntegrityError, match="another hash"):
        token_of(response, bytes(32), 77)
    with pytest.raises(IntegrityError, match="another request"):
        token_of(response, DIGEST, 78)
    with pytest.raises(IntegrityError, match="must cover"):
        check_token(token, bytes(32), authority.certificate)
    for certificate, match in (
        (certificate_of(rsa.generate_private_key(65537, 2048)), "not signed by"),
        (certificate_of(authority.key), "another certificate"),
    ):
        with pytest.raises(IntegrityError, match=match):
            check_token(token, DIGEST, certificate)


@pytest.mark.parametrize(
    ("other", "match"), [({"usage": ExtendedKeyUsageOID.SERVER_AUTH}, "timestamps"), ({"days": -60}, "valid at")]
)
def test_certificates_that_are_not_for_it(authority: Authority, monkeypatch, other, match: str) -> None:
    """OpenSSL signs with no such certificate, so the token is made to name this one."""
    token = token_of(authority.reply(request(DIGEST, 5)), DIGEST, 5)
    wrong = certificate_of(authority.key, **other)
    import tickvault.audit.rfc3161 as module

    monkeypatch.setattr(module, "_signed_by", lambda *_: True)
    named = hashlib.sha256(authority.certificate.public_bytes(Encoding.DER)).digest()
    token = token.replace(named, hashlib.sha256(wrong.public_bytes(Encoding.DER)).digest())
    with pytest.raises(IntegrityError, match=match):
        check_token(token, DIGEST, wrong)


def test_every_flipped_byte_of_a_token(authority: Authority) -> None:
    """Either it is refused, or what it says is what it said: bytes outside of what is signed may change."""
    token = token_of(authority.reply(request(DIGEST, 77)), DIGEST, 77)
    true = check_token(token, DIGEST, authority.certificate)
    refused = 0
    for place in range(len(token)):
        raw = bytearray(token)
        raw[place] ^= 0x01
        try:
            found = check_token(bytes(raw), DIGEST, authority.certificate)
        except (IntegrityError, FormatError):
            refused += 1
        else:
            assert (found.time_ns, found.serial, found.digest) == (true.time_ns, true.serial, true.digest)
    assert refused > len(token) / 3


def test_an_authority_that_refuses_or_answers_nonsense(authority: Authority, url: str) -> None:
    refused = der.element(der.SEQUENCE, der.element(der.SEQUENCE, der.integer(2)))
    for answer, error in (
        (refused, BusyError),
        (b"", FormatError),
        (b"<html>", FormatError),
        (b"0" * 10**6, FormatError),
    ):
        Handler.answer = answer
        with pytest.raises(error):
            fetch_token(url, DIGEST)


def test_an_authority_that_is_not_there() -> None:
    with pytest.raises(StorageError, match="try again"):
        fetch_token("http://127.0.0.1:1/", DIGEST, timeout_s=2)
    for url in ("file:///etc/passwd", "ftp://x", ""):
        with pytest.raises(InvalidInputError, match="http"):
            fetch_token(url, DIGEST)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_token_or_refused(raw: bytes) -> None:
    for piece in (raw, der.element(der.SEQUENCE, raw), der.element(der.SEQUENCE, der.element(der.SEQUENCE, raw))):
        with pytest.raises(FormatError):
            parse_token(piece)


@given(st.integers(0, 1 << 80))
def test_integers_come_back(value: int) -> None:
    assert der.parse(der.integer(value), der.INTEGER).number() == value


@pytest.mark.parametrize(
    "raw", ["", "30", "3003", "3080", "308101ff", "30820001ff", "1f01", "3084ffffffff", "30850000000001"]
)
def test_what_is_not_der(raw: str) -> None:
    with pytest.raises(FormatError):
        der.parse(bytes.fromhex(raw), der.SEQUENCE)
