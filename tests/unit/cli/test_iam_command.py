"""Identities from the command line, on a vault without a server."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tickvault as tv

Type = Callable[..., Any]
TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"AWS": "arn:aws:iam::000000000000:user/alice"}}]}'
)
OWN = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", '
    '"Resource": "arn:aws:s3:::raw/${aws:username}/*"}]}'
)
ALICE = "arn:aws:iam::000000000000:user/alice"


@pytest.fixture
def iam(tickvault: Type) -> Type:
    """A command line beside a vault with a bucket `raw` and the user alice, who is a reader."""
    tickvault("bucket", "create", "raw")
    tickvault("iam", "user", "create", "alice", "--tag", "desk=rates")
    tickvault("iam", "attach", "reader", "--user", "alice")

    def type_line(*arguments: str, **options: Any) -> Any:
        return tickvault("iam", *arguments, **options)

    return type_line


def test_users(iam: Type) -> None:
    shown = iam("user", "show", "alice", "--json").json
    assert (shown["policies"], shown["tags"], shown["arn"]) == (["reader"], {"desk": "rates"}, ALICE)
    assert "desk=rates" in iam("user", "show", "alice").stdout
    iam("user", "disable", "alice")
    assert iam("user", "list").stdout == "alice  disabled\n"
    iam("user", "enable", "alice")
    assert [each["user"] for each in iam("user", "list", "--json").json_lines] == ["alice"]
    assert iam("user", "create", "Alice", status=4).stderr
    assert "reader" in iam("user", "delete", "alice", status=5).stderr
    iam("user", "delete", "alice", "--force")
    assert iam("user", "show", "alice", status=3).stdout == ""


def test_a_secret_is_shown_once(iam: Type, folder: Path) -> None:
    lines = dict(line.split("=", 1) for line in iam("key", "create", "--user", "alice").stdout.splitlines())
    assert set(lines) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    secret = lines["AWS_SECRET_ACCESS_KEY"]
    for command in (
        ("key", "list", "--user", "alice"),
        ("key", "list", "--user", "alice", "--json"),
        ("user", "show", "alice", "--json"),
    ):
        told = iam(*command)
        assert lines["AWS_ACCESS_KEY_ID"] in told.stdout
        assert secret not in told.stdout + told.stderr
    with tv.open(folder / "data") as vault:
        assert vault.identities.find(lines["AWS_ACCESS_KEY_ID"]).secret.reveal() == secret


def test_a_secret_in_a_file_is_its_owners(iam: Type, folder: Path) -> None:
    previous = os.umask(0)
    try:
        made = iam("key", "create", "--user", "alice", "--secret-file", "alice.credentials", "--json")
    finally:
        os.umask(previous)
    path = folder / "alice.credentials"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    secret = text.rpartition("= ")[2].strip()
    assert len(secret) == 40 and secret not in made.stdout + made.stderr
    assert made.json["access_key"] in text
    # botocore reads it.
    from botocore.configloader import raw_config_parse

    assert raw_config_parse(str(path))["default"]["aws_secret_access_key"] == secret
    # A file that is there is left alone, and no key is made for nothing.
    again = iam("key", "create", "--user", "alice", "--secret-file", "alice.credentials", status=4)
    assert "choose another name, or remove it first" in again.stderr
    assert path.read_text() == text
    assert len(iam("key", "list", "--user", "alice", "--json").json_lines) == 1
    assert iam("key", "create", "--user", "nobody", "--secret-file", "new.credentials", status=3)
    assert not (folder / "new.credentials").exists()


def test_the_life_of_a_key(iam: Type, folder: Path) -> None:
    first = iam("key", "create", "--user", "alice", "--json").json
    second = iam("key", "rotate", first["access_key"], "--grace", "3600", "--json").json
    assert second["secret_key"] != first["secret_key"]
    states = {each["access_key"]: each for each in iam("key", "list", "--user", "alice", "--json").json_lines}
    assert states[first["access_key"]]["expires_ns"] and states[second["access_key"]]["expires_ns"] is None
    iam("key", "disable", second["access_key"])
    assert "disabled" in iam("key", "list", "--user", "alice").stdout
    iam("key", "enable", second["access_key"])
    iam("key", "delete", first["access_key"])
    assert len(iam("key", "list", "--user", "alice", "--json").json_lines) == 1
    iam("key", "create", "--user", "alice", "--expires", "2099-12-31")
    assert "limit" in iam("key", "create", "--user", "alice", status=5).stderr
    for bad in (
        ("key", "create"),
        ("key", "create", "--user", "a", "--service-account", "b"),
        ("key", "create", "--user", "alice", "--expires", "2001-01-01"),
        ("key", "create", "--user", "alice", "--expires", "soon"),
    ):
        assert iam(*bad, status=2).stdout == ""
    assert iam("key", "rotate", "TVAKAAAAAAAAAAAAAAAA", status=3)


def test_groups_and_policies(iam: Type, folder: Path) -> None:
    (folder / "own.json").write_text(OWN)
    iam("policy", "create", "own-folder", "own.json", "--description", "a folder each")
    iam("group", "create", "quants")
    iam("attach", "own-folder", "--group", "quants")
    iam("group", "add", "quants", "alice")
    assert iam("group", "show", "quants", "--json").json["members"] == ["alice"]
    shown = iam("policy", "show", "own-folder", "--json").json
    assert shown["holders"] == ["group quants"]
    revision = str(shown["revision"])
    iam("policy", "update", "own-folder", "-", stdin=OWN.replace("raw", "lab").encode(), status=0)
    assert iam("policy", "update", "own-folder", "own.json", "--expect", revision, status=5)
    assert "group quants" in iam("policy", "delete", "own-folder", status=5).stderr
    iam("detach", "own-folder", "--group", "quants")
    iam("policy", "delete", "own-folder")
    iam("group", "remove", "quants", "alice")
    iam("group", "delete", "quants")
    listed = [each["policy"] for each in iam("policy", "list", "--json").json_lines]
    assert listed == sorted(["reader", "writer", "trader", "compliance-officer", "auditor", "administrator"])
    for name in listed:
        json.loads(iam("policy", "show", name).stdout)
        iam("attach", name, "--user", "alice")


def test_bad_policies_are_told_with_their_place(iam: Type, folder: Path) -> None:
    for text, word in (
        (b"{", "JSON"),
        (b'{"Statement": [{"Effect": "Maybe"}]}', "Effect"),
        (b" " * 70_000, "larger"),
        (b"\xff", "UTF-8"),
    ):
        assert word in iam("policy", "create", "bad", "-", stdin=text, status=2).stderr
    warned = iam("policy", "create", "typo", "-", stdin=OWN.replace("s3:*", "s3:GetObjekt").encode())
    assert "no action is called 's3:GetObjekt'" in warned.stderr
    assert iam("policy", "create", "missing", "no-such-file.json", status=None).status != 0


def test_roles_and_sessions(iam: Type, folder: Path) -> None:
    (folder / "trust.json").write_text(TRUST)
    iam("role", "create", "loader", "--trust", "trust.json", "--max-duration", "7200")
    iam("attach", "writer", "--role", "loader")
    assert iam("role", "show", "loader", "--json").json["duration_s_max"] == 7200
    key = iam("key", "create", "--user", "alice", "--json").json["access_key"]
    session = iam("assume-role", "loader", "--key", key, "--session", "night", "--json").json
    assert session["arn"].endswith("assumed-role/loader/night")
    with tv.open(folder / "data") as vault:
        found = vault.identities.find(session["access_key"], session["session_token"])
        assert found.secret.reveal() == session["secret_key"]
    iam("assume-role", "loader", "--key", key, "--secret-file", "night.credentials")
    assert "aws_session_token" in (folder / "night.credentials").read_text()
    iam("revoke-sessions", "--role", "loader")
    with tv.open(folder / "data") as vault, pytest.raises(tv.AccessDeniedError):
        vault.identities.find(session["access_key"], session["session_token"])
    iam("user", "create", "bob")
    other = iam("key", "create", "--user", "bob", "--json").json["access_key"]
    assert iam("assume-role", "loader", "--key", other, status=None).status != 0
    assert iam("assume-role", "loader", "--key", key, "--duration", "1", status=2)
    assert iam("role", "delete", "loader", status=5)
    iam("role", "delete", "loader", "--force")


def test_service_accounts(iam: Type, folder: Path) -> None:
    (folder / "own.json").write_text(OWN)
    iam("service-account", "create", "nightly", "--user", "alice", "--policy", "own.json")
    iam("key", "create", "--service-account", "nightly")
    shown = iam("service-account", "show", "nightly", "--json").json
    assert (shown["user"], len(shown["access_keys"]), shown["policy"]) == ("alice", 1, OWN)
    iam("service-account", "narrow", "nightly")
    assert iam("service-account", "show", "nightly", "--json").json["policy"] is None
    iam("service-account", "disable", "nightly")
    assert "disabled" in iam("service-account", "list").stdout
    iam("service-account", "enable", "nightly")
    assert [each["service_account"] for each in iam("service-account", "list", "--user", "alice", "--json").json_lines]
    iam("service-account", "delete", "nightly")
    assert iam("service-account", "show", "nightly", status=3)


def simulated(iam: Type, identity: str, action: str, *more: str) -> dict[str, Any]:
    found = iam("simulate", "--identity", identity, "--action", action, *more, "--json", status=None)
    assert found.status == (0 if found.json["allowed"] else 7)
    return found.json


def test_simulations(iam: Type, folder: Path) -> None:
    assert simulated(iam, ALICE, "s3:GetObject", "--resource", "raw/a")["allowed"]
    assert not simulated(iam, ALICE, "s3:PutObject", "--resource", "raw/a")["allowed"]
    key = iam("key", "create", "--user", "alice", "--json").json["access_key"]
    assert simulated(iam, key, "s3:ListAllMyBuckets")["allowed"]
    assert simulated(iam, "arn:aws:iam::000000000000:root", "s3:DeleteBucket", "--resource", "raw")["reason"]
    assert not simulated(iam, "anonymous", "s3:GetObject", "--resource", "raw/a")["allowed"]
    text = iam("simulate", "--identity", ALICE, "--action", "s3:PutObject", "--resource", "raw/a", status=7).stdout
    assert "DENIED: nothing allows it" in text and "policy/reader, Read" in text
    # The bucket's policy has its say, and so have conditions.
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Sid": "desk", "Effect": "Allow", "Principal": {"AWS": "ALICE"}, '
        '"Action": "s3:PutObject", "Resource": "arn:aws:s3:::raw/*", '
        '"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]}'
    ).replace("ALICE", ALICE)
    with tv.open(folder / "data") as vault:
        vault.bucket("raw").set_document("policy", policy)
    where = ("--resource", "raw/a", "--context")
    found = simulated(iam, ALICE, "s3:PutObject", *where, "aws:SourceIp=10.1.2.3")
    assert (found["allowed"], found["policy"], found["statement"]) == (True, "bucket policy", "desk")
    assert not simulated(iam, ALICE, "s3:PutObject", *where, "aws:SourceIp=192.0.2.1")["allowed"]
    # A service account, under both names.
    iam("service-account", "create", "nightly", "--user", "alice")
    account = "arn:aws:iam::000000000000:service-account/nightly"
    assert simulated(iam, account, "s3:GetObject", "--resource", "raw/a")["allowed"]
    (folder / "trust.json").write_text(TRUST)
    iam("role", "create", "loader", "--trust", "trust.json")
    role = "arn:aws:iam::000000000000:role/loader"
    assert simulated(iam, ALICE, "sts:AssumeRole", "--resource", role)["allowed"]
    assert not simulated(iam, role, "s3:GetObject", "--resource", "raw/a")["allowed"]
    for identity, action, status in (
        ("arn:aws:iam::000000000000:user/nobody", "s3:GetObject", 3),
        ("arn:aws:iam::123456789012:user/alice", "s3:GetObject", 3),
        (ALICE, "s3:GetObjekt", 2),
        (ALICE, "GetObject", 2),
    ):
        assert iam("simulate", "--identity", identity, "--action", action, status=status).stdout == ""


def test_who_is_disabled_may_nothing(iam: Type) -> None:
    # It once was answered from the policies of the disabled user, whom every door refuses.
    iam("service-account", "create", "nightly", "--user", "alice")
    key = iam("key", "create", "--user", "alice", "--json").json["access_key"]
    iam("user", "disable", "alice")
    for identity in (ALICE, "arn:aws:iam::000000000000:service-account/nightly", key):
        found = simulated(iam, identity, "s3:GetObject", "--resource", "raw/a")
        assert not found["allowed"] and found["reason"].startswith("disabled: ")
    text = iam("simulate", "--identity", ALICE, "--action", "s3:GetObject", "--resource", "raw/a", status=7).stdout
    assert text.splitlines()[1] == "DENIED: disabled: user alice is disabled"
    iam("user", "enable", "alice")
    assert simulated(iam, ALICE, "s3:GetObject", "--resource", "raw/a")["allowed"]


def test_a_boundary(iam: Type) -> None:
    iam("attach", "administrator", "--user", "alice")
    assert simulated(iam, ALICE, "s3:PutObject", "--resource", "raw/a")["allowed"]
    iam("boundary", "reader", "--user", "alice")
    assert not simulated(iam, ALICE, "s3:PutObject", "--resource", "raw/a")["allowed"]
    assert iam("boundary", "--user", "alice", status=2)
    iam("boundary", "--none", "--user", "alice")
    assert simulated(iam, ALICE, "s3:PutObject", "--resource", "raw/a")["allowed"]


def test_every_command_teaches(tickvault: Type) -> None:
    from tickvault.cli.iam import iam as group

    def walk(command: Any, path: tuple[str, ...]) -> None:
        told = tickvault("iam", *path, "--help").stdout
        assert "Examples:" in told and "tickvault iam" in told, path
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*path, name))

    walk(group, ())


def test_a_lost_sealing_key(iam: Type, folder: Path) -> None:
    """`key list` called keys active that nobody could sign with."""
    key = iam("key", "create", "--user", "alice", "--json").json["access_key"]
    assert not iam("key", "list", "--user", "alice", "--json").json["unreadable"]
    path = folder / "data" / "security" / "sealing.key"
    path.unlink()
    listed = iam("key", "list", "--user", "alice")
    assert f"{key}  unreadable  never used" in listed.stdout
    assert "put it back" in listed.stderr
    assert iam("key", "list", "--user", "alice", "--json").json["unreadable"]
    refused = iam("key", "create", "--user", "alice", "--secret-file", "new.credentials", status=7)
    assert "reset-sealing-key" in refused.stderr
    assert not (folder / "new.credentials").exists() and not path.exists()
    assert "give --yes" in iam("reset-sealing-key", status=2).stderr
    assert not path.exists()
    done = iam("reset-sealing-key", "--yes", "--json")
    assert done.json == {"made": True, "access_keys_disabled": [key]}
    assert "keep a copy of it" in done.stderr
    assert f"{key}  disabled, unreadable" in iam("key", "list", "--user", "alice").stdout
    new = iam("key", "create", "--user", "alice", "--json").json["access_key"]
    assert not iam("key", "list", "--user", "alice", "--json").json_lines[1]["unreadable"], new
    iam("key", "delete", key)
    assert "nothing to do" in iam("reset-sealing-key", "--yes", status=5).stderr


def test_a_secret_that_cannot_be_printed_is_told_with_its_key(iam: Type, start: Any) -> None:
    # "no space left on device" once was all that was said, of a key that was made and whose secret nobody has.
    with open("/dev/full", "wb") as full:
        running = start("iam", "key", "create", "--user", "alice", stdout=full)
        told = running.stderr.read().decode()
        assert running.wait() == 11
    (key,) = (each["access_key"] for each in iam("key", "list", "--user", "alice", "--json").json_lines)
    assert f"tickvault iam key delete {key}" in told and "no space left on device" in told
    assert "Traceback" not in told and "Exception" not in told
    iam("key", "delete", key)


def test_messages_name_what_is_typed(iam: Type) -> None:
    assert "tickvault iam policy list" in iam("attach", "nopolicy", "--user", "alice", status=3).stderr
    assert "tickvault iam service-account list" in iam("service-account", "show", "nobody", status=3).stderr
    for command in (("attach", "reader"), ("detach", "reader"), ("attach", "reader", "--user", "a", "--role", "b")):
        told = iam(*command, status=2).stderr
        assert "--user NAME, --group NAME or --role NAME" in told
    assert "--user NAME or --role NAME" in iam("boundary", "reader", status=2).stderr
    assert "--service-account NAME" in iam("revoke-sessions", status=2).stderr
    assert "delete with --force" in iam("user", "delete", "alice", status=5).stderr


def test_policies_are_shown_to_be_read(iam: Type, folder: Path) -> None:
    (folder / "trust.json").write_text(TRUST)
    (folder / "own.json").write_text(OWN)
    iam("role", "create", "loader", "--trust", "trust.json")
    iam("attach", "reader", "--role", "loader")
    assert "delete with --force" in iam("role", "delete", "loader", status=5).stderr
    iam("service-account", "create", "nightly", "--user", "alice", "--policy", "own.json")
    for command, label, text in (
        (("role", "show", "loader"), "trust policy:", TRUST),
        (("service-account", "show", "nightly"), "policy:", OWN),
    ):
        shown = iam(*command).stdout
        assert f"{label}\n{json.dumps(json.loads(text), indent=2)}\n" in shown
        assert text in iam(*command, "--json").json.values()
    (folder / "none.json").write_text(OWN.replace('"Resource"', '"Condition": null, "Resource"'))
    assert "was null" in iam("policy", "create", "none", "none.json", status=2).stderr


def test_all_keys_of_the_vault(iam: Type, folder: Path) -> None:
    iam("service-account", "create", "nightly", "--user", "alice")
    of_alice = iam("key", "create", "--user", "alice", "--json").json["access_key"]
    of_nightly = iam("key", "create", "--service-account", "nightly", "--json").json["access_key"]
    iam("key", "rotate", of_alice)
    lines = iam("key", "list").stdout.splitlines()
    assert len(lines) == 3
    old, _, program = lines
    assert old.startswith(f"{of_alice}  user alice  expired 2")
    assert program == f"{of_nightly}  service account nightly  active  never used"
    assert [each["owner"] for each in iam("key", "list", "--json").json_lines] == ["alice", "alice", "nightly"]
    assert iam("key", "list", "--user", "alice").stdout.startswith(f"{of_alice}  expired 2")
    assert iam("key", "list", "--user", "alice", "--service-account", "nightly", status=2)
