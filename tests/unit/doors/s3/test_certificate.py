"""A certificate that cannot be used is told with the name of the file and with what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickvault.doors.s3.certificate import tls_context
from tickvault.errors import InvalidInputError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="NOT TESTED: openssl is not installed")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs, and what goes wrong with them."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("a", "b"):
        command = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        openssl(*command, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    openssl("pkey", "-in", folder / "a.key", "-aes256", "-passout", "pass:x", "-out", folder / "encrypted.key")
    openssl("x509", "-in", folder / "a.crt", "-outform", "DER", "-out", folder / "der.crt")
    openssl("pkey", "-in", folder / "a.key", "-outform", "DER", "-out", folder / "der.key")
    (folder / "empty").touch()
    for kind in ("crt", "key"):
        lines = (folder / f"a.{kind}").read_text().splitlines(keepends=True)
        (folder / f"damaged.{kind}").write_text("".join([lines[0], "AAAA\n", *lines[2:]]))
    return folder


def test_a_pair_is_taken(folder: Path) -> None:
    assert tls_context(None, None) is None
    assert tls_context(os.fspath(folder / "a.crt"), os.fspath(folder / "a.key")) is not None


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        ("none", "a.key", "certificate {}/none: there is no such file"),
        ("a.crt", "none", "private key {}/none: there is no such file"),
        (".", "a.key", "certificate {}/. is a folder"),
        ("a.crt", "b.key", "private key {0}/b.key does not belong to certificate {0}/a.crt"),
        ("a.crt", "encrypted.key", "private key {}/encrypted.key is encrypted"),
        ("a.key", "a.crt", "certificate {}/a.key holds no certificate in PEM; it holds a private key: are the two"),
        ("a.crt", "a.crt", "private key {}/a.crt holds no private key in PEM; it holds a certificate"),
        ("der.crt", "a.key", "certificate {}/der.crt holds no certificate in PEM; it looks like DER: openssl x509"),
        ("a.crt", "der.key", "private key {}/der.key holds no private key in PEM; it looks like DER: openssl pkey"),
        ("empty", "a.key", "certificate {}/empty holds no certificate in PEM; give a file with -----BEGIN"),
        ("a.crt", "empty", "private key {}/empty holds no private key in PEM; give a file with -----BEGIN"),
        ("damaged.crt", "a.key", "certificate {}/damaged.crt is damaged"),
        ("a.crt", "damaged.key", "private key {}/damaged.key cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(folder: Path, certificate: str, key: str, told: str) -> None:
    """The story: all of these were answered in OpenSSL's words, such as "[SSL] PEM lib (_ssl.c:3905)"; for an
    encrypted key a server without a terminal waited for a passphrase."""
    with pytest.raises(InvalidInputError) as caught:
        tls_context(f"{folder}/{certificate}", f"{folder}/{key}")
    assert told.format(folder) in str(caught.value)
    assert "_ssl.c" not in str(caught.value)


@pytest.mark.parametrize("device", [False, True])
def test_a_pipe_or_a_device_is_refused(folder: Path, tmp_path: Path, device: bool) -> None:
    """The story: a --key that was a named pipe hung the server without a word, and /dev/zero filled its memory."""
    path = "/dev/zero" if device else str(tmp_path / "pipe")
    if not device:
        os.mkfifo(path)
    for certificate, key in ((f"{folder}/a.crt", path), (path, f"{folder}/a.key")):
        with pytest.raises(InvalidInputError, match=f"{path} is a pipe or a device"):
            tls_context(certificate, key)


@pytest.fixture
def unreadable_key(folder: Path) -> Iterator[tuple[str, str]]:
    """A pair whose certificate everybody may read, and whose key nobody but root."""
    with tempfile.TemporaryDirectory() as place:  # the folders of pytest are closed to other users
        os.chmod(place, 0o755)
        certificate, key = shutil.copy(folder / "a.crt", place), shutil.copy(folder / "a.key", place)
        os.chmod(certificate, 0o644)
        os.chmod(key, 0o000)
        yield certificate, key


def test_a_key_that_this_user_may_not_read(unreadable_key: tuple[str, str], without_privileges: None) -> None:
    with pytest.raises(InvalidInputError, match=r"a\.key: this user may not read it"):
        tls_context(*unreadable_key)
