"""Secrets do not show, and the file that seals them is as private as it must be."""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
import pickle
import traceback
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_setting import ROOT, TRUST, WRITE
from memory_documents import MemoryDocuments

from tickvault.errors import AccessDeniedError, FormatError, IntegrityError, InvalidInputError, TickVaultError
from tickvault.security.identity import FileSealer, Identities, Secret


def shapes(value: object) -> str:
    """Everything that somebody might print or log of a value."""
    shown = [repr(value), str(value), f"{value}", f"{value!r}", f"{value:}", json.dumps(value, default=repr)]
    if is_dataclass(value) and not isinstance(value, type):
        shown += [repr(asdict(value)), json.dumps(asdict(value), default=repr)]
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s %r", (value, value), None)
    return "\n".join([*shown, record.getMessage()])


def test_no_secret_and_no_token_shows(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    identities.create_role("worker", TRUST)
    new = identities.create_access_key("alice")
    rotated = identities.rotate_access_key(new.id, grace_s=60)
    caller = identities.find(new.id)
    session = identities.assume_role(caller, "worker", "run", decide=lambda request: True, session_policy=WRITE)
    token = session.session_token.reveal()
    of_session = identities.find(session.access_key_id, token)
    root = identities.find(ROOT.access_key)
    secrets = [
        new.secret.reveal(),
        rotated.secret.reveal(),
        session.secret.reveal(),
        token,
        ROOT.secret_key,
        "k" * 32,
    ]
    values = [
        new, rotated, session, caller, of_session, root, caller.secret, new.key, identities, identities.sealer,
        identities.get_user("alice"), identities.list_users(), identities.list_access_keys("alice"),
        caller.policies, of_session.session, documents.list(""), vars(identities),
    ]  # fmt: skip
    for value in values:
        text = shapes(value)
        for secret in secrets:
            assert secret not in text, type(value)
    # The scan can fail: what is revealed is seen.
    assert new.secret.reveal() in shapes({"secret": new.secret.reveal()})


def test_no_secret_stands_in_a_message_or_a_stored_document(identities: Identities, documents: MemoryDocuments) -> None:
    identities.create_user("alice")
    identities.create_role("worker", TRUST)
    new = identities.create_access_key("alice")
    session = identities.assume_role(identities.find(new.id), "worker", "run", decide=lambda request: True)
    token, secret = session.session_token.reveal(), new.secret.reveal()
    calls = [
        lambda: identities.find(new.id, token),
        lambda: identities.find(session.access_key_id, token[:-1]),
        lambda: identities.find(session.access_key_id, token + "x"),
        lambda: identities.find("TVST" + "A" * 16, token),
        lambda: identities.create_user(secret + "/"),
        lambda: identities.set_access_key_disabled("x" * 20, True),
    ]
    for call in calls[:4]:
        with pytest.raises(TickVaultError) as caught:
            call()
        text = "".join(traceback.format_exception(caught.value))
        assert token not in text
        assert token[:40] not in text
    stored = repr(documents.list(""))
    assert secret not in stored
    assert session.access_key_id not in stored


def test_a_secret_is_held_tightly() -> None:
    secret = Secret("hunter2")
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")
    assert secret != "hunter2"
    assert secret.matches("hunter2")
    assert not secret.matches("hunter2\ud800")
    assert copy.deepcopy(secret) is secret
    for leak in (pickle.dumps, json.dumps, hash, vars):
        with pytest.raises(TypeError):
            leak(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret).__reduce_ex__(4)


@given(st.binary(max_size=300), st.binary(max_size=50), st.data())
def test_what_was_sealed_opens_whole_or_not_at_all(plaintext: bytes, binding: bytes, data: st.DataObject) -> None:
    sealer = FileSealer(b"k" * 32)
    blob = sealer.seal(plaintext, binding)
    assert sealer.unseal(blob, binding) == plaintext
    assert plaintext not in blob or len(plaintext) < 3
    place = data.draw(st.integers(0, len(blob) - 1))
    changed = bytearray(blob)
    changed[place] ^= data.draw(st.integers(1, 255))
    for wrong, bound in (
        (bytes(changed), binding),
        (blob[:place], binding),
        (blob + b"\0", binding),
        (blob, binding + b"\0"),
        (b"", binding),
    ):
        with pytest.raises(IntegrityError):
            sealer.unseal(wrong, bound)
    with pytest.raises(IntegrityError):
        FileSealer(b"o" * 32).unseal(blob, binding)


def test_the_same_secret_is_never_sealed_the_same_way() -> None:
    sealer = FileSealer(b"k" * 32)
    assert len({sealer.seal(b"x", b"") for _ in range(1000)}) == 1000
    with pytest.raises(InvalidInputError):
        sealer.seal(bytes(64 * 1024 + 1), b"")
    with pytest.raises(InvalidInputError):
        FileSealer(b"short")


def test_the_sealing_key_is_made_once_and_private(tmp_path: Path) -> None:
    before = os.umask(0)  # the modes must not depend on it
    try:
        sealer = FileSealer.open(str(tmp_path))
    finally:
        os.umask(before)
    path = tmp_path / "security" / "sealing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["sealing.key"]
    assert len(path.read_bytes()) == 32
    assert FileSealer.open(str(tmp_path)).unseal(sealer.seal(b"x", b"y"), b"y") == b"x"


def seal_in(folder: str) -> bytes:
    return FileSealer.open(folder).seal(b"x", b"y")


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        blobs = pool.map(seal_in, [str(tmp_path)] * 16, chunksize=1)
    sealer = FileSealer.open(str(tmp_path))
    assert {sealer.unseal(blob, b"y") for blob in blobs} == {b"x"}
    assert os.listdir(tmp_path / "security") == ["sealing.key"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666, 0o610])
def test_a_sealing_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    FileSealer.open(str(tmp_path))
    (tmp_path / "security" / "sealing.key").chmod(mode)
    with pytest.raises(AccessDeniedError, match="chmod 600"):
        FileSealer.open(str(tmp_path))


@pytest.mark.parametrize("size", [0, 31, 33, 4096])
def test_a_sealing_key_of_another_size_is_refused_and_kept(tmp_path: Path, size: int) -> None:
    FileSealer.open(str(tmp_path))
    path = tmp_path / "security" / "sealing.key"
    path.write_bytes(b"k" * size)
    with pytest.raises(FormatError, match="32 bytes"):
        FileSealer.open(str(tmp_path))
    assert path.stat().st_size == size


def test_what_is_not_a_file_is_no_sealing_key(tmp_path: Path) -> None:
    (tmp_path / "security").mkdir()
    os.mkfifo(tmp_path / "security" / "sealing.key", 0o600)
    with pytest.raises(InvalidInputError, match="must be a file"):
        FileSealer.open(str(tmp_path))
