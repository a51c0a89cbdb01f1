from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from tickvault.errors import AccessDeniedError, FormatError, InvalidInputError, NotFoundError
from tickvault.security.credentials import Credentials, has_credentials, load_or_create


def load(folder: Path, **environment: str) -> Credentials:
    return load_or_create(str(folder), environment=environment)


def test_a_new_vault_gets_a_pair_that_only_its_owner_can_read(tmp_path: Path) -> None:
    os.umask(0)  # the mode must not depend on it
    try:
        made = load(tmp_path)
    finally:
        os.umask(0o022)
    path = tmp_path / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {"access_key": made.access_key, "secret_key": made.secret_key}
    assert load(tmp_path) == made
    assert os.listdir(tmp_path) == ["credentials.json"]
    assert len(made.access_key) == 20
    assert len(made.secret_key) == 40


def test_two_vaults_have_two_pairs(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert load(one).secret_key != load(two).secret_key


def make(folder: str) -> str:
    return load_or_create(folder, environment={}).secret_key


def test_processes_that_make_it_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(make, [str(tmp_path)] * 16, chunksize=1))) == 1
    assert os.listdir(tmp_path) == ["credentials.json"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666, 0o610])
def test_a_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    load(tmp_path)
    (tmp_path / "credentials.json").chmod(mode)
    with pytest.raises(AccessDeniedError, match="chmod 600"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"access_key": "abc"}', '{"access_key": 1, "secret_key": "12345678"}', "\x00"]
)
def test_a_file_that_is_no_pair_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(FormatError, match=r"credentials\.json"):
        load(tmp_path)
    assert path.read_text() == text


@pytest.mark.parametrize("access_key", ["ab", "a/b/c", "a b c", "x" * 129])
def test_an_access_key_that_a_signature_could_not_carry_is_refused(tmp_path: Path, access_key: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("12345678")
    secret.chmod(0o600)
    with pytest.raises(InvalidInputError, match="access key"):
        load(tmp_path, TICKVAULT_ACCESS_KEY=access_key, TICKVAULT_SECRET_KEY_FILE=str(secret))


def test_the_environment_goes_first(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret of mine\n")
    secret.chmod(0o600)
    found = load(tmp_path, TICKVAULT_ACCESS_KEY="myself", TICKVAULT_SECRET_KEY_FILE=str(secret))
    assert (found.access_key, found.secret_key) == ("myself", "a secret of mine")
    assert found.secret_for("myself") == "a secret of mine"
    assert found.secret_for("other") is None
    assert os.listdir(tmp_path) == ["secret"]
    secret.chmod(0o644)
    with pytest.raises(AccessDeniedError):
        load(tmp_path, TICKVAULT_ACCESS_KEY="myself", TICKVAULT_SECRET_KEY_FILE=str(secret))


def test_half_of_the_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="TICKVAULT_SECRET_KEY_FILE is not set"):
        load(tmp_path, TICKVAULT_ACCESS_KEY="myself")
    with pytest.raises(InvalidInputError, match="TICKVAULT_ACCESS_KEY is not set"):
        load(tmp_path, TICKVAULT_SECRET_KEY_FILE="x")
    assert has_credentials(str(tmp_path), environment={"TICKVAULT_ACCESS_KEY": "myself"})
    with pytest.raises(NotFoundError):
        load(tmp_path, TICKVAULT_ACCESS_KEY="myself", TICKVAULT_SECRET_KEY_FILE=str(tmp_path / "missing"))


def test_a_secret_is_in_no_representation(tmp_path: Path) -> None:
    assert not has_credentials(str(tmp_path), environment={})
    made = load(tmp_path)
    assert has_credentials(str(tmp_path), environment={})
    assert made.secret_key not in f"{made} {made!r} {[made]}"
