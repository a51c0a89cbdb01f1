"""Keys that cannot be used, as boto3 and whoever runs the server see them: no refusal of rights, and no damage."""

import os
import time

import boto3
import pytest
from botocore.config import Config
from served_vault import serving

import tickvault as tv
from tickvault.security.keyring import Passphrase

LATER = b"correct horse battery staple"


def client_of(served):
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{served.port}",
        aws_access_key_id=served.access_key,
        aws_secret_access_key=served.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@pytest.fixture
def sealed(tmp_path, monkeypatch):
    """A vault with an encrypted and a plain bucket, an object in each."""
    for name in [name for name in os.environ if name.startswith("TICKVAULT_KEY")]:
        monkeypatch.delenv(name)
    path = tmp_path / "v"
    with tv.open(path) as vault:
        vault.store.keys.create("desk")
        vault.create_bucket("sealed", encryption={"key": "desk"}).put("k", b"x")
        vault.create_bucket("plain").put("k", b"x")
    return path


def protect_otherwise(path):
    with tv.open(path) as vault:
        vault.store.keys.protect(Passphrase(LATER.decode(), scrypt_n=1 << 10))


def take_away(path):
    (path / "security" / "keyring.json").rename(path.parent / "ring")


def damage(path):
    ring = path / "security" / "keyring.json"
    ring.write_bytes(ring.read_bytes()[:-20])


def lengthen(path):
    with (path / "security" / "keyring.key").open("ab") as file:
        file.write(b"\n")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (protect_otherwise, "set TICKVAULT_KEYRING_PASSPHRASE_FILE to"),
        (take_away, "there is no keyring"),
        (damage, "keyring.json: is damaged"),
        (lengthen, "one byte too many"),
    ],
)
def test_a_server_that_cannot_open_the_keyring_says_so(sealed, refused, spoil, why):
    """It answered AccessDenied (or "the object is damaged", or InvalidArgument) and its log said nothing."""
    spoil(sealed)
    with serving(sealed) as served:
        s3 = client_of(served)
        calls = (
            lambda: refused(s3.get_object, Bucket="sealed", Key="k"),
            lambda: refused(s3.put_object, Bucket="sealed", Key="new", Body=b"y"),
            lambda: refused(s3.create_multipart_upload, Bucket="sealed", Key="new"),
        )
        for call in calls:
            refusal = call()
            assert refusal == (503, "ServiceUnavailable")
            message = refusal.response["Error"]["Message"]
            assert message == "The keys that this takes cannot be used; the server's log says why."
        assert s3.head_object(Bucket="sealed", Key="k")["ContentLength"] == 1
        assert s3.get_object(Bucket="plain", Key="k")["Body"].read() == b"x"
    lines = (sealed.parent / "v.stderr").read_text().splitlines()
    (at_start,) = [line for line in lines if "WARNING the vault's keys cannot be opened" in line]
    (at_first,) = [line for line in lines if "ERROR what is encrypted is answered ServiceUnavailable" in line]
    assert why in at_start
    assert why in at_first


def test_a_keyring_that_is_taken_away_from_a_server(sealed, refused):
    """GetObject was 404 NoSuchKey."""
    with serving(sealed) as served:
        s3 = client_of(served)
        assert s3.get_object(Bucket="sealed", Key="k")["Body"].read() == b"x"
        take_away(sealed)
        for _ in range(200):
            try:
                s3.get_object(Bucket="sealed", Key="k")["Body"].read()
            except s3.exceptions.ClientError:
                break
            time.sleep(0.02)
        assert refused(s3.get_object, Bucket="sealed", Key="k") == (503, "ServiceUnavailable")
        assert refused(s3.put_object, Bucket="sealed", Key="k", Body=b"y") == (503, "ServiceUnavailable")
        (sealed.parent / "ring").rename(sealed / "security" / "keyring.json")
        assert s3.get_object(Bucket="sealed", Key="k")["Body"].read() == b"x"
    log = (sealed.parent / "v.stderr").read_text()
    assert "WARNING" not in log
    # A new one would open nothing of what is there.
    assert "there is no keyring. Put the keyring (and the file that protects it) back, or name it with" in log
    assert "make one" not in log


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("disable", "KMS.DisabledException", "Key desk is disabled."),
        ("destroy", "KMS.KMSInvalidStateException", "Key desk was destroyed"),
    ],
)
def test_a_key_that_is_no_longer_enabled(sealed, refused, state, code, words):
    with tv.open(sealed) as vault:
        getattr(vault.store.keys, state)("desk")
    with serving(sealed) as served:
        s3 = client_of(served)
        for refusal in (
            refused(s3.get_object, Bucket="sealed", Key="k"),
            refused(s3.put_object, Bucket="sealed", Key="k", Body=b"y"),
        ):
            assert refusal == (400, code)
            assert refusal.response["Error"]["Message"].startswith(words)
            assert str(sealed) not in str(refusal.response)
        assert s3.head_object(Bucket="sealed", Key="k")["ContentLength"] == 1
