"""`tickvault keys`, `tickvault security`, and buckets with encryption."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv

Type = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TICKVAULT_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("tickvault.objects.encryption.key_uses.SETTLE_S", 0.0)
    monkeypatch.setattr("tickvault.objects.encryption.key_uses.time.sleep", lambda seconds: None)


def test_the_life_of_a_key(tickvault: Type, folder: Path) -> None:
    (folder / "f").write_bytes(b"ticks")
    tickvault("bucket", "create", "open")
    assert tickvault("keys", "list").stdout == ""
    made = tickvault("keys", "create", "desk-7", "--json")
    assert (made.json["key_id"], made.json["state"], made.json["versions"]) == ("desk-7", "enabled", [1])
    bucket = tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm", "--key", "desk-7", "--json").json
    assert bucket["encryption"] == {"suite": "aes-256-gcm", "key": "desk-7", "mode": "kms"}
    tickvault("put", "f", "raw/f")
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"ticks"
    stated = tickvault("stat", "raw/f", "--json").json
    assert stated["encryption"] == {"mode": "kms", "suite": "aes-256-gcm", "key": "desk-7", "key_version": 1}
    assert "encryption.suite" in tickvault("stat", "raw/f").stdout
    assert tickvault("keys", "rotate", "desk-7", "--json").json["versions"] == [1, 2]
    assert tickvault("keys", "rewrap", "raw", "--json").json == {
        "bucket": "raw",
        "rewrapped": 1,
        "current": 0,
        "failed": 0,
        "first_failure": None,
        "uploads": 0,
    }
    assert "1 had the current version already" in tickvault("keys", "rewrap", "raw").stderr
    tickvault("keys", "disable", "desk-7")
    assert re.search(r"was disabled at 20\d\d-\d\d-\d\dT[\d:.]+Z", tickvault("get", "raw/f", "-", status=7).stderr)
    enabled = tickvault("keys", "enable", "desk-7").stderr
    assert enabled == "enabled key desk-7 (aes-256-gcm, version 2)\n"
    dry = tickvault("keys", "destroy", "desk-7", "--dry-run", "--json")
    assert (dry.json["object_versions"], dry.json["destroyed"], dry.json["buckets"]) == (1, False, 1)
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"ticks"
    assert "1 bucket still names it" in dry.stderr
    unasked = tickvault("keys", "destroy", "desk-7", status=2)
    assert "give --yes" in unasked.stderr
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"ticks"
    gone = tickvault("keys", "destroy", "desk-7", "--json", "--yes")
    assert (gone.json["state"], gone.json["destroyed"]) == ("destroyed", True)
    assert "1 version became unreadable" in gone.stderr
    assert "was destroyed" in tickvault("get", "raw/f", "-", status=7).stderr
    assert tickvault("ls", "raw").stdout.split()[-1] == "f"
    tickvault("rm", "raw/f")
    listed = tickvault("keys", "list", "--json").json_lines
    assert [(one["key_id"], one["state"]) for one in listed] == [("desk-7", "destroyed")]
    assert tickvault("keys", "list").stdout.startswith("desk-7")


@pytest.mark.parametrize("answer", ["y\n", "n\n", "\n", ""])
def test_destroying_asks_first(tickvault: Type, folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """`keys destroy` made objects unreadable for good without a question."""
    (folder / "f").write_bytes(b"x")
    tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm")
    tickvault("put", "f", "raw/f")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: self.name == "<stdin>")
    typed = tickvault("keys", "destroy", "default-aes-256-gcm", stdin=answer.encode(), status=None)
    assert "1 version will be unreadable for good. Destroy key default-aes-256-gcm? [y/N]" in typed.stderr
    if answer == "y\n":
        assert typed.status == 0
        assert "destroyed key default-aes-256-gcm; 1 version became unreadable" in typed.stderr
    else:
        assert typed.status == 130
        assert "nothing was done" in typed.stderr
        assert tickvault("get", "raw/f", "-").stdout_bytes == b"x"


def test_what_is_refused(tickvault: Type, folder: Path) -> None:
    (folder / "f").write_bytes(b"x")
    assert "--key needs --encryption" in tickvault("bucket", "create", "raw", "--key", "x", status=2).stderr
    assert (
        "there is no key nobody"
        in tickvault("bucket", "create", "raw", "--encryption", "sm4-gcm", "--key", "nobody", status=7).stderr
    )
    tickvault("bucket", "create", "raw", "--object-lock", "--encryption", "sm4-gcm")
    tickvault("put", "f", "raw/f")
    tickvault("hold", "place", "raw/f")
    refused = tickvault("keys", "destroy", "default-sm4-gcm", status=6)
    assert "1 locked version(s) need it" in refused.stderr
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"x"
    tickvault("keys", "create", "next")
    tickvault("keys", "rewrap", "raw", "--key", "next")
    tickvault("keys", "destroy", "default-sm4-gcm", "--yes")
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"x"
    for verb in ("rotate", "disable", "enable", "destroy"):
        assert "there is no key nobody" in tickvault("keys", verb, "nobody", status=3).stderr
    assert "never comes back" in tickvault("keys", "create", "default-sm4-gcm", status=4).stderr
    assert "key id" in tickvault("keys", "create", "../x", status=2).stderr
    assert "one of them" in tickvault("keys", "protect", status=2).stderr


def test_a_rewrap_that_left_something_is_no_success(tickvault: Type, folder: Path) -> None:
    """It ended with 0 when it rewrapped nothing, and `&& keys destroy` lost the object."""
    (folder / "f").write_bytes(b"x")
    tickvault("bucket", "create", "open")
    for key in ("k1", "k2"):
        tickvault("keys", "create", key)
    tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm", "--key", "k1")
    tickvault("put", "f", "raw/f")
    tickvault("keys", "disable", "k1")
    for ending in ((), ("--json",)):
        left = tickvault("keys", "rewrap", "raw", "--key", "k2", *ending, status=7)
        assert "rewrapped 0 data keys" in left.stderr
        assert "1 version stays as it is, such as raw/f: unwrap with key k1: it was disabled" in left.stderr
        assert "Destroy no key" in left.stderr
    assert (left.json["rewrapped"], left.json["failed"]) == (0, 1)
    tickvault("keys", "enable", "k1")
    with tv.open(folder / "data") as vault:
        upload = vault["raw"].create_upload("mp")
    left = tickvault("keys", "rewrap", "raw", "--key", "k2", "--json", status=5)
    assert (left.json["rewrapped"], left.json["failed"], left.json["uploads"]) == (1, 0, 1)
    assert "1 upload in progress needs another key" in left.stderr
    with tv.open(folder / "data") as vault:
        assert vault["raw"].rewrap().complete, "without another key the upload stays where it was, rightly"
        vault["raw"].abort_upload("mp", upload.upload_id)
    tickvault("keys", "rewrap", "raw", "--key", "k2")
    tickvault("keys", "destroy", "k1", "--yes")
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"x"


@pytest.mark.parametrize("change", ["line end", "cut", "long", "zeros", "gone", "readable"])
def test_no_advice_writes_over_the_key_file(tickvault: Type, folder: Path, change: str) -> None:
    """A key file with a line end behind it was answered with how to make one there: the key was gone for good."""
    (folder / "f").write_bytes(b"x")
    tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm")
    tickvault("put", "f", "raw/f")
    path = folder / "data" / "security" / "keyring.key"
    good = path.read_bytes()
    if change == "gone":
        path.unlink()
    elif change == "readable":
        path.chmod(0o644)
    else:
        changed = {"line end": good + b"\n", "cut": good[:31], "long": good * 300, "zeros": bytes(32)}
        path.write_bytes(changed[change])
    told = tickvault("get", "raw/f", "-", status=None)
    assert told.status in (2, 7)
    assert "keyring.key" in told.stderr
    assert "/dev/urandom" not in told.stderr
    assert "make" not in told.stderr
    if change == "line end":
        assert "has 33: one byte too many, a line end that an editor may have added" in told.stderr
        (command,) = re.findall(r"\(umask 077; .*\.trimmed\)", told.stderr)
        assert os.system(command) == 0
        (folder / "data" / "security" / "keyring.key.trimmed").rename(path)
        assert tickvault("get", "raw/f", "-").stdout_bytes == b"x"
    elif change == "readable":
        assert "seal the keyring with another one" in told.stderr
    else:
        assert "put the right file back" in told.stderr


def test_a_vault_without_a_keyring_says_how_to_make_what_is_missing(
    tickvault: Type, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickvault("bucket", "create", "open")
    monkeypatch.setenv("TICKVAULT_KEYRING_KEY_FILE", str(folder / "token.key"))
    told = tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm", status=7).stderr
    assert "back" not in told
    (command,) = re.findall(r"\(umask 077; .*\)", told)
    assert os.system(command) == 0
    tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm")
    monkeypatch.delenv("TICKVAULT_KEYRING_KEY_FILE")
    monkeypatch.setenv("TICKVAULT_KEYRING_PASSPHRASE_FILE", str(folder / "words"))
    (folder / "words").write_text("correct horse battery staple")
    (folder / "words").chmod(0o600)
    told = tickvault("keys", "rotate", "default-aes-256-gcm", status=7).stderr
    assert "protected by a 'key_file', not by a 'passphrase': set TICKVAULT_KEYRING_KEY_FILE to the file" in told
    monkeypatch.delenv("TICKVAULT_KEYRING_PASSPHRASE_FILE")
    monkeypatch.setenv("TICKVAULT_KEYRING_KEY_FILE", str(folder / "other.key"))
    (folder / "other.key").write_bytes(os.urandom(32))
    (folder / "other.key").chmod(0o600)
    told = tickvault("keys", "rotate", "default-aes-256-gcm", status=7).stderr
    assert f"the key file {folder / 'other.key'} is not the one it was sealed with; put the right one back" in told
    assert "or name it with TICKVAULT_KEYRING_KEY_FILE" in told


def test_protect(tickvault: Type, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "f").write_bytes(b"x")
    tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm")
    tickvault("put", "f", "raw/f")
    words = folder / "words"
    words.write_text("correct horse battery staple")
    assert "others can read it" in tickvault("keys", "protect", "--passphrase-file", "words", status=7).stderr
    words.chmod(0o600)
    told = tickvault("keys", "protect", "--passphrase-file", "words", "--json")
    variable = "TICKVAULT_KEYRING_PASSPHRASE_FILE"
    assert told.json == {"protection": "passphrase", "variable": variable, "file": str(words)}
    assert f"set {variable}={words} for" in told.stderr
    assert "correct horse" not in told.stdout + told.stderr
    (folder / "data" / "security" / "keyring.key").unlink()  # as the command says
    told = tickvault("get", "raw/f", "-", status=7).stderr
    assert "protected by a 'passphrase', not by a 'key_file': set TICKVAULT_KEYRING_PASSPHRASE_FILE to" in told
    monkeypatch.setenv("TICKVAULT_KEYRING_PASSPHRASE_FILE", str(words))
    assert tickvault("get", "raw/f", "-").stdout_bytes == b"x"


def test_the_security_report(tickvault: Type) -> None:
    report = tickvault("security", "report", "--json").json
    assert set(report["suites"]) == {"aes-256-gcm", "sm4-gcm"}
    assert json.dumps(report)
    text = tickvault("security", "report").stdout
    assert "suites.sm4-gcm.module" in text
    assert "No certification is claimed" in text


def test_the_security_report_of_a_vault(tickvault: Type, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It told nothing of any vault: how its keyring is protected, where that lies, what is encrypted by what."""
    assert "vault" not in tickvault("security", "report", "--json").json
    assert "there is no vault" in tickvault("security", "report", "--vault", "none", status=3).stderr
    tickvault("bucket", "create", "open")
    keys = tickvault("security", "report", "--vault", "data", "--json").json["vault"]["keys"]
    assert (keys["protected_by"], keys["opened_by"], keys["count"], keys["problem"]) == (None, None, {}, None)
    assert not (folder / "data" / "security").exists(), "a report makes nothing"
    tickvault("keys", "create", "desk")
    tickvault("keys", "create", "old")
    tickvault("keys", "destroy", "old", "--yes")
    tickvault("bucket", "create", "raw", "--encryption", "aes-256-gcm", "--key", "desk")
    found = tickvault("security", "report", "--vault", "data", "--json").json
    assert set(found) > {"vault", "suites"}
    keys, key_file = found["vault"]["keys"], folder / "data" / "security" / "keyring.key"
    assert (keys["protected_by"], keys["opened_by"], keys["in_the_vault"]) == ("key_file", str(key_file), True)
    assert "whoever can read the folder" in keys["note"]
    assert (keys["count"], keys["problem"]) == ({"destroyed": 1, "enabled": 1}, None)
    assert found["vault"]["buckets"] == {
        "open": "new versions are not encrypted",
        "raw": "aes-256-gcm, key desk, mode kms",
    }
    assert key_file.read_bytes().hex() not in json.dumps(found)
    words = folder / "words"
    words.write_text("correct horse battery staple")
    words.chmod(0o600)
    tickvault("keys", "protect", "--passphrase-file", "words")
    text = tickvault("security", "report", "--vault", "data").stdout
    assert re.search(r"vault.keys.protected_by +passphrase\n", text)
    assert "set TICKVAULT_KEYRING_PASSPHRASE_FILE to" in text
    monkeypatch.setenv("TICKVAULT_KEYRING_PASSPHRASE_FILE", str(words))
    keys = tickvault("security", "report", "--vault", "data", "--json").json["vault"]["keys"]
    assert (keys["opened_by"], keys["in_the_vault"], keys["problem"]) == (str(words), False, None)
    assert "note" not in keys
