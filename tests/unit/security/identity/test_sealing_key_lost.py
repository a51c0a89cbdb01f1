"""The sealing key of a vault is gone, another one, or back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from identity_setting import ROOT, compile_policy
from memory_documents import MemoryDocuments

from tickvault.errors import AccessDeniedError, ConflictError, FormatError
from tickvault.security.identity import CredentialRefusedError, Identities, Refusal, VaultSealer, anything_sealed

Open = Callable[[], Identities]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "security" / "sealing.key"


@pytest.fixture
def process(tmp_path: Path, documents: MemoryDocuments) -> Open:
    """Open the identities of one vault, as a process of its own would."""

    def process() -> Identities:
        sealer = VaultSealer(str(tmp_path), lambda: anything_sealed(documents))
        return Identities(documents, sealer, compile_policy, vault_id="one", root=ROOT)

    return process


def refusal(identities: Identities, key_id: str, token: str | None = None) -> Refusal:
    with pytest.raises(CredentialRefusedError) as caught:
        identities.find(key_id, token)
    return caught.value.refusal


def test_a_lost_key_is_not_made_again_by_the_way(process: Open, key_file: Path, documents: MemoryDocuments) -> None:
    """A new access key on a restored vault made a new sealing key, and every older access key was lost with it."""
    first = process()
    first.create_user("alice")
    assert not key_file.exists()
    key = first.create_access_key("alice")
    data = key_file.read_bytes()
    key_file.unlink()
    for identities in (process(), first):
        with pytest.raises(AccessDeniedError, match=r"put it back .* reset-sealing-key"):
            identities.create_access_key("alice")
        assert not key_file.exists()
    assert len(documents.list("iam/key/")) == 1, "the pointer of the key that was not made is gone"
    restarted = process()
    assert refusal(restarted, key.id) is Refusal.UNREADABLE
    assert "is missing" in restarted.unreadable_access_keys("alice")[key.id]
    # What was put back is taken without a restart.
    key_file.write_bytes(data)
    key_file.chmod(0o600)
    assert restarted.find(key.id).secret.reveal() == key.secret.reveal()
    assert restarted.unreadable_access_keys("alice") == {}
    assert len(restarted.create_access_key("alice").secret.reveal()) == 40


def test_without_a_sealed_key_one_is_made(process: Open, key_file: Path) -> None:
    identities = process()
    identities.create_user("alice")
    identities.delete_access_key(identities.create_access_key("alice").id)
    key_file.unlink()
    assert process().find(process().create_access_key("alice").id)


def test_a_key_that_is_lost_for_good_is_reset(process: Open, key_file: Path) -> None:
    running = process()
    running.create_user("alice")
    running.create_service_account("ci", parent="alice")
    lost = [running.create_access_key("alice"), running.create_access_key(service_account="ci")]
    off = running.create_access_key("alice")
    running.set_access_key_disabled(off.id, True)
    assert running.find(lost[0].id)
    session = running.get_session_token(running.find(lost[0].id))
    token = session.session_token.reveal()
    with pytest.raises(ConflictError, match="nothing to do"):
        running.reset_sealing_key()
    old = key_file.read_bytes()
    key_file.unlink()
    restarted = process()
    assert refusal(restarted, session.access_key_id, token) is Refusal.UNREADABLE
    done = restarted.reset_sealing_key()
    assert done.made
    assert [key.id for key in done.disabled] == [key.id for key in lost]
    assert key_file.stat().st_mode & 0o777 == 0o600
    for identities in (running, restarted, process()):
        assert {refusal(identities, key.id) for key in lost} == {Refusal.DISABLED}
    assert refusal(process(), session.access_key_id, token) is Refusal.INVALID_TOKEN
    new = restarted.create_access_key("alice")
    # The process that still knew the lost key takes the new one.
    assert running.find(new.id).secret.reveal() == new.secret.reveal()
    begun = running.get_session_token(running.find(new.id))
    assert restarted.find(begun.access_key_id, begun.session_token.reveal())
    # The old file was found after all.
    key_file.write_bytes(old)
    restarted.set_access_key_disabled(new.id, True)
    restarted.set_access_key_disabled(lost[0].id, False)
    assert process().find(lost[0].id).secret.reveal() == lost[0].secret.reveal()


def test_a_file_of_another_vault_is_kept(process: Open, key_file: Path) -> None:
    identities = process()
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    other = os.urandom(32)
    key_file.write_bytes(other)
    assert refusal(process(), key.id) is Refusal.UNREADABLE
    done = process().reset_sealing_key()
    assert (done.made, [each.id for each in done.disabled]) == (False, [key.id])
    assert key_file.read_bytes() == other


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(lambda path: path.chmod(0o644), AccessDeniedError), (lambda path: path.write_bytes(b"x"), FormatError)],
)
def test_a_file_that_cannot_be_used_disables_nothing(
    process: Open, key_file: Path, spoil: Callable[[Path], object], error: type[Exception]
) -> None:
    """What a `chmod` mends is no reason to give keys up."""
    identities = process()
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    spoil(key_file)
    assert refusal(process(), key.id) is Refusal.UNREADABLE
    with pytest.raises(error):
        process().reset_sealing_key()
    assert not process().get_access_key(key.id).disabled


def test_whoever_runs_the_vault_is_told_once_a_minute(
    process: Open, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identities = process()
    identities.create_user("alice")
    key = identities.create_access_key("alice")
    key_file.unlink()
    restarted = process()
    with caplog.at_level(logging.ERROR, "tickvault"):
        for _ in range(10):
            assert refusal(restarted, key.id) is Refusal.UNREADABLE
    (record,) = caplog.records
    assert key.id in record.getMessage() and "reset-sealing-key" in record.getMessage()
    assert key.secret.reveal() not in caplog.text
