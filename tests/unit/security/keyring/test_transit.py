from __future__ import annotations

import base64
import datetime
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from transit_server import TOKEN, TransitServer

from tickvault.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    BusyError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
    TickVaultError,
)
from tickvault.security.cipher import SM4_GCM
from tickvault.security.keyring import EnvelopeKeyService, TransitConnection, TransitKeyService, open_key_service


@pytest.fixture
def server() -> Iterator[TransitServer]:
    server = TransitServer()
    yield server
    server.close()


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return str(path)


def service_of(server: TransitServer, token_file: str, **options: Any) -> TransitKeyService:
    options = {"timeout_s": 2.0, "sleep": lambda seconds: None, **options}
    return TransitKeyService(TransitConnection(server.address, token_file, **options))


@pytest.fixture
def service(server: TransitServer, token_file: str) -> TransitKeyService:
    service = service_of(server, token_file)
    service.create("k", by="alice")
    server.requests.clear()
    return service


class Ticking:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


def test_a_key_wraps_and_unwraps_in_its_place_only(server: TransitServer, service: TransitKeyService) -> None:
    blob = service.wrap("k", b"d" * 32, b"here")
    assert server.requests == [("GET", "/v1/transit/keys/k"), ("POST", "/v1/transit/encrypt/k")]
    assert service.unwrap("k", blob, b"here") == b"d" * 32
    with pytest.raises(IntegrityError, match="authentication failed"):
        service.unwrap("k", blob, b"there")
    changed = blob[:-3] + (b"A" if blob[-3:-2] != b"A" else b"B") + blob[-2:]
    with pytest.raises(IntegrityError):
        service.unwrap("k", changed, b"here")
    asked = len(server.requests)
    for bad in (b"", b"vault:v1:", b"vault:v0:" + b"A" * 40, b"vault:v1:" + b"A" * 4000, b"\xff" * 50, blob + b"\n"):
        with pytest.raises(IntegrityError, match="not one of a transit engine"):
            service.unwrap("k", bad, b"here")
    assert len(server.requests) == asked


def test_the_life_of_a_key(server: TransitServer, service: TransitKeyService) -> None:
    old = service.wrap("k", b"d" * 32, b"")
    with pytest.raises(AlreadyExistsError):
        service.create("k")
    told = service.rotate("k")
    assert (told.current_version, told.versions, told.created_ns) == (2, (1, 2), 1_700_000_001 * 10**9)
    assert service.wrap("k", b"d", b"").startswith(b"vault:v2:")
    assert service.unwrap("k", old, b"") == b"d" * 32
    del server.keys["k"][1]
    with pytest.raises(AccessDeniedError, match="min_decryption_version"):
        service.unwrap("k", old, b"")
    assert service.destroy("k").state == "destroyed"
    with pytest.raises(AccessDeniedError, match="if it was deleted"):
        service.unwrap("k", old, b"")
    with pytest.raises(AccessDeniedError, match="if it was deleted"):
        service.wrap("k", b"d", b"")  # which would have made a new key of that name
    assert not server.keys
    for call in (service.describe, service.rotate, service.destroy):
        with pytest.raises(NotFoundError):
            call("k")
    for bad in ("a/b", "../sys", "k?x", "", "k\r\nX: y"):
        with pytest.raises(InvalidInputError, match="key id"):
            service.unwrap(bad, old, b"")


def test_a_token_that_is_refused(server: TransitServer, service: TransitKeyService, token_file: str) -> None:
    Path(token_file).write_text("another-token")
    with pytest.raises(AccessDeniedError, match="renew the token in") as caught:
        service.wrap("k", b"d", b"")
    assert "another-token" not in str(caught.value)
    assert len(server.requests) == 1  # not tried again
    Path(token_file).write_text(TOKEN)
    service.wrap("k", b"d", b"")  # read anew for each request
    Path(token_file).write_text("two words\r\nX-Evil: 1")
    with pytest.raises(InvalidInputError, match="must hold a token"):
        service.wrap("k", b"d", b"")
    Path(token_file).chmod(0o644)
    with pytest.raises(AccessDeniedError, match="chmod 600"):
        service.wrap("k", b"d", b"")


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, "drop"])
def test_a_server_in_trouble_is_asked_again(server: TransitServer, service: TransitKeyService, fault: Any) -> None:
    server.faults = [fault, fault, "pass", fault, "pass"]
    assert service.unwrap("k", service.wrap("k", b"d", b""), b"") == b"d"
    server.requests.clear()
    server.faults = [fault] * 9
    with pytest.raises(BusyError, match=r"3 of 3 tries\); see whether"):
        service.describe("k")
    assert len(server.requests) == 3


def test_a_rotation_is_not_sent_twice(server: TransitServer, service: TransitKeyService) -> None:
    server.faults = ["pass", 503]
    with pytest.raises(StorageError, match="look at the key"):
        service.rotate("k")
    assert [path for _, path in server.requests].count("/v1/transit/keys/k/rotate") == 1


def test_a_pause_is_as_long_as_the_server_asks_but_not_for_ever(server: TransitServer, token_file: str) -> None:
    pauses: list[float] = []
    service = service_of(server, token_file, sleep=pauses.append)
    server.keys["k"] = {1: bytes(32)}
    server.faults = [(429, {"Retry-After": "1"}, b""), (429, {"Retry-After": "86400"}, b"")]
    service.describe("k")
    assert pauses == [1.0, 2.0]
    server.faults = [(503, {"Retry-After": "soon"}, b"{}"), (503, {"Retry-After": "-5"}, b"[]")]
    service.describe("k")
    assert 0 < pauses[2] <= 0.1 <= pauses[3] <= 0.2


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_server_that_hangs_or_drips_is_left(server: TransitServer, token_file: str, fault: str) -> None:
    service = service_of(server, token_file, timeout_s=0.15, try_count=2)
    server.faults = [fault] * 2
    began = time.monotonic()
    with pytest.raises(BusyError, match=r"no answer within 0\.15 s"):
        service.describe("k")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"data": []}',
        b'{"data": {}}',
        b'{"data": {"ciphertext": 5, "plaintext": 5}}',
        b'{"data": {"ciphertext": "vault:v1:***", "plaintext": "***"}}',
        b'{"data": {"ciphertext": "", "plaintext": ""}}',
        b'{"data": {"type": "aes256-gcm96", "latest_version": true, "keys": {"1": 1}}}',
        b'{"data": {"type": "aes256-gcm96", "latest_version": 1, "keys": {}}}',
        b'{"data": {"type": "aes256-gcm96", "latest_version": 2, "keys": {"1": 1}}}',
        b'{"data": {"type": "aes256-gcm96", "latest_version": 1, "keys": {"one": 1}}}',
        b"[" * 100_000,
        b'{"data": {"plaintext": "' + base64.b64encode(bytes(300)) + b'"}}',
        b"x" * 300_000,
        b"",
    ],
)
def test_an_answer_that_is_none(server: TransitServer, service: TransitKeyService, body: bytes) -> None:
    blob = service.wrap("k", b"d", b"")
    server.faults = [(200, {}, body)]
    with pytest.raises((StorageError, InvalidInputError)):
        service.describe("k")
    server.faults = [(200, {}, body)]
    with pytest.raises(StorageError):
        service.unwrap("k", blob, b"")
    server.faults = ["pass", (200, {}, body)]
    with pytest.raises(StorageError):
        service.wrap("k", b"d", b"")


def test_times_of_versions_in_either_spelling(server: TransitServer, service: TransitKeyService) -> None:
    for value, expected in (
        (5, 5),
        ("2024-01-02T03:04:05.678Z", 1704164645),
        ({"creation_time": "2024-01-02T03:04:05Z"}, 1704164645),
        ("yesterday", 0),
        (None, 0),
        (-5, 0),
    ):
        data = {"data": {"type": "aes256-gcm96", "latest_version": 1, "keys": {"1": value}}}
        server.faults = [(200, {}, json.dumps(data).encode())]
        assert service.describe("k").created_ns == expected * 10**9
    data = {"data": {"type": "rsa-2048", "latest_version": 1, "keys": {"1": 1}}}
    server.faults = [(200, {}, json.dumps(data).encode())]
    with pytest.raises(InvalidInputError, match="must be aes256-gcm96"):
        service.describe("k")


def test_a_token_follows_no_redirect(server: TransitServer, service: TransitKeyService) -> None:
    other = TransitServer()
    try:
        server.faults = [(307, {"Location": other.address + "/v1/transit/keys/k"}, b"")]
        with pytest.raises(StorageError, match="address of the active one"):
            service.describe("k")
        assert not other.requests
    finally:
        other.close()


def test_no_error_shows_a_secret(server: TransitServer, service: TransitKeyService) -> None:
    plain = b"the data key, 32 bytes, in clear"
    blob = service.wrap("k", plain, b"")
    for faults in ([400], ["pass", 400], ["pass", 403], ["pass", 404], ["pass", 418], ["pass"] + [500] * 3):
        server.faults = list(faults)  # the server's words quote the token and the request
        with pytest.raises(TickVaultError) as caught:
            service.wrap("k", plain, b"")
        server.faults = list(faults[1:])
        text = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
        assert TOKEN not in text
        assert base64.b64encode(plain).decode() not in text
    server.faults = []
    assert service.unwrap("k", blob, b"") == plain
    assert TOKEN not in repr(service) + repr(service._connection)


def test_an_address_must_be_safe(token_file: str, tmp_path: Path) -> None:
    for address in ("http://vault.example:8200", "http://10.0.0.1:8200"):
        with pytest.raises(InvalidInputError, match="in the clear"):
            TransitConnection(address, token_file)
    for address in (
        "vault:8200",
        "ftp://x",
        "https://",
        "https://u:geheim@x",
        "https://x:99999",
        "https://x/v1",
        "https://x?y",
    ):
        with pytest.raises(InvalidInputError, match="address") as caught:
            TransitConnection(address, token_file)
        assert "geheim" not in str(caught.value)
    for option in ({"timeout_s": 0}, {"timeout_s": 61}, {"try_count": 0}, {"try_count": 11}, {"namespace": "a\r\nb"}):
        with pytest.raises(InvalidInputError):
            TransitConnection("https://x", token_file, **option)  # type: ignore[arg-type]
    (tmp_path / "ca").write_text("no certificate")
    for ca_file in (str(tmp_path / "ca"), str(tmp_path / "none")):
        with pytest.raises(InvalidInputError, match="ca_file"):
            TransitConnection("https://x", token_file, ca_file=ca_file)
    for mount in ("", "/x", "a//b", "..", "a/../b", "a b"):
        with pytest.raises(InvalidInputError, match="mount"):
            TransitKeyService(TransitConnection("https://x", token_file), mount=mount)


def test_nobody_there(token_file: str) -> None:
    connection = TransitConnection("http://127.0.0.1:9", token_file, try_count=2, sleep=lambda seconds: None)
    with pytest.raises(BusyError, match="nothing listens there"):
        TransitKeyService(connection).describe("k")


def certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_over_tls_only_a_trusted_server_is_asked(server: TransitServer, token_file: str, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    server.keys["k"] = {1: bytes(32)}
    address = server.address.replace("http://127.0.0.1", "https://localhost")
    trusted = TransitKeyService(TransitConnection(address, token_file, ca_file=cert))
    assert trusted.unwrap("k", trusted.wrap("k", b"d", b""), b"") == b"d"
    asked = len(server.requests)
    with pytest.raises(StorageError, match="not trusted"):
        TransitKeyService(TransitConnection(address, token_file)).describe("k")
    wrong_name = address.replace("localhost", "127.0.0.1")
    with pytest.raises(StorageError, match="not trusted"):
        TransitKeyService(TransitConnection(wrong_name, token_file, ca_file=cert)).describe("k")
    assert len(server.requests) == asked


def test_options(token_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = TransitServer(namespace="team-a/desk")
    server.keys["k"] = {1: bytes(32)}
    try:
        options = {"address": server.address, "namespace": "team-a/desk", "age_max_s": "60", "count_max": "10"}
        with pytest.raises(InvalidInputError, match="TICKVAULT_TRANSIT_TOKEN_FILE"):
            open_key_service("transit", options)
        monkeypatch.setenv("TICKVAULT_TRANSIT_TOKEN_FILE", token_file)
        service = open_key_service("transit", options)
        assert service.unwrap("k", service.wrap("k", b"d", b"x"), b"x") == b"d"
        for wrong in (
            {"token": TOKEN},
            {"age_max_s": "long"},
            {"timeout_s": "x"},
            {"suite": "des"},
            {"count_max": "0"},
        ):
            with pytest.raises(InvalidInputError):
                open_key_service("transit", {**options, **wrong})
    finally:
        server.close()


# -- the envelope over it


def envelope(service: TransitKeyService, **options: Any) -> tuple[EnvelopeKeyService, Ticking]:
    clock = Ticking()
    return EnvelopeKeyService(service, clock=clock, **options), clock


def test_the_remote_service_is_asked_seldom(server: TransitServer, service: TransitKeyService) -> None:
    writer, clock = envelope(service, age_max_s=300)
    blobs = [writer.wrap("k", b"%032d" % number, b"%d" % number) for number in range(50)]
    assert len(server.requests) == 2
    assert [writer.unwrap("k", blob, b"%d" % number) for number, blob in enumerate(blobs)] == [
        b"%032d" % number for number in range(50)
    ]
    assert len(server.requests) == 2
    reader, _ = envelope(service)
    for number, blob in enumerate(blobs):
        reader.unwrap("k", memoryview(blob), b"%d" % number)  # type: ignore[arg-type]
    assert len(server.requests) == 3
    clock.ns = 300 * 10**9
    assert writer.unwrap("k", blobs[0], b"0") == b"%032d" % 0
    assert len(server.requests) == 4
    assert writer.wrap("k", b"d", b"")[:60] != blobs[0][:60]  # nor does it wrap for longer
    assert len(server.requests) == 6


def test_what_was_destroyed_elsewhere_is_refused_after_a_while(
    server: TransitServer, service: TransitKeyService
) -> None:
    one, clock = envelope(service, age_max_s=10)
    blob = one.wrap("k", b"d" * 32, b"")
    service.destroy("k")
    assert one.unwrap("k", blob, b"") == b"d" * 32
    clock.ns = 10 * 10**9
    with pytest.raises(AccessDeniedError):
        one.unwrap("k", blob, b"")
    with pytest.raises(AccessDeniedError):
        one.wrap("k", b"d", b"")


def test_what_was_destroyed_here_is_refused_at_once(service: TransitKeyService) -> None:
    one, _ = envelope(service)
    blob = one.wrap("k", b"d" * 32, b"")
    assert one.rotate("k").current_version == 2
    assert b"vault:v2:" in one.wrap("k", b"d", b"")
    one.destroy("k")
    for call in (lambda: one.unwrap("k", blob, b""), lambda: one.wrap("k", b"d", b"")):
        with pytest.raises(AccessDeniedError):
            call()


def test_what_was_asked_for_before_a_destruction_is_not_remembered_after_it(service: TransitKeyService) -> None:
    blob = envelope(service)[0].wrap("k", b"d" * 32, b"")

    class Slow(TransitKeyService):
        """Between its answer and the asker, another thread destroys the key."""

        def unwrap(self, key_id: str, blob: bytes, binding: bytes) -> bytes:
            plain = super().unwrap(key_id, blob, binding)
            one.destroy(key_id)
            return plain

    one, _ = envelope(Slow(service._connection))
    one.unwrap("k", blob, b"")
    assert not one._unwrapping
    with pytest.raises(AccessDeniedError):
        one.unwrap("k", blob, b"")


def test_the_number_of_remembered_keys_is_limited(server: TransitServer, service: TransitKeyService) -> None:
    makers = [envelope(service)[0] for _ in range(5)]
    blobs = [maker.wrap("k", b"d", b"") for maker in makers]
    reader, clock = envelope(service, count_max=3, age_max_s=50)
    for blob in blobs:
        assert reader.unwrap("k", blob, b"") == b"d"
    assert len(reader._unwrapping) == 3
    server.requests.clear()
    reader.unwrap("k", blobs[-1], b"")
    assert not server.requests
    reader.unwrap("k", blobs[0], b"")
    assert len(server.requests) == 1
    clock.ns = 50 * 10**9
    reader.unwrap("k", blobs[0], b"")
    assert len(reader._unwrapping) == 1  # what is too old is let go
    never, _ = envelope(service, age_max_s=0)
    never.unwrap("k", blobs[0], b"")
    assert not never._unwrapping
    for wrong in ({"age_max_s": -1}, {"age_max_s": 86_401}, {"count_max": 0}):
        with pytest.raises(InvalidInputError):
            envelope(service, **wrong)


def test_every_flipped_bit_of_an_envelope_is_noticed(service: TransitKeyService, server: TransitServer) -> None:
    one, _ = envelope(service, suite=SM4_GCM)
    server.keys["other"] = {1: bytes(32)}
    blob = one.wrap("k", b"d" * 16, b"here")
    # Bits that the remote service must judge are sampled: each costs a request.
    local = [*range(32), *range((len(blob) - 44) * 8, len(blob) * 8)]
    for bit in [*local, *range(32, (len(blob) - 44) * 8, 23)]:
        changed = bytearray(blob)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TickVaultError) as caught:
            one.unwrap("k", bytes(changed), b"here")
        assert type(caught.value).__name__ in {"IntegrityError", "FormatError", "AccessDeniedError"}
    for cut in (b"", blob[:3], blob[:4], blob[:50], blob[:-1], blob + b"\0"):
        with pytest.raises(IntegrityError):
            one.unwrap("k", cut, b"here")
    for key_id, binding in (("other", b"here"), ("k", b"there")):
        with pytest.raises(IntegrityError):
            one.unwrap(key_id, blob, binding)
    assert one.unwrap("k", blob, b"here") == b"d" * 16
    assert "k" in one.describe("k").key_id
